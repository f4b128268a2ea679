"""The pages of the archive: for people with a browser."""
