"""Gives files their names: inside a folder, at once, and without replacing others unless wanted."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from functools import lru_cache

from dcmweb.local import windows

# What file systems without hard links say: exFAT, some network and FUSE file systems.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
_PATIENCE = 20  # times to try what Windows refuses while a virus scanner, say, reads the file


def leads_out(path: str, folder: str) -> bool:
    """Return True if what a path leads to is not in the folder, once all links are followed."""
    inside = os.path.join(os.path.realpath(folder), "")
    return not os.path.join(os.path.realpath(path), "").startswith(inside)


def check_links(folder: str, below: str) -> None:
    """Raise OSError if a link in place of one of the folders below a folder leads out of it."""
    for place in _folders_on_the_way(folder, below):
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return
        # A junction of Windows is not a symbolic link, but has a tag of its own.
        is_link = stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0))
        if is_link and leads_out(place, folder):
            raise OSError(errno.ELOOP, "a symbolic link there leads out of the folder", place)


@lru_cache(maxsize=64)  # many files go into the same folder
def _folders_on_the_way(folder: str, below: str) -> tuple[str, ...]:
    names = below.split(os.sep)
    paths = (os.path.join(folder, *names[: depth + 1]) for depth in range(len(names)))
    return tuple(map(windows.long_path, paths))


def move_if_free(source: str, final: str) -> None:
    """Rename a file; raise FileExistsError, at no moment replacing anything, if the name is taken.

    Two runs that want the same name at once cannot both get it.
    """
    if windows.IS_WINDOWS:
        _patiently(os.rename, source, final)
        return
    try:
        os.link(source, final)
    except FileExistsError:
        if not os.path.samefile(source, final):  # NFS says so when it did it and lost its answer
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _claim_and_replace(source, final)
        return
    os.unlink(source)


def _claim_and_replace(source: str, final: str) -> None:
    """Take a name with an empty file, which only one run can make, then put the file there."""
    os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.replace(source, final)
    except BaseException:
        os.unlink(final)
        raise


def replace(source: str, final: str) -> None:
    """Rename a file, in place of what has that name."""
    if windows.IS_WINDOWS:
        _patiently(os.replace, source, final)
    else:
        os.replace(source, final)


def _patiently(move: Callable[[str, str], None], source: str, final: str) -> None:
    """Move a file, a few times: Windows refuses while another program reads either file."""
    for left in reversed(range(_PATIENCE)):
        try:
            move(source, final)
        except PermissionError:
            if not left or os.path.isdir(final):
                raise
            time.sleep(0.05)
        else:
            return
