"""Bulk data: the value of one element, as a stream (PS3.18 section 10.4.1.1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset as Elements
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag
from werkzeug.exceptions import BadRequest, NotFound

from dcmweb.archive.negotiation import MediaRange
from dcmweb.archive.representations.byte_ranges import FileRanges, Swapped, check_end
from dcmweb.archive.representations.frames import VIDEO, Frames
from dcmweb.archive.representations.metadata import (
    UNDEFINED,
    OpenDataset,
    as_read,
    is_deferred,
    opened,
    vr_of,
)
from dcmweb.archive.representations.transcode import TARGETS, decoded_frames
from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.json_to_part10 import WORDS, swapped
from dcmweb.dicom.tags import PIXEL_DATA
from dcmweb.http.media_types import OCTET_STREAM, MediaType, frame_media_type
from dcmweb.http.part_stream import PIECE
from dcmweb.sources import Source

_LOCATION = re.compile("[0-9A-Fa-f]{8}(/[1-9][0-9]{0,8}/[0-9A-Fa-f]{8})*")
_PIXEL_DATA = int(PIXEL_DATA, 16)
_NATIVE = MediaType(OCTET_STREAM, {"transfer-syntax": EXPLICIT_VR_LITTLE_ENDIAN})


@dataclass(frozen=True)
class Bulk:
    """Bulk data to be sent: its media type, and the source of its bytes in little endian."""

    media_type: MediaType
    source: Source


@dataclass(frozen=True)
class Held:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        """Yield them."""
        for start in range(0, len(self.data), PIECE):
            yield self.data[start : start + PIECE]


def find_bulkdata(path: str, location: str) -> list[Bulk]:
    """Find the value of the element at `TAG`, or at `TAG/ITEM/TAG` in items counted from 1.

    It is one stream, or one for each frame of encapsulated pixel data. Raises NotFound if the
    element is missing or has no value, BadRequest if the location is malformed, NotAcceptable
    if frames cannot be separated, BrokenDicom if the file cannot be read.
    """
    if not _LOCATION.fullmatch(location):
        raise BadRequest(f"{location!r} is not a location of bulk data, such as 7FE00010")
    with opened(path) as content:
        *above, last = location.split("/")
        elements = content.elements
        for tag, item in zip(above[::2], above[1::2], strict=True):
            elements = _item(content, elements, tag, int(item))
        raw = _element(elements, last)
        if raw.tag == _PIXEL_DATA and _is_encapsulated(raw):
            return _frames(path, content, raw)
        return [Bulk(_NATIVE, _source(path, content, raw))]


def choose_form(path: str, stored: Sequence[Bulk], wanted: MediaRange) -> Sequence[Bulk]:
    """Choose what a media range lets bulk data be sent as; empty if nothing.

    Frames that are stored compressed are sent so, or uncompressed as one stream of bytes. Raises
    NotAcceptable if they cannot be decoded.
    """
    syntax = wanted.transfer_syntax
    own_type = stored[0].media_type
    own_syntax = own_type.parameters["transfer-syntax"]
    if own_type.name == OCTET_STREAM:
        fits = syntax in ("", "*", *TARGETS) and wanted.covers(OCTET_STREAM)
        return stored if fits else ()
    if syntax in ("", "*", own_syntax) and wanted.covers(own_type.name):
        return stored
    if not wanted.covers(OCTET_STREAM):
        return ()
    if syntax in ("*", own_syntax):
        as_bytes = MediaType(OCTET_STREAM, own_type.parameters)
        return [Bulk(as_bytes, one.source) for one in stored]
    return [Bulk(_NATIVE, Decoded(path))] if syntax in ("", *TARGETS) else ()


@dataclass(frozen=True)
class Decoded:
    """All frames of a file, uncompressed."""

    path: str

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        frames = Frames(self.path)
        return -(-frames.frame_bits // 8) * frames.count

    def pieces(self) -> Iterator[bytes]:
        """Yield all frames; raises NotAcceptable if one cannot be decoded."""
        return decoded_frames(Frames(self.path))


def _element(elements: Elements, tag: str) -> RawDataElement | DataElement:
    number = BaseTag(int(tag, 16))
    if number not in elements:
        raise NotFound(f"there is no element {tag.upper()}")
    raw = as_read(elements, number)
    if vr_of(raw) == "SQ" or (not is_deferred(raw) and not raw.value):
        raise NotFound(f"element {tag.upper()} has no bulk data")
    return raw


def _item(content: OpenDataset, elements: Elements, tag: str, number: int) -> Elements:
    place = BaseTag(int(tag, 16))
    try:
        content.raw(elements, place)
        items = elements[place].value
    except OSError:
        raise
    except Exception:  # pydicom raises errors of any kind on malformed values
        items = None
    if isinstance(items, Items) and number <= len(items):
        item: Elements = items[number - 1]
        return item
    raise NotFound(f"there is no item {number} of element {tag.upper()}")


def _is_encapsulated(raw: RawDataElement | DataElement) -> bool:
    if isinstance(raw, RawDataElement):
        return raw.length == UNDEFINED
    return raw.is_undefined_length


def _frames(path: str, content: OpenDataset, raw: RawDataElement | DataElement) -> list[Bulk]:
    """Find the frames of the image itself, or the one of an icon."""
    syntax = content.transfer_syntax
    media_type = MediaType(frame_media_type(syntax), {"transfer-syntax": syntax})
    if not is_deferred(raw):
        frames = generate_frames(bytes(raw.value or b""), number_of_frames=1)
        return [Bulk(media_type, Held(frame)) for frame in frames]
    found = Frames(path)
    count = 1 if syntax in VIDEO else found.count  # a video is one stream
    return [Bulk(media_type, found.stored(number)) for number in range(1, count + 1)]


def _source(path: str, content: OpenDataset, raw: RawDataElement | DataElement) -> Source:
    vr = vr_of(raw)
    if isinstance(raw, RawDataElement) and is_deferred(raw):
        content.file.seek(raw.value_tell)
        check_end(content.file, raw.length)
        source: Source = FileRanges(path, ((raw.value_tell, raw.length),))
        word = WORDS.get(vr, 1) if content.is_big_endian else 1
        return Swapped(source, word, 0, raw.length) if word > 1 else source
    if not isinstance(raw.value, bytes):
        raise NotFound(f"element {raw.tag:08X} has no bulk data")
    return Held(swapped(raw.value, vr) if content.is_big_endian else raw.value)
