"""The transactions of PS3.18, a folder each: they take settings, yield outcomes, print nothing."""
