"""Instances as they are sent: made into bodies anew for each attempt, looked into when refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import FileRange
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.http.media_types import DICOM, DICOM_JSON
from dcmweb.http.multipart import Body, Source
from dcmweb.transactions.store.metadata_instance import MetadataInstance
from dcmweb.transfer.engine import Meter


class BodyFormat(Enum):
    """What a store request is made of (PS3.18 section 10.5.1)."""

    FILES = auto()  # DICOM files, each in a part
    SINGLE = auto()  # one DICOM file by itself
    METADATA = auto()  # metadata in the first part, and bulk data in the others


@dataclass
class Counted:
    """A source of which is counted what has been read, as long as it is not taken back."""

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
            self.meter.add(len(piece))
            yield piece

    def take_back(self) -> None:
        """Count what was sent as not sent."""
        self.meter.add(-self._counted)
        self._counted = 0


@dataclass(frozen=True)
class FileSource:
    """A file as the source of a part: read anew each time, and unchanged since it was looked at."""

    instance: LocalInstance

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.instance.size

    def pieces(self) -> Iterator[bytes]:
        """Yield the file. Raises LocalError if it cannot be read, or changed since."""
        one = self.instance
        whole = FileRange(one.path, 0, one.size, (one.size, one.mtime_ns))
        if one.content is None:
            yield from whole.pieces()
        else:
            whole.check()
            yield one.content


def can_be_metadata(batch: Sequence[LocalInstance]) -> bool:
    """Tell whether instances can be sent as metadata and bulk data."""
    return all(isinstance(one, MetadataInstance) and one.can_be_metadata for one in batch)


def is_made_of(instance: LocalInstance, path: str) -> bool:
    """Tell whether a file is one that an instance is read from."""
    frames = instance.frames if isinstance(instance, MetadataInstance) else ()
    return path in (instance.path, *(frame.path for frame in frames))


def body_of(
    batch: Sequence[LocalInstance], body_format: BodyFormat, meter: Meter
) -> tuple[Body, list[Counted]]:
    """Make a body of instances, and give what in it is counted."""
    if body_format is BodyFormat.METADATA:
        return _metadata_body([one for one in batch if isinstance(one, MetadataInstance)], meter)
    counted = [
        Counted(one.as_file() if isinstance(one, MetadataInstance) else FileSource(one), meter)
        for one in batch
    ]
    if body_format is BodyFormat.SINGLE:
        return Body.single(counted[0], DICOM), counted
    return Body.related(counted, DICOM), counted


def _metadata_body(batch: Sequence[MetadataInstance], meter: Meter) -> tuple[Body, list[Counted]]:
    """Put the data sets into an array, and the bulk data behind it (PS3.18 section 10.5.1.4)."""
    counted = []
    root = json.dumps([one.dataset for one in batch], ensure_ascii=False).encode()
    parts: list[tuple[Mapping[str, str], bytes | Source]] = [({"Content-Type": DICOM_JSON}, root)]
    for one in batch:
        for frame in one.frames:
            counted.append(Counted(frame, meter))
            headers = {"Content-Type": one.media_type, "Content-Location": one.location}
            parts.append((headers, counted[-1]))
    return Body.parts(parts, DICOM_JSON), counted


def what_is_wrong(instance: LocalInstance) -> str:
    """Look for what may be wrong with a file that was refused without a reason."""
    if isinstance(instance, MetadataInstance):
        return ""
    try:
        with part10.open_file(instance.path) as file:
            damage = part10.find_damage(file)
    except OSError:
        damage = ""
    lacking = [
        name
        for name, uid in (
            ("SOP Class UID", instance.identity.sop_class),
            ("Study Instance UID", instance.identity.resource.study),
            ("Series Instance UID", instance.identity.resource.series),
        )
        if not uid
    ]
    return "; ".join(
        filter(None, [damage, f"it has no {' and no '.join(lacking)}" if lacking else ""])
    )
