"""The Search transaction (QIDO-RS, PS3.18 section 10.6)."""
