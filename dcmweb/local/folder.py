"""A folder of this machine that files are written into."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.local.partial_files import (
    PartialFile,
    WholeFile,
    check_space,
    make_folder,
    partial_file,
)
from dcmweb.local.windows import long_path
from dcmweb.sources import Stamp


@dataclass(frozen=True)
class LocalFolder:
    """A folder by its name; what it does is described in `dcmweb.folders`."""

    name: str

    def prepare(self) -> None:
        """Make the folder, and remove what ended runs have left in it."""
        make_folder(self.name)

    def check_space(self, size: int) -> None:
        """Raise LocalError if the disk has no room."""
        check_space(self.name, size)

    def new_file(self) -> AbstractContextManager[PartialFile]:
        """Open a partial file beside its final place."""
        return partial_file(self.name)

    def whole_file(self, content: bytes) -> WholeFile:
        """Write a file beside its final place."""
        return WholeFile(self.name, content)

    def whole(self, path: str) -> str:
        """Return the path with that of the folder."""
        return os.path.join(self.name, path)

    def file(self, path: str) -> LocalFile:
        """Return a file to be read."""
        return LocalFile(long_path(self.whole(path)))

    def stamp(self, path: str) -> Stamp | None:
        """Return size and time of a file."""
        return self.file(path).stamp()

    def may_have(self, path: str) -> bool:
        """Return True if there is such a folder."""
        return os.path.isdir(self.whole(path))
