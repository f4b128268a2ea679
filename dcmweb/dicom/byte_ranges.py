"""Sources of bytes: their size is known before, and they are read anew each time they are sent."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

from dcmweb.errors import DcmwebError, LocalError, NotDicom
from dcmweb.sources import Content, Keeper, Source, Stamp

PIECE = 256 * 1024
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0) | _NO_WAITING


Chunk = bytes | Source


def size_of(chunks: Iterable[Chunk]) -> int:
    """Return the number of bytes in chunks."""
    return sum(len(one) if isinstance(one, bytes) else one.size for one in chunks)


def pieces_of(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the bytes of chunks; errors as of the sources."""
    for chunk in chunks:
        yield from (chunk,) if isinstance(chunk, bytes) else chunk.pieces()


def read_range(file: IO[bytes], start: int, size: int, too_short: DcmwebError) -> Iterator[bytes]:
    """Yield `size` bytes of a file from `start`; raise the error if it ends before."""
    file.seek(start)
    while size:
        piece = file.read(min(size, PIECE))
        if not piece:
            raise too_short
        size -= len(piece)
        yield piece


@dataclass(frozen=True)
class Chunks:
    """A source put together of others, and of bytes between them."""

    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        return size_of(self.chunks)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; errors as of the sources."""
        return pieces_of(self.chunks)


@dataclass(frozen=True)
class FileRange:
    """Bytes of a file as they were when it was looked at: `fingerprint` is of the whole file."""

    path: str
    start: int
    size: int
    fingerprint: tuple[int, int]

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes. Raises LocalError if they cannot be read, or the file changed since.

        The last piece is held back until the file is known to be unchanged.
        """
        left = self.size
        with _reading(self.path), open_file(self.path, buffering=0) as file:
            for piece in read_range(file, self.start, self.size, self._changed()):
                left -= len(piece)
                if not left:
                    self._check(file.fileno())
                yield piece

    @property
    def stamp(self) -> Stamp:
        """The state that the whole file was in."""
        return Stamp(*self.fingerprint)

    def open(self) -> BinaryIO:
        """Open the whole file."""
        with _reading(self.path):
            return open_file(self.path)

    def check(self) -> None:
        """Raise LocalError if the file cannot be read, or changed since."""
        with _reading(self.path):
            self._check(self.path)

    def _check(self, file: str | int) -> None:
        if fingerprint(file) != self.fingerprint:
            raise self._changed()

    def _changed(self) -> LocalError:
        return LocalError("the file changed while it was being sent", path=self.path)


class LocalFile:
    """A file of this machine, to be read."""

    __slots__ = ("path",)
    is_passing = False

    def __init__(self, path: str) -> None:
        self.path = path

    def stamp(self) -> Stamp | None:
        """Return the state of the file, which is not opened; None if that cannot be told."""
        try:
            status = os.stat(self.path)
        except (OSError, ValueError):  # it is named when it is opened
            return None
        return Stamp(status.st_size, status.st_mtime_ns)

    def head(self, most: int) -> tuple[bytes, Stamp] | None:
        """Return what the file begins with, and its state before that was read.

        None if that does not go smoothly: `open` finds out why. It takes as few calls of the system
        as can be, since it is done for each file.
        """
        try:
            number = os.open(self.path, _READING)
        except (OSError, ValueError):
            return None
        try:
            status = os.fstat(number)
            head = os.read(number, most) if stat.S_ISREG(status.st_mode) else b""
        except OSError:
            return None
        finally:
            os.close(number)
        size = status.st_size
        whole = size if size < most else most
        return (head, Stamp(size, status.st_mtime_ns)) if head and len(head) == whole else None

    @contextmanager
    def open(self, _keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        """Open the file. Raises LocalError if it cannot be read, NotDicom for a device, say."""
        with _reading(self.path), open_file(self.path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotDicom("not a regular file", path=self.path)
            size, fingerprint = status.st_size, (status.st_size, status.st_mtime_ns)
            yield file, FileRange(self.path, 0, size, fingerprint)


class _reading:  # noqa: N801 - it is used like a function
    """Translate errors of reading a file.

    A class rather than a generator, since it is entered for each file.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno == errno.ENXIO:  # a socket
            raise NotDicom("not a regular file", path=self._path) from None
        raise LocalError(error.strerror or str(error), path=self._path) from error


def open_file(path: str, buffering: int = -1) -> BinaryIO:
    """Open a file for reading. A named pipe reads as empty; nothing waits for its writer."""
    return open(path, "rb", buffering=buffering, opener=_open_without_waiting)


def open_regular(path: str, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading; raise FileNotFoundError if something else is there by now.

    A pipe or socket that took the place of a file would otherwise hang who reads it, or fail.
    """
    try:
        file = open_file(path, buffering)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EISDIR):
            raise
        raise _not_regular(path) from None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise _not_regular(path)


def _not_regular(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "it is not a regular file any more", path)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe would otherwise wait for a writer for ever.

    A terminal is not taken as that of this process.
    """
    return os.open(path, flags | _NO_WAITING)


def is_in_state(path: str, size: int, mtime_ns: int) -> bool:
    """Return True if a file can be looked at, and did not change since."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    return status.st_size == size and status.st_mtime_ns == mtime_ns


def fingerprint(file: str | int) -> tuple[int, int]:
    """Return size and time of modification of a file, to see whether it has changed."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns
