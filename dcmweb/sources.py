"""What files and sources of bytes are, wherever the bytes may be."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol


class Source(Protocol):
    """Bytes whose number is known beforehand, and that can be read anew for each attempt."""

    @property
    def size(self) -> int:
        """Bytes it will yield."""

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes from the start; raises rather than yield fewer or more."""


class Stamp(NamedTuple):
    """What tells one state of a file from another: bytes, and time of change in nanoseconds.

    The time is 0 where nobody keeps it.
    """

    size: int
    mtime_ns: int


class Content(Source, Protocol):
    """The bytes of a file as they were when it was opened.

    They are read anew as often as is needed. LocalError is raised if the file changed since.
    """

    @property
    def stamp(self) -> Stamp:
        """The state of the file that these are the bytes of."""

    def open(self) -> BinaryIO:
        """Return a stream of them that can seek."""

    def check(self) -> None:
        """Raise LocalError if the file cannot be read, or changed since."""


class Keeper(Protocol):
    """Keeps bytes that are slow to read, or cannot be read twice."""

    def keep(self, path: str, stamp: Stamp, pieces: Iterable[bytes]) -> Content:
        """Keep the bytes of a file. Errors as of the pieces, LocalError if there is no room."""


class SourceFile(Protocol):
    """A file to be read: on this machine, in an archive, or in a bucket."""

    @property
    def path(self) -> str:
        """What it is called in messages and records."""

    @property
    def is_passing(self) -> bool:
        """Whether it can be opened only until the next file is found."""

    def stamp(self) -> Stamp | None:
        """Return the state of the file; None if that is not known before it is opened."""

    def open(
        self, keeper: Keeper | None = None
    ) -> AbstractContextManager[tuple[BinaryIO, Content]]:
        """Open the file: a stream that can seek, and the content that goes with it.

        The keeper is for what is slow to read. A file that is passing needs one. Raises
        LocalError if it cannot be read, NotDicom if it is not a file with bytes in it.
        """


@dataclass(frozen=True, init=False)
class Found:
    """A file that was found, or what stood in the way of one."""

    path: str
    named: bool = False  # given outright, rather than met in a folder or by a wildcard
    error: OSError | None = None
    missing: bool = False  # the mask or name matched nothing
    file: SourceFile | None = field(default=None, compare=False)

    def __init__(
        self,
        path: str,
        named: bool = False,
        error: OSError | None = None,
        missing: bool = False,
        file: SourceFile | None = None,
    ) -> None:
        """Set the fields directly: there is one of these for each file."""
        values = self.__dict__
        values["path"] = path
        values["named"] = named
        values["error"] = error
        values["missing"] = missing
        values["file"] = file


class RandomReader(io.RawIOBase):
    """A stream of bytes that are read by their offset, with `read_at(start, size)`."""

    def __init__(self, size: int, read_at: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read_at = read_at
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset, as files do."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(22, "negative seek")  # EINVAL, as files say
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read up to the size of a buffer; return how many bytes."""
        wanted = min(len(buffer), max(0, self._size - self._at))
        data = self._read_at(self._at, wanted) if wanted else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
