"""What a server is: whether it answers, as what, and which services it offers."""
