"""The archive held to a description of its routes, with requests that schemathesis makes of it."""
