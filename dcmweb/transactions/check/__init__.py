"""Comparison of a server with files, with a manifest, or with another server."""
