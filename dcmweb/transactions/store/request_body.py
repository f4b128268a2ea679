"""Bodies of store requests (PS3.18 section 10.5.1), made anew for each attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain

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
class SentBytes:
    """Counts the bytes of instances that were sent in a request, until that is taken back."""

    meter: Meter
    _counted: int = 0

    def add(self, size: int) -> None:
        """Count bytes that are sent now."""
        self._counted += size
        self.meter.send(size)

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


def body_of(batch: Batch, body_format: BodyFormat, meter: Meter) -> tuple[Body, SentBytes]:
    """Make a body of instances, and give what counts the bytes of them that are sent."""
    sent = SentBytes(meter)
    if body_format is BodyFormat.METADATA:
        return _metadata_body(batch, sent), sent
    sources = [one.as_source() for one in batch]
    if body_format is BodyFormat.SINGLE:
        return Body.single(sources[0], DICOM, sent.add), sent
    return Body.related(sources, DICOM, sent.add), sent


def _metadata_body(batch: Batch, sent: SentBytes) -> Body:
    """Put the data sets into an array, and the bulk data behind it (PS3.18 section 10.5.1.4)."""
    forms = [form for one in batch if (form := one.as_metadata()) is not None]
    root = json.dumps([dataset for dataset, _ in forms], ensure_ascii=False).encode()
    parts: list[tuple[Mapping[str, str], bytes | Source]] = [
        ({"Content-Type": DICOM_JSON}, root),
        *chain.from_iterable(bulk for _, bulk in forms),
    ]
    return Body.parts(parts, DICOM_JSON, sent.add)
