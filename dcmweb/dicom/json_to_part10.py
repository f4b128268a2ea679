"""Write DICOM files from the DICOM JSON model and bulk data (PS3.5 section 7, PS3.10 section 7).

A file is yielded as chunks. Bulk data stays unread in them, so that the length is known before it
is read.
"""

from __future__ import annotations

import array
import base64
import binascii
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID
from pydicom.valuerep import format_number_as_ds

from dcmweb.dicom.byte_ranges import Chunk, size_of
from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN, encoding
from dcmweb.dicom.json_model import Dataset, bulk_references, text
from dcmweb.dicom.person_names import GROUPS, join_groups
from dcmweb.dicom.tags import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    FILE_META_INFORMATION_GROUP_LENGTH,
    FILE_META_INFORMATION_VERSION,
    IMPLEMENTATION_CLASS_UID,
    ITEM,
    MEDIA_STORAGE_SOP_CLASS_UID,
    MEDIA_STORAGE_SOP_INSTANCE_UID,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION_ITEM,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
    TRANSFER_SYNTAX_UID,
)
from dcmweb.sources import Source

UTF_8 = "ISO_IR 192"

BINARY = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
# Bytes to a word, for the values that a big endian file has in another order (PS3.5 section 7.3).
WORDS = dict.fromkeys(("AT", "OW", "SS", "US"), 2)
WORDS |= dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4)
WORDS |= dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8)

# About the service that sent it, or about fragments other than those that are written.
_LEFT_OUT = (AVAILABLE_TRANSFER_SYNTAX_UID, EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS)
_STRINGS = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"]
) | {"UR", "UT"}
_SINGLE = ("LT", "ST", "UR", "UT")  # of one value, in which a backslash is a character
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_LONG_VRS = frozenset([*BINARY, "SQ", "SV", "UC", "UR", "UT", "UV"])
_VRS = frozenset([*_STRINGS, *WORDS, *BINARY, "SQ"])
_CONTENTS = ("Value", "InlineBinary", "BulkDataURI")
_UNDEFINED = 0xFFFFFFFF
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_TYPE_CODES = {2: "H", 4: "I", 8: "Q"}


class Unwritable(ValueError):
    """The data set cannot be written as a file; the message names the element and the problem.

    Messages hold tags and positions, never values or unknown keys: these may be about a patient.
    """


@dataclass(frozen=True)
class BulkData:
    """The bulk data of an element: one value in little endian, or compressed frames."""

    frames: Sequence[Source]
    is_encapsulated: bool = False


def write_file(dataset: Dataset, syntax: str, bulk: Mapping[str, BulkData]) -> Iterator[Chunk]:
    """Yield a DICOM file; `bulk` is named as in the BulkDataURIs.

    Text is in UTF-8. The data set is not deflated. Raises Unwritable, even after some chunks, and
    RecursionError for sequences that are nested too deep.
    """
    yield _file_meta(dataset, syntax)
    yield from write_dataset(dataset, syntax, bulk)


def write_dataset(dataset: Dataset, syntax: str, bulk: Mapping[str, BulkData]) -> Iterator[Chunk]:
    """Yield a data set without preamble and file meta information; errors as of `write_file`."""
    return _Writer(syntax, bulk).chunks(dataset)


def wrong(tag: str, words: str) -> Unwritable:
    """Make an error about an element."""
    return Unwritable(f"{named(tag)} {words}")


def named(tag: str) -> str:
    """Write a tag with its keyword, as `(0010,0010) PatientName`."""
    keyword = keyword_for_tag(int(tag, 16))
    private = "private element" if int(tag[3], 16) % 2 else "unknown element"
    return f"({tag[:4]},{tag[4:]}) {keyword or private}"


def prepared(dataset: Dataset, *, is_ascii: bool = True) -> Dataset:
    """Check a data set and sort it by tag; elements that are not written are left out."""
    found: Dataset = {}
    for number, (key, element) in enumerate(dataset.items(), start=1):
        tag = key.upper()
        if not re.fullmatch("[0-9A-F]{8}", tag) or tag.startswith(("0000", "FFFE")):
            raise Unwritable(f"key {number} of a data set is not a tag that can be in it")
        vr = element.get("vr") if isinstance(element, dict) else None
        if not isinstance(vr, str) or vr not in _VRS:
            raise wrong(tag, "has a vr that is not in PS3.5, or none")
        contents = [name for name in _CONTENTS if name in element]
        if len(contents) > 1:
            raise wrong(tag, f"has both {contents[0]} and {contents[1]}")
        if "Value" in element and not isinstance(element["Value"], list):
            raise wrong(tag, "has a Value that is not an array")
        if not (tag.startswith("0002") or tag.endswith("0000") or tag in _LEFT_OUT):
            found[tag] = element
    if SPECIFIC_CHARACTER_SET in found or not is_ascii:
        found[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": [UTF_8]}
    return dict(sorted(found.items()))


def check_uids(metadata: Dataset) -> None:
    """Raise Unwritable unless a data set has the UIDs of an instance."""
    for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID):
        uid = text(metadata, tag)
        if not uid:
            raise wrong(tag, "is missing")
        if not is_uid(uid):
            raise wrong(tag, "is not a valid UID")


def is_uid(uid: str) -> bool:
    """Return True if a text has the form of a UID (PS3.5 section 9.1)."""
    return _UID.fullmatch(uid) is not None


def with_bulk_data(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield tag and element of all that refers to bulk data and is written, in items too."""
    for path, element in bulk_references(dataset, prepared):
        yield path.rpartition("/")[2], element


def swapped(data: bytes, vr: str) -> bytes:
    """Swap the bytes of each word of a value; bytes at the end that are not a whole word stay."""
    size = WORDS.get(vr, 1)
    if size == 1:
        return data
    whole = len(data) // size * size
    words = array.array(_TYPE_CODES[size], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


def _items(tag: str, element: dict[str, Any]) -> Iterator[Dataset]:
    if "InlineBinary" in element or "BulkDataURI" in element:
        raise wrong(tag, "is a sequence, but has no items")
    for item in element.get("Value", ()):
        if not (item is None or isinstance(item, dict)):
            raise wrong(tag, "has an item that is not a data set")
        yield item or {}


def _file_meta(dataset: Dataset, syntax: str) -> bytes:
    """Write preamble and file meta information (PS3.10 section 7.1)."""
    writer = _Writer(EXPLICIT_VR_LITTLE_ENDIAN, {})
    group = writer.element(FILE_META_INFORMATION_VERSION, "OB", b"\0\1")
    for tag, uid in (
        (MEDIA_STORAGE_SOP_CLASS_UID, text(dataset, SOP_CLASS_UID)),
        (MEDIA_STORAGE_SOP_INSTANCE_UID, text(dataset, SOP_INSTANCE_UID)),
        (TRANSFER_SYNTAX_UID, syntax),
        (IMPLEMENTATION_CLASS_UID, PYDICOM_IMPLEMENTATION_UID),
    ):
        group += writer.element(tag, "UI", uid.encode())
    length = writer.element(FILE_META_INFORMATION_GROUP_LENGTH, "UL", struct.pack("<L", len(group)))
    return b"\0" * 128 + b"DICM" + length + group


@dataclass(frozen=True)
class _InOtherOrder:
    """A value in big endian, made from one in little endian."""

    source: Source
    vr: str
    padding: bytes

    @property
    def size(self) -> int:
        return self.source.size + len(self.padding)

    def pieces(self) -> Iterator[bytes]:
        rest = b""
        for piece in self.source.pieces():
            data = rest + piece
            whole = len(data) // 8 * 8
            rest = data[whole:]
            yield swapped(data[:whole], self.vr)
        yield swapped(rest + self.padding, self.vr)


class _Writer:
    """Writes data sets in the encoding of a transfer syntax (PS3.5 section 7)."""

    def __init__(self, syntax: str, bulk: Mapping[str, BulkData]) -> None:
        self._explicit, self._order = encoding(syntax)
        self._bulk = bulk

    def chunks(self, dataset: Dataset) -> Iterator[Chunk]:
        """Write a data set."""
        for tag, element in prepared(dataset).items():
            vr = element["vr"]
            if vr == "SQ":
                yield from self._sequence(tag, element)
            elif "BulkDataURI" in element:
                yield from self._bulk_data(tag, vr, self._bulk[element["BulkDataURI"]])
            else:
                yield self.element(tag, vr, _value(tag, element, self._order))

    def element(self, tag: str, vr: str, value: bytes) -> bytes:
        """Write an element, its value padded."""
        value += _padding(vr, len(value))
        return self._header(tag, vr, len(value)) + value

    def _sequence(self, tag: str, element: dict[str, Any]) -> Iterator[Chunk]:
        chunks: list[Chunk] = []
        for item in _items(tag, element):
            inside = [*self.chunks(item)]
            chunks += [self._header(ITEM, "", size_of(inside)), *inside]
        yield self._header(tag, "SQ", size_of(chunks))
        yield from chunks

    def _header(self, tag: str, vr: str, length: int) -> bytes:
        if length > _UNDEFINED:
            raise wrong(tag, "is too long for DICOM")
        header = struct.pack(self._order + "HH", int(tag[:4], 16), int(tag[4:], 16))
        if not (self._explicit and vr):
            return header + struct.pack(self._order + "L", length)
        if vr not in _LONG_VRS and length <= 0xFFFF:
            return header + vr.encode() + struct.pack(self._order + "H", length)
        vr = vr if vr in _LONG_VRS else "UN"  # PS3.5 section 6.2.2
        return header + vr.encode() + struct.pack(self._order + "HL", 0, length)

    def _bulk_data(self, tag: str, vr: str, bulk: BulkData) -> Iterator[Chunk]:
        if bulk.is_encapsulated and tag == PIXEL_DATA:
            yield from self._encapsulated(tag, bulk.frames)
            return
        (value,) = bulk.frames
        padding = _padding(vr, value.size)
        yield self._header(tag, vr, self._checked(tag, value.size + len(padding)))
        if self._order == ">" and vr in WORDS:
            yield _InOtherOrder(value, vr, padding)
        else:
            yield value
            yield padding

    def _encapsulated(self, tag: str, frames: Sequence[Source]) -> Iterator[Chunk]:
        """Write frames, each one fragment, behind their basic offset table (PS3.5 annex A.4)."""
        sizes = [self._checked(tag, frame.size + frame.size % 2) for frame in frames]
        offsets = [0, *accumulate(8 + size for size in sizes[:-1])]
        table = struct.pack(f"<{len(offsets)}L", *offsets) if offsets[-1] < _UNDEFINED else b""
        yield self._header(tag, "OB", _UNDEFINED) + self.element(ITEM, "", table)
        for frame, size in zip(frames, sizes, strict=True):
            yield self._header(ITEM, "", size)
            yield frame
            yield b"\0" * (frame.size % 2)
        yield self._header(SEQUENCE_DELIMITATION_ITEM, "", 0)

    @staticmethod
    def _checked(tag: str, size: int) -> int:
        if size >= _UNDEFINED:
            raise wrong(tag, "is too long for DICOM")
        return size


def _padding(vr: str, size: int) -> bytes:
    """Return the padding that makes the length of a value even (PS3.5 section 6.2)."""
    return (b" " if vr in _STRINGS and vr != "UI" else b"\0") * (size % 2)


def _value(tag: str, element: dict[str, Any], order: str) -> bytes:
    """Write the value of an element (PS3.18 section F.2.3)."""
    vr, values = element["vr"], element.get("Value", [])
    if ("Value" in element and vr in BINARY) or ("InlineBinary" in element and vr not in BINARY):
        content = "Value" if "Value" in element else "InlineBinary"
        raise wrong(tag, f"has vr {vr} and {content}, which do not go together")
    if vr in BINARY:
        data = _inline(tag, element.get("InlineBinary", ""))
        data += _padding(vr, len(data))
        return swapped(data, vr) if order == ">" else data
    if vr in _STRINGS:
        if len(values) > 1 and vr in _SINGLE:
            raise wrong(tag, f"has {len(values)} values, but vr {vr} has one")
        return "\\".join(_string(tag, vr, v) for v in values).encode("utf-8", "replace")
    if all(value is None for value in values):
        return b""
    try:
        if vr == "AT":
            return b"".join(_tag(value, order) for value in values)
        return b"".join(struct.pack(order + _NUMBERS[vr], _number(vr, value)) for value in values)
    except (TypeError, ValueError, OverflowError, struct.error):
        raise wrong(tag, f"has a value that vr {vr} cannot hold") from None


def _tag(value: str, order: str) -> bytes:
    if not re.fullmatch("[0-9A-Fa-f]{8}", value):
        raise ValueError(value)
    return struct.pack(order + "HH", int(value[:4], 16), int(value[4:], 16))


def _inline(tag: str, encoded: Any) -> bytes:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        raise wrong(tag, "has an InlineBinary that is not Base64") from None


def _number(vr: str, value: Any) -> int | float:
    """Read a number, which may be written as text; errors as of `int` and `float`."""
    if isinstance(value, bool):
        raise TypeError(value)
    if vr in ("FL", "FD", "DS"):
        return float(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value)


def _string(tag: str, vr: str, value: Any) -> str:
    """Write one value of text; "" for null."""
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, dict):
        value = _person_name(value)
    elif vr in ("DS", "IS") and isinstance(value, (int, float)):
        value = _decimal(vr, value)
    elif vr == "PN":
        value = None
    if not isinstance(value, str):
        raise wrong(tag, f"has a value that vr {vr} cannot hold")
    if "\\" in value and vr not in _SINGLE:
        raise wrong(tag, "has a backslash in a value")
    return value


def _person_name(name: dict[str, Any]) -> str | None:
    if not name.keys() <= {*GROUPS} or not all(isinstance(group, str) for group in name.values()):
        return None
    return join_groups(name)


def _decimal(vr: str, value: float) -> str | None:
    """Write a number of DS or IS; None if the VR cannot hold it."""
    try:
        number = _number("IS" if isinstance(value, int) else vr, value)
        return format_number_as_ds(number) if isinstance(number, float) else str(number)
    except (TypeError, ValueError, OverflowError):
        return None
