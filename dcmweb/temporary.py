"""Temporary files and folders, and errors that name the folder they would be in."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dcmweb.errors import LocalError

_HINT = "set TMPDIR to a folder that can be written and has room"


@contextmanager
def using_temporary_files() -> Iterator[None]:
    """Translate errors of writing a temporary file.

    Containers with a read-only root have no folder for temporary files. Raises LocalError.
    """
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or ""  # empty if none was found: the error lists those tried
        name = f"the folder for temporary files {folder}".strip()
        reason = error.strerror or error
        raise LocalError(f"{name} cannot be used: {reason}", _HINT, path=folder) from error


@contextmanager
def temporary_folder(prefix: str = "dcmweb-") -> Iterator[str]:
    """Make a folder that is gone after a block. Raises LocalError if it cannot be made."""
    with using_temporary_files():
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    with folder as path:
        yield path


@contextmanager
def using_temporary_database() -> Iterator[None]:
    """Translate errors of a database in a temporary file, such as a full disk. Raises LocalError.

    SQLite picks the folder: that in SQLITE_TMPDIR or TMPDIR, /var/tmp, or /tmp.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LocalError(
            f"the temporary database cannot be used: {error}", _HINT, fatal=True
        ) from error
