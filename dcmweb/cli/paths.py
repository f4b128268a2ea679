"""Paths on the command line, given by position or by name."""

from __future__ import annotations

from dcmweb.errors import UsageError


def one_path(path: str | None, named: str | None) -> str | None:
    """Return the one path that was given, if any. Raises UsageError for two."""
    if path is not None and named is not None:
        raise UsageError(f"two paths are given: {path} and {named}", "give one")
    return path if named is None else named
