"""Real servers for the live tests, each started on 127.0.0.1 from a configuration of its own."""
