"""Bodies of store requests (PS3.18 section 10.5.1), made anew for each attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.http.media_types import DICOM, DICOM_JSON
from dcmweb.http.multipart import Body
from dcmweb.sources import Source
from dcmweb.transfer.meter import Meter

Batch = list[LocalInstance]


class BodyFormat(Enum):
    """What a store request is made of (PS3.18 section 10.5.1)."""

    FILES = auto()  # DICOM files, each in a part
    SINGLE = auto()  # one DICOM file by itself
    METADATA = auto()  # metadata in the first part, and bulk data in the others


@dataclass
class Counted:
    """A source that counts the bytes read from it, until the count is taken back."""

    source: Source
    meter: Meter
    _counted: int = 0

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        return self.source.size

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes; errors as of the source."""
        for piece in self.source.pieces():
            self._counted += len(piece)
            self.meter.send(len(piece))
            yield piece

    def arrive(self) -> None:
        """Note that there is an answer for what was sent."""
        self.meter.arrive(self._counted)
        self._counted = 0

    def take_back(self) -> None:
        """Count what was sent as not sent."""
        self.meter.send(-self._counted)
        self._counted = 0


def can_be_metadata(batch: Batch) -> bool:
    """Return True if all of them can be sent as metadata and bulk data."""
    return all(one.as_metadata() is not None for one in batch)


def body_of(batch: Batch, body_format: BodyFormat, meter: Meter) -> tuple[Body, list[Counted]]:
    """Make a body of instances, and give what in it is counted."""
    if body_format is BodyFormat.METADATA:
        return _metadata_body(batch, meter)
    counted = [Counted(one.as_source(), meter) for one in batch]
    if body_format is BodyFormat.SINGLE:
        return Body.single(counted[0], DICOM), counted
    return Body.related(counted, DICOM), counted


def _metadata_body(batch: Batch, meter: Meter) -> tuple[Body, list[Counted]]:
    """Put the data sets into an array, and the bulk data behind it (PS3.18 section 10.5.1.4)."""
    forms = [form for one in batch if (form := one.as_metadata()) is not None]
    root = json.dumps([dataset for dataset, _ in forms], ensure_ascii=False).encode()
    bulk = [(headers, Counted(frame, meter)) for _, parts in forms for headers, frame in parts]
    parts: list[tuple[Mapping[str, str], bytes | Source]] = [
        ({"Content-Type": DICOM_JSON}, root),
        *bulk,
    ]
    return Body.parts(parts, DICOM_JSON), [counted for _, counted in bulk]
