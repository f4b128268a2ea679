"""What a folder is that files are written into, wherever it may be."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from dcmweb.sources import SourceFile, Stamp


class WrittenFile(Protocol):
    """A file that is written. Under its final name it is complete, or not there at all."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    @property
    def stamp(self) -> Stamp:
        """The state that the file will have under its final name."""

    def reader(self) -> AbstractContextManager[BinaryIO]:
        """Read what has been written so far."""

    def move_to(self, path: str, *, replaces: bool = True) -> str:
        """Give the file its final path below the folder; return that whole.

        Raises FileExistsError if something is there already, unless the file `replaces` it.
        """

    def is_same_as(self, path: str) -> bool:
        """Return True if a file of the folder has the same bytes, once all has been written."""


class NewFile(WrittenFile, Protocol):
    """A file that is being written."""

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""


class Folder(Protocol):
    """A folder of this machine, or the beginning of keys in a bucket.

    Paths of files are relative to it, with the separators of this machine.
    """

    def prepare(self) -> None:
        """Make the folder if it is missing. Raises LocalError if it cannot be used."""

    def check_space(self, size: int) -> None:
        """Raise LocalError, which ends the run, if there is no room for this number of bytes."""

    def new_file(self) -> AbstractContextManager[NewFile]:
        """Open a file that is gone after a block, unless it got its final path.

        Raises LocalError when it cannot be written.
        """

    def whole_file(self, content: bytes) -> AbstractContextManager[WrittenFile]:
        """Write a file that is in memory; as `new_file`."""

    def whole(self, path: str) -> str:
        """Return the path of a file as people write it, with the folder."""

    def file(self, path: str) -> SourceFile:
        """Return a file of the folder, to be read."""

    def stamp(self, path: str) -> Stamp | None:
        """Return the state of a file; None if it is not there."""

    def may_have(self, path: str) -> bool:
        """Return True if there may be files below a folder in this one."""
