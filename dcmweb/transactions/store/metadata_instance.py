"""Instances made of metadata and files that are no DICOM: what they are, and how they are sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dcmweb.dicom.byte_ranges import Chunks, FileRange
from dcmweb.dicom.json_model import Dataset, text
from dcmweb.dicom.part10 import LocalInstance
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

    @property
    def can_be_metadata(self) -> bool:
        """Whether it can be sent as metadata and bulk data.

        Compressed frames can if there is one, or if they are a video: PS3.18 section 10.5.1.4 has
        one part for the pixel data, and no more.
        """
        return len(self.frames) <= 1

    def as_file(self) -> Chunks:
        """Make a DICOM file of it, to be read piece by piece."""
        from dcmweb.dicom.json_to_part10 import BulkData, write_file

        bulk = {self.location: BulkData(self.frames, self.is_encapsulated)} if self.frames else {}
        syntax = text(self.dataset, TRANSFER_SYNTAX_UID)
        return Chunks(tuple(write_file(self.dataset, syntax, bulk)))
