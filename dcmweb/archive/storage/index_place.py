"""Where the index lies if it cannot or shall not lie in the folder that is served."""

from __future__ import annotations

import errno
import hashlib
import os
import sys

from dcmweb.errors import LocalError
from dcmweb.local.partial_files import partial_file, writing_into

_FOLDER_NAME = "folder.txt"  # names the folder that an index belongs to
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def is_writable(folder: str) -> bool:
    """Return True if files can be created in a folder, False if permissions forbid it.

    Raises LocalError for other reasons, such as a full disk.
    """
    try:
        with partial_file(folder):
            return True
    except LocalError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _READ_ONLY:
            return False
        raise


def cache_folder(folder: str) -> str:
    """Return the place for the index of a read-only folder, in the user's cache folder."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return os.path.join(_user_cache(), "dcmweb", "archives", digest)


def _user_cache() -> str:
    """Return the folder for caches as the platform has it."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    given = os.environ.get("XDG_CACHE_HOME", "")
    return given if os.path.isabs(given) else os.path.expanduser("~/.cache")


def claim_index(index_folder: str, folder: str) -> None:
    """Bind an index to a folder; raise LocalError if it belongs to another one.

    The paths in an index are relative: with another folder, it would delete the wrong files.
    """
    path = os.path.join(index_folder, _FOLDER_NAME)
    with writing_into(index_folder):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                known = file.read().rstrip("\n")
        except FileNotFoundError:
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{folder}\n")
            return
    if known != folder:
        raise LocalError(
            f"{index_folder} holds the index of another folder, {known}", "choose another --index"
        )
