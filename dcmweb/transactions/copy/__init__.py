"""Copying from one origin server to another."""
