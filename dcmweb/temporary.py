"""Temporary files and folders, and errors that name the folder they would be in."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, NamedTuple

from dcmweb.counted import plural
from dcmweb.errors import LocalError
from dcmweb.sources import RandomReader, Stamp

_PIECE = 256 * 1024
_NO_STAMP = Stamp(0, 0)  # of what never changes
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


def check_room(size: int) -> None:
    """Raise LocalError, which ends the run, if there is no room for a number of bytes."""
    with using_temporary_files():
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    if size > free:
        words = f"{plural(size, 'byte')} are to come into {folder}, where {free:,} are free"
        raise LocalError(words, _HINT, path=folder, fatal=True)


class Spool:
    """Keeps bytes until it is closed: in memory up to a limit, in a temporary file beyond.

    One thread at a time may use it.
    """

    def __init__(self, in_memory: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - see `close`
        self._size = 0

    def keep(self, path: str, stamp: Stamp, pieces: Iterable[bytes | memoryview]) -> Kept:
        """Keep the bytes of a file. Errors as of the pieces, LocalError if there is no room."""
        start, size = self._size, 0
        for piece in pieces:
            with using_temporary_files():
                self._file.seek(start + size)
                self._file.write(piece)
            size += len(piece)
        self._size = start + size
        return Kept(path, stamp, self, start, size)

    def read(self, start: int, size: int) -> bytes:
        """Return bytes that are kept."""
        with using_temporary_files():
            self._file.seek(start)
            return self._file.read(size)

    def close(self) -> None:
        """Forget all bytes."""
        self._file.close()

    def __del__(self) -> None:
        self.close()


class Kept(NamedTuple):
    """The bytes of a file in a spool. They never change."""

    path: str
    stamp: Stamp
    spool: Spool
    start: int
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes."""
        for at in range(0, self.size, _PIECE):
            yield self.spool.read(self.start + at, min(_PIECE, self.size - at))

    def open(self) -> BinaryIO:
        """Return a stream of the bytes."""
        reader = RandomReader(self.size, lambda at, size: self.spool.read(self.start + at, size))
        return io.BufferedReader(reader)

    def check(self) -> None:
        """Do nothing, as the bytes cannot change."""

    def close(self) -> None:
        """Forget all that is in the spool."""
        self.spool.close()


class Held:
    """Bytes that are held in memory until they are let go of."""

    def __init__(self, data: bytes, stamp: Stamp) -> None:
        self.data = data
        self.stamp = stamp

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes."""
        for at in range(0, len(self.data), _PIECE):
            yield self.data[at : at + _PIECE]

    def open(self) -> BinaryIO:
        """Return a stream of the bytes."""
        return io.BytesIO(self.data)

    def check(self) -> None:
        """Do nothing, as the bytes cannot change."""

    def close(self) -> None:
        """Forget the bytes."""
        self.data = b""


def keep(pieces: Iterable[bytes | memoryview], in_memory: int) -> Held | Kept:
    """Keep bytes: in memory up to a limit, in a temporary file beyond, until nobody needs them.

    Errors as of the pieces, LocalError if there is no room.
    """
    rest, start = iter(pieces), bytearray()
    for piece in rest:
        start += piece
        if len(start) > in_memory:
            return Spool(1).keep("", _NO_STAMP, chain([memoryview(start)], rest))
    return Held(bytes(start), _NO_STAMP)


@contextmanager
def using_temporary_database() -> Iterator[None]:
    """Translate errors of a database in a temporary file, such as a full disk. Raises LocalError.

    SQLite picks the folder: that in SQLITE_TMPDIR or TMPDIR, /var/tmp, or /tmp.
    """
    import sqlite3

    try:
        yield
    except sqlite3.OperationalError as error:
        raise LocalError(
            f"the temporary database cannot be used: {error}", _HINT, fatal=True
        ) from error
