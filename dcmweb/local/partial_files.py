"""Writing what a server sends: files that are complete or absent."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, partial
from typing import BinaryIO

from dcmweb.counted import plural
from dcmweb.errors import LocalError
from dcmweb.local import windows
from dcmweb.local.moving import check_links, move_if_free, replace
from dcmweb.locks import Locking, is_running, try_lock
from dcmweb.sources import Stamp

OWN_FOLDER = ".dcmweb"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".dcmweb-", ".part"
OLD = 7 * 24 * 3600  # seconds; a partial file untouched for so long is nobody's any more

_PARTIAL = re.compile(r"\.dcmweb-([0-9a-f]{8})-([0-9]+)-([0-9a-f]{8})-[0-9]+\.part")
_NUMBERS = itertools.count(1)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # the last of Windows
_HOPELESS = (*_FULL, errno.EROFS, errno.EIO)


def is_internal(name: str) -> bool:
    """Return True if a file or folder belongs to dcmweb itself: a partial file, an index."""
    if not name.startswith("."):  # as nearly all names
        return False
    return name == OWN_FOLDER or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX))


class NewFile:
    """A file beside its final place; only `move_to` gives it a name of its own."""

    path: str  # until it is moved
    size: int  # bytes written so far

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_moved = False

    def _new_path(self) -> str:
        """Return a path that no other file has."""
        start = _start_of_paths(self._folder)
        return windows.long_path(f"{start}{_own_prefix()}{next(_NUMBERS)}{PARTIAL_SUFFIX}")

    def move_to(self, path: str, *, replaces: bool = True) -> str:
        """Give the file its final path, relative to the folder; return that whole.

        Raises FileExistsError if something is there already, unless the file `replaces` it, and
        OSError if a symbolic link in place of one of its folders leads out of the folder.
        """
        if os.path.isabs(path):
            final = path
        else:
            check_links(self._folder, path.rpartition(os.sep)[0])
            final = _start_of_paths(self._folder) + path
        place = windows.long_path(final)
        move = replace if replaces else move_if_free
        try:
            move(self.path, place)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            self._restore()
            move(self.path, place)
        self._is_moved = True
        return final

    def _restore(self) -> None:
        """Write the file once more if it is gone, where that can be done."""

    def is_same_as(self, path: str) -> bool:
        """Return True if a file of the folder has the same bytes, once all has been written."""
        other = windows.long_path(os.path.join(self._folder, path))
        return os.path.isfile(other) and filecmp.cmp(self.path, other, shallow=False)

    def discard(self) -> None:
        """Close and remove the file; harmless after `move_to`."""
        if not self._is_moved:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


class PartialFile(NewFile):
    """A file that is written piece by piece. It is locked, so that no run takes it for a leftover.

    `move_to` closes it.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.size = 0
        while True:
            self.path = self._new_path()
            self.file = open(self.path, "x+b", buffering=0)  # noqa: SIM115 - closed by discard
            if try_lock(self.file) is not Locking.TAKEN and os.fstat(self.file.fileno()).st_nlink:
                return
            self.file.close()  # another run took it for a leftover

    @property
    def stamp(self) -> Stamp:
        """Size and time of the file, while it is open."""
        return _stamp_of(self.file.fileno())

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        self.size += len(data)
        _write_all(self.file.write, data)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Read what has been written so far."""
        buffered = io.BufferedReader(self.file)
        try:
            yield buffered
        finally:
            buffered.detach()

    def move_to(self, path: str, *, replaces: bool = True) -> str:
        """Give the file its final path, and close it.

        It stays locked until it has its name, except on Windows, which moves no open file.
        """
        if windows.IS_WINDOWS:
            self.file.close()
        elif not self.file.closed:
            # Network file systems say only at a close that a write has failed.
            os.close(os.dup(self.file.fileno()))
        final = super().move_to(path, replaces=replaces)
        self.file.close()
        return final

    def discard(self) -> None:
        """Close and remove the file; harmless after `move_to`."""
        self.file.close()
        super().discard()


class WholeFile(NewFile):
    """A file that is written at once, from memory, and is gone after a block unless it was moved.

    It is not locked, as it has its name so soon. If a run takes it for a leftover all the same,
    as one on a machine whose clock is a week ahead, it is written once more.
    Raises LocalError when it cannot be written; a full disk ends the run.
    """

    stamp: Stamp  # size and time of the file

    def __init__(self, folder: str, content: bytes) -> None:
        super().__init__(folder)
        self._content = content
        self.size = len(content)

    def __enter__(self) -> WholeFile:
        try:
            self._write()
        except OSError as error:
            raise _not_written(self._folder, error) from error
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not self._is_moved:
            with writing_into(self._folder):
                self.discard()
        if isinstance(error, OSError):
            raise _not_written(self._folder, error) from error

    def _write(self) -> None:
        self.path = self._new_path()
        descriptor = os.open(self.path, _NEW, 0o666)
        try:
            try:
                if (written := os.write(descriptor, self._content)) < self.size:
                    _write_all(partial(os.write, descriptor), self._content[written:])
                self.stamp = _stamp_of(descriptor)
            finally:
                os.close(descriptor)  # network file systems may say only here that a write failed
        except BaseException:
            self.discard()
            raise

    def reader(self) -> AbstractContextManager[BinaryIO]:
        """Read what has been written."""
        return io.BytesIO(self._content)

    def _restore(self) -> None:
        if not os.path.lexists(self.path):
            self._write()


def _stamp_of(descriptor: int) -> Stamp:
    status = os.fstat(descriptor)
    return Stamp(status.st_size, status.st_mtime_ns)


def _write_all(write: Callable[[bytes | memoryview], int], data: bytes | memoryview) -> None:
    """Write all of the data, which a file system may take in pieces."""
    written = write(data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = write(data)


@contextmanager
def partial_file(folder: str) -> Iterator[PartialFile]:
    """Open a partial file that is gone at the end unless it was moved.

    Raises LocalError when it cannot be written; a full disk ends the run.
    """
    with writing_into(folder):
        file = PartialFile(folder)
        try:
            yield file
        finally:
            file.discard()


def check_space(folder: str, size: int) -> None:
    """Raise LocalError, which ends the run, if a folder has no room for this number of bytes."""
    with writing_into(folder):
        free = shutil.disk_usage(folder).free
    if size > free:
        raise LocalError(
            f"{plural(size, 'byte')} are to come into {folder}, where {free:,} are free",
            "free some space and start again",
            path=folder,
            fatal=True,
        )


def writing_into(folder: str) -> AbstractContextManager[None]:
    """Translate errors of writing below a folder into LocalError."""
    return _WritingInto(folder)


class _WritingInto:
    """A class of its own rather than a generator, since it is entered for each file."""

    __slots__ = ("_folder",)

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise _not_written(self._folder, error) from error


def _not_written(folder: str, error: OSError) -> LocalError:
    words = error.strerror or str(error)
    hint = "free some space and start again" if error.errno in _FULL else ""
    is_fatal = error.errno in _HOPELESS
    return LocalError(f"cannot write into {folder}: {words}", hint, path=folder, fatal=is_fatal)


def sync_file(file: BinaryIO | io.FileIO) -> None:
    """Have the content of a file on the disk for good."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # as network file systems do not know it
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # fsync leaves it in the disk's cache there
            return
    os.fsync(file.fileno())


def sync_folder(folder: str) -> None:
    """Have the names in a folder on the disk for good; Windows does so by itself."""
    if windows.IS_WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: str) -> None:
    """Make the output folder if it is missing, and check that it can be written into.

    Partial files in it that belong to no run any more are removed: those of processes of this
    machine that have ended, and those of other machines once they are a week old.
    Raises LocalError when the folder cannot be written into.
    """
    with writing_into(folder):
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX):
                _remove_leftover(os.path.join(folder, name))
        with partial_file(folder):
            pass


def _remove_leftover(path: str) -> None:
    """Remove a partial file whose run has ended for certain, or that nobody touched for long."""
    with suppress(OSError):  # what cannot be removed, being gone or somebody else's, does no harm
        is_old = time.time() - os.stat(path).st_mtime > OLD
        if not (is_old or _is_ownerless(os.path.basename(path))):
            return
        with open(path, "r+b") as file:
            if try_lock(file) is Locking.TAKEN:
                return
            if not windows.IS_WINDOWS:
                os.unlink(path)
                return
        os.unlink(path)  # which Windows refuses for a file that a run has open


def _is_ownerless(name: str) -> bool:
    """Return True if the name of a partial file says that its run was here and has ended."""
    parts = _PARTIAL.fullmatch(name)
    if not parts or parts[1] != _host():
        return False
    if int(parts[2]) == os.getpid():  # of this run, or of one that had its number
        return not name.startswith(_own_prefix())
    return not is_running(int(parts[2]))


def _own_prefix() -> str:
    """Return how names of partial files of this process begin: with machine, process and run."""
    return _prefix(os.getpid())  # another one in a process that was forked


@lru_cache(maxsize=8)
def _start_of_paths(folder: str) -> str:
    return os.path.join(folder, "")


@lru_cache(maxsize=1)
def _prefix(process_id: int) -> str:
    return f"{PARTIAL_PREFIX}{_host()}-{process_id}-{secrets.token_hex(4)}-"


@lru_cache
def _host() -> str:
    """Name what process numbers are of: this machine, or a container on it."""
    name = socket.gethostname()
    with suppress(OSError, AttributeError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]
