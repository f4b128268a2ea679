"""A sheet with a picture of each series."""
