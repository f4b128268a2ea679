"""The Retrieve transaction (WADO-RS, PS3.18 section 10.4)."""
