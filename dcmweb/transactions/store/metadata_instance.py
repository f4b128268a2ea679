"""Instances made from metadata and files that are not DICOM: what they are, how they are sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dcmweb.dicom.byte_ranges import Chunks, FileRange
from dcmweb.dicom.json_model import Dataset, text
from dcmweb.dicom.part10 import LocalInstance, MetadataPart
from dcmweb.dicom.tags import TRANSFER_SYNTAX_UID


@dataclass(frozen=True)
class Metadata:
    """A file of metadata: what it is called, what is in it, and when it was changed last.

    The time is in nanoseconds, 0 if there is none.
    """

    name: str
    body: bytes = field(repr=False)
    mtime_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class MetadataInstance(LocalInstance):
    """An instance made of a data set and of bulk data in files.

    `path` is what it is called by: the file, or the metadata where there is none, or several.
    `target` is the tag of the element that the bulk data is of, "" if there is none; `frames` are
    its one value, or compressed frames. `note` is what people should know of it.
    """

    dataset: Dataset
    target: str = ""
    frames: tuple[FileRange, ...] = ()
    media_type: str = ""
    is_encapsulated: bool = False
    note: str = ""

    @property
    def location(self) -> str:
        """What the data set refers to its bulk data by; "" if there is none."""
        return str(self.dataset[self.target]["BulkDataURI"]) if self.target else ""

    def relocated(self) -> MetadataInstance:
        """Name its bulk data as that of no other instance is."""
        if not self.target:
            return self
        uri = f"{self.identity.resource.instance}/{self.target}"
        element = {**self.dataset[self.target], "BulkDataURI": uri}
        return replace(self, dataset={**self.dataset, self.target: element})

    def as_metadata(self) -> tuple[Dataset, list[MetadataPart]] | None:
        """Return its data set and parts with its bulk data.

        Compressed frames can be sent so if there is one, or if they are a video: PS3.18 section
        10.5.1.4 has one part for the pixel data, and no more.
        """
        if len(self.frames) > 1:
            return None
        headers = {"Content-Type": self.media_type, "Content-Location": self.location}
        return self.dataset, [(headers, frame) for frame in self.frames]

    def as_source(self) -> Chunks:
        """Make a DICOM file of it, to be read piece by piece."""
        from dcmweb.dicom.json_to_part10 import BulkData, write_file

        bulk = {self.location: BulkData(self.frames, self.is_encapsulated)} if self.frames else {}
        syntax = text(self.dataset, TRANSFER_SYNTAX_UID)
        return Chunks(tuple(write_file(self.dataset, syntax, bulk)))

    def is_made_of(self, path: str) -> bool:
        """Return True if it is read from this file."""
        return path in (self.path, *(frame.path for frame in self.frames))

    def what_is_wrong(self) -> str:
        """Look for nothing: all of it was checked before it was made."""
        return ""
