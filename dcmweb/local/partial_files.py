"""Writing what a server sends: safe names, and files that are complete or absent."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from dcmweb.dicom.resources import Resource
from dcmweb.errors import LocalError

LONGEST_NAME = 100
OWN_FOLDER = ".dcmweb"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".dcmweb-", ".part"

_RUN = secrets.token_hex(6)  # tells the partial files of this process from those of others
_NUMBERS = itertools.count(1)
_DIGEST = re.compile(r"-[0-9a-f]{12}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HOPELESS = (*_FULL, errno.EROFS, errno.EIO)


def is_internal(name: str) -> bool:
    """Tell whether a file or folder is a tool of ours: a partial file, an archive's index."""
    return name == OWN_FOLDER or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX))


def safe_name(text: str) -> str:
    """Make a UID into the name of a file or folder; UIDs as they should be stay as they are.

    What has to be changed gets a digest of the original, so that two never share a name.
    """
    name = _UNSAFE.sub("_", text)[:LONGEST_NAME] or "_"
    if name.startswith("."):
        name = "_" + name[1:]
    if name != text or _DIGEST.search(name):
        name += "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return name


def instance_path(instance: Resource, extension: str = "") -> str:
    """Place an instance in the tree of study, series and instance, relative."""
    uids = (instance.study, instance.series, instance.instance)
    return os.path.join(*map(safe_name, uids)) + extension


def folder_path(resource: Resource) -> str:
    """Tell the folder of a study or series in that tree, relative; "" for the whole."""
    return os.path.join(*(safe_name(uid) for uid in (resource.study, resource.series) if uid), "")


class PartialFile:
    """A file being written beside its final place; only `move_to` gives it a name of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_moved = False
        self.size = 0
        while True:
            name = f"{PARTIAL_PREFIX}{_RUN}-{next(_NUMBERS)}{PARTIAL_SUFFIX}"
            self.path = os.path.join(folder, name)
            self.file = open(self.path, "x+b", buffering=0)  # noqa: SIM115 - closed by discard
            if _lock(self.file) and self.status.st_nlink:
                return
            self.file.close()  # another run took it for a leftover

    @property
    def status(self) -> os.stat_result:
        """What the file system says of the file, while it is open."""
        return os.fstat(self.file.fileno())

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        size = len(data)
        self.size += size
        written = self.file.write(data)
        while written < size:
            data = memoryview(data)[written:]
            size -= written
            written = self.file.write(data)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Read what has been written so far."""
        buffered = io.BufferedReader(self.file)
        try:
            yield buffered
        finally:
            buffered.detach()

    def move_to(self, path: str) -> str:
        """Close the file and give it its final path, relative to the folder; return that whole."""
        final = os.path.join(self._folder, path)
        self.file.close()
        try:
            os.replace(self.path, final)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(final), exist_ok=True)
            os.replace(self.path, final)
        self._is_moved = True
        return final

    def discard(self) -> None:
        """Close and remove the file; harmless after `move_to`."""
        self.file.close()
        if not self._is_moved:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


@contextmanager
def partial_file(folder: str) -> Iterator[PartialFile]:
    """Open a partial file that is gone at the end unless it was moved.

    Raises LocalError when it cannot be written; a full disk ends the run.
    """
    with writing_into(folder):
        partial = PartialFile(folder)
        try:
            yield partial
        finally:
            partial.discard()


def check_space(folder: str, size: int) -> None:
    """Raise LocalError, which ends the run, if a folder has no room for so many bytes."""
    with writing_into(folder):
        free = shutil.disk_usage(folder).free
    if size > free:
        raise LocalError(
            f"{size:,} bytes are to come into {folder}, where {free:,} are free",
            "free some space and start again",
            path=folder,
            fatal=True,
        )


@contextmanager
def writing_into(folder: str) -> Iterator[None]:
    """Translate errors of writing below a folder into LocalError."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        hint = "free some space and start again" if error.errno in _FULL else ""
        raise LocalError(
            f"cannot write into {folder}: {words}",
            hint,
            path=folder,
            fatal=error.errno in _HOPELESS,
        ) from error


def make_folder(folder: str) -> None:
    """Make the output folder if it is missing, and check that it can be written into.

    Partial files in it that belong to no run any more are removed. Raises LocalError when it
    cannot be written into.
    """
    with writing_into(folder):
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX):
                _remove_leftover(os.path.join(folder, name))
        with partial_file(folder):
            pass


def _remove_leftover(path: str) -> None:
    """Remove a partial file, unless a run that is alive holds it."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if _lock(file):
            os.unlink(path)


def _lock(file: IO[bytes]) -> bool:
    """Lock a file for as long as it is open; False if another process has it.

    Where file systems have no locks, all files pass for one's own, and none for a leftover.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return file.writable()
    return True
