"""Instances made of metadata in the DICOM JSON model and bulk data (PS3.18 10.5.1, annex F)."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import keyword_for_tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID
from pydicom.valuerep import format_number_as_ds
from werkzeug.exceptions import BadRequest

from dcmweb.archive.frames import frame_media_type
from dcmweb.archive.metadata import BINARY, WORDS, swapped
from dcmweb.dicom.elements import DEFLATED, EXPLICIT_VR_LITTLE_ENDIAN, encoding
from dcmweb.dicom.model import Dataset, number, text
from dcmweb.errors import LocalError
from dcmweb.http.media_types import OCTET_STREAM, MediaType
from dcmweb.http.multipart import PIECE

Write = Callable[[bytes], None]

_UIDS = ("00080016", "00080018", "0020000D", "0020000E")
_TRANSFER_SYNTAX, _CHARACTER_SET, _FRAMES = "00020010", "00080005", "00280008"
_PIXEL_DATA, _ITEM = "7FE00010", "FFFEE000"
# Said of the service, and of other fragments than those that are written.
_LEFT_OUT = ("00083002", "7FE00001", "7FE00002")

_STRINGS = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"]
) | {"UR", "UT"}
_SINGLE = ("LT", "ST", "UR", "UT")  # of one value, in which a backslash is a character
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_LONG_VRS = frozenset([*BINARY, "SQ", "SV", "UC", "UR", "UT", "UV"])
_VRS = frozenset([*_STRINGS, *WORDS, *BINARY, "SQ"])
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_CONTENTS = ("Value", "InlineBinary", "BulkDataURI")
_UNDEFINED = 0xFFFFFFFF
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class BulkFile:
    """Bulk data that came: the file it is in, its size in bytes, what it is."""

    path: str
    size: int
    media_type: MediaType

    @property
    def transfer_syntax(self) -> str:
        """The transfer syntax it is said to be in; "" if nothing tells (PS3.18 section 8.7.3)."""
        default = EXPLICIT_VR_LITTLE_ENDIAN if self.media_type.name == OCTET_STREAM else ""
        return self.media_type.parameters.get("transfer-syntax", default).strip()


def compose(metadata: Dataset, bulk: Mapping[str, BulkFile], write: Write) -> None:
    """Write an instance as a DICOM file; `bulk` is named as in the BulkDataURIs.

    The transfer syntax is that of the metadata (0002,0010), or else of the pixel data, or else
    Explicit VR Little Endian. Compressed pixel data becomes one fragment, text UTF-8. Raises
    BadRequest for what makes up no instance, maybe when a part of it has been written.
    """
    try:
        is_ascii = json.dumps(metadata, ensure_ascii=False).isascii()
        dataset = _prepared(metadata, is_ascii=is_ascii)
        _check_uids(dataset)
        _check_names(dataset, bulk)
        syntax = _transfer_syntax(text(metadata, _TRANSFER_SYNTAX), dataset, bulk)
        write(_file_meta(dataset, syntax))
        pieces = _Writer(syntax, bulk).pieces(dataset)
        for piece in _deflated(pieces) if syntax == DEFLATED else pieces:
            write(piece)
    except RecursionError:
        raise BadRequest("its sequences are nested too deep") from None


def _wrong(tag: str, words: str) -> BadRequest:
    """Make an error about an element."""
    keyword = keyword_for_tag(int(tag, 16))
    return BadRequest(f"({tag[:4]},{tag[4:]}) {keyword or 'private element'} {words}")


def _prepared(dataset: Dataset, *, is_ascii: bool = True) -> Dataset:
    """Check a data set, and order it by tags, without what is not written of it."""
    prepared: Dataset = {}
    for key, element in dataset.items():
        tag = key.upper()
        if not re.fullmatch("[0-9A-F]{8}", tag) or tag.startswith(("0000", "FFFE")):
            raise BadRequest(f"{key!r} is no tag of a data set")
        vr = element.get("vr") if isinstance(element, dict) else None
        if not isinstance(vr, str) or vr not in _VRS:
            raise _wrong(tag, "has no vr that PS3.5 knows")
        contents = [name for name in _CONTENTS if name in element]
        if len(contents) > 1:
            raise _wrong(tag, f"has both {contents[0]} and {contents[1]}")
        if "Value" in element and not isinstance(element["Value"], list):
            raise _wrong(tag, "has a Value that is no array")
        if not (tag.startswith("0002") or tag.endswith("0000") or tag in _LEFT_OUT):
            prepared[tag] = element
    if _CHARACTER_SET in prepared or not is_ascii:
        prepared[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(prepared.items()))


def _check_uids(metadata: Dataset) -> None:
    for tag in _UIDS:
        uid = text(metadata, tag)
        if not uid:
            raise _wrong(tag, "is missing")
        if not _UID.fullmatch(uid):
            raise _wrong(tag, f"is no UID: {uid!r}")


def _check_names(metadata: Dataset, bulk: Mapping[str, BulkFile]) -> None:
    """Check that BulkDataURIs and parts belong together, one to one or more."""
    named = set()
    for tag, element in _with_bulk_data(metadata):
        name = element["BulkDataURI"]
        if not isinstance(name, str) or name not in bulk:
            raise _wrong(tag, f"refers to {name!r}, but no part has that Content-Location")
        named.add(name)
    if unused := bulk.keys() - named:
        raise BadRequest(f"no BulkDataURI names the part {min(unused)}")


def _with_bulk_data(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    for tag, element in _prepared(dataset).items():
        if "BulkDataURI" in element:
            yield tag, element
        elif element["vr"] == "SQ":
            for item in _items(tag, element):
                yield from _with_bulk_data(item)


def _items(tag: str, element: dict[str, Any]) -> Iterator[Dataset]:
    if "InlineBinary" in element or "BulkDataURI" in element:
        raise _wrong(tag, "is a sequence, but has no items")
    for item in element.get("Value", ()):
        if not (item is None or isinstance(item, dict)):
            raise _wrong(tag, "has an item that is no data set")
        yield item or {}


def _transfer_syntax(told: str, dataset: Dataset, bulk: Mapping[str, BulkFile]) -> str:
    """Find the one transfer syntax: as told, if it is, and as the pixel data is in."""
    pixels = bulk.get(dataset.get(_PIXEL_DATA, {}).get("BulkDataURI", ""))
    syntax = told or (pixels.transfer_syntax if pixels else "")
    if not syntax and pixels and pixels.media_type.name:
        raise _wrong(_PIXEL_DATA, f"is {pixels.media_type}, which tells no transfer syntax")
    syntax = syntax or EXPLICIT_VR_LITTLE_ENDIAN
    if not (_UID.fullmatch(syntax) and _uid(syntax).is_transfer_syntax):
        raise _wrong(_TRANSFER_SYNTAX, f"is no transfer syntax that is known: {syntax!r}")
    if pixels:
        _check_pixels(pixels, syntax)
        frames = number(dataset, _FRAMES) or 1
        is_video = frame_media_type(syntax).startswith("video/")
        if _is_compressed(syntax) and frames > 1 and not is_video:
            raise _wrong(_FRAMES, f"is {frames}, but a part in {syntax} is one frame")
    elif _is_compressed(syntax) and _PIXEL_DATA in dataset:
        raise _wrong(_PIXEL_DATA, f"is no bulk data, as it has to be in transfer syntax {syntax}")
    return syntax


def _check_pixels(pixels: BulkFile, syntax: str) -> None:
    """Check bulk data against the transfer syntax of the data set (PS3.18 table 8.7.3-5)."""
    own = pixels.transfer_syntax or syntax
    if own != syntax and (_is_compressed(own) or _is_compressed(syntax)):
        raise _wrong(_PIXEL_DATA, f"is in transfer syntax {own}, not in {syntax}")
    name = pixels.media_type.name
    if name not in ("", OCTET_STREAM, frame_media_type(syntax).lower()):
        raise _wrong(_PIXEL_DATA, f"is {name}, which cannot be in transfer syntax {syntax}")


def _is_compressed(syntax: str) -> bool:
    """Tell whether pixel data is encapsulated; in syntaxes nobody knows it may be."""
    uid = _uid(syntax)
    return not uid.is_transfer_syntax or (uid.is_compressed and syntax != DEFLATED)


def _uid(text: str) -> UID:
    return UID(text, validation_mode=IGNORE)


def _file_meta(dataset: Dataset, syntax: str) -> bytes:
    """Write preamble and file meta information (PS3.10 section 7.1)."""
    writer = _Writer(EXPLICIT_VR_LITTLE_ENDIAN, {})
    group = writer.element("00020001", "OB", b"\0\1")
    for tag, uid in (
        ("00020002", text(dataset, "00080016")),
        ("00020003", text(dataset, "00080018")),
        (_TRANSFER_SYNTAX, syntax),
        ("00020012", PYDICOM_IMPLEMENTATION_UID),
    ):
        group += writer.element(tag, "UI", uid.encode())
    length = writer.element("00020000", "UL", struct.pack("<L", len(group)))
    return b"\0" * 128 + b"DICM" + length + group


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Deflate a data set, to an even number of bytes (PS3.5 annex A.5)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for piece in pieces:
        done = deflater.compress(piece)
        size += len(done)
        yield done
    end = deflater.flush()
    yield end + b"\0" * ((size + len(end)) % 2)


class _Writer:
    """Writes data sets in the encoding of a transfer syntax (PS3.5 section 7)."""

    def __init__(self, syntax: str, bulk: Mapping[str, BulkFile]) -> None:
        self._explicit, self._order = encoding(syntax)
        self._syntax = syntax
        self._bulk = bulk

    def pieces(self, dataset: Dataset) -> Iterator[bytes]:
        """Write a data set, bulk data piece by piece; what is in items is held."""
        for tag, element in _prepared(dataset).items():
            vr = element["vr"]
            if vr == "SQ":
                yield self.element(tag, vr, b"".join(map(self._item, _items(tag, element))))
            elif "BulkDataURI" in element:
                yield from self._bulk_data(tag, vr, self._bulk[element["BulkDataURI"]])
            else:
                yield self.element(tag, vr, _value(tag, element, self._order))

    def element(self, tag: str, vr: str, value: bytes) -> bytes:
        """Write an element, its value padded."""
        value += _padding(vr, len(value))
        return self._header(tag, vr, len(value)) + value

    def _item(self, item: Dataset) -> bytes:
        return self.element(_ITEM, "", b"".join(self.pieces(item)))

    def _header(self, tag: str, vr: str, length: int) -> bytes:
        if length > _UNDEFINED:
            raise _wrong(tag, "is too long for DICOM")
        header = struct.pack(self._order + "HH", int(tag[:4], 16), int(tag[4:], 16))
        if not (self._explicit and vr):
            return header + struct.pack(self._order + "L", length)
        if vr not in _LONG_VRS and length <= 0xFFFF:
            return header + vr.encode() + struct.pack(self._order + "H", length)
        vr = vr if vr in _LONG_VRS else "UN"  # PS3.5 section 6.2.2
        return header + vr.encode() + struct.pack(self._order + "HL", 0, length)

    def _bulk_data(self, tag: str, vr: str, file: BulkFile) -> Iterator[bytes]:
        size = file.size + file.size % 2
        if size >= _UNDEFINED:
            raise _wrong(tag, "is too long for DICOM")
        if not self._is_encapsulated(tag, file):
            yield self._header(tag, vr, size)
            yield from self._pieces_of(file, vr)
            return
        # A basic offset table of the one frame, and the frame (PS3.5 annex A.4).
        yield self._header(tag, "OB", _UNDEFINED)
        yield self.element(_ITEM, "", b"\0\0\0\0") + self._header(_ITEM, "", size)
        yield from self._pieces_of(file, "OB")
        yield self._header("FFFEE0DD", "", 0)

    def _pieces_of(self, file: BulkFile, vr: str) -> Iterator[bytes]:
        left = file.size
        with open(file.path, "rb") as source:
            while left:
                piece = source.read(min(left, PIECE))
                if not piece:
                    raise LocalError("bulk data has become shorter", path=file.path)
                left -= len(piece)
                whole = piece if left else piece + _padding(vr, file.size)
                yield swapped(whole, vr) if self._order == ">" else whole

    def _is_encapsulated(self, tag: str, file: BulkFile) -> bool:
        """Tell how pixel data is to be written; that of items may be native in any case."""
        own = file.transfer_syntax or self._syntax
        if tag != _PIXEL_DATA or (file.media_type.name == OCTET_STREAM and not _is_compressed(own)):
            return False
        _check_pixels(file, self._syntax)
        return _is_compressed(own)


def _padding(vr: str, size: int) -> bytes:
    """Give what makes a value of even length (PS3.5 section 6.2)."""
    return (b" " if vr in _STRINGS and vr != "UI" else b"\0") * (size % 2)


def _value(tag: str, element: dict[str, Any], order: str) -> bytes:
    """Write what an element holds (PS3.18 section F.2.3)."""
    vr, values = element["vr"], element.get("Value", [])
    if ("Value" in element and vr in BINARY) or ("InlineBinary" in element and vr not in BINARY):
        raise _wrong(tag, f"has {' and '.join(element)}, which do not go together")
    if vr in BINARY:
        data = _inline(tag, element.get("InlineBinary", ""))
        data += _padding(vr, len(data))
        return swapped(data, vr) if order == ">" else data
    if vr in _STRINGS:
        if len(values) > 1 and vr in _SINGLE:
            raise _wrong(tag, f"has {len(values)} values, but vr {vr} has one")
        return "\\".join(_string(tag, vr, v) for v in values).encode("utf-8", "replace")
    if all(value is None for value in values):
        return b""
    try:
        if vr == "AT":
            return b"".join(_tag(value, order) for value in values)
        return b"".join(struct.pack(order + _NUMBERS[vr], _number(vr, value)) for value in values)
    except (TypeError, ValueError, OverflowError, struct.error):
        raise _wrong(tag, f"has a value that vr {vr} cannot hold") from None


def _tag(value: str, order: str) -> bytes:
    if not re.fullmatch("[0-9A-Fa-f]{8}", value):
        raise ValueError(value)
    return struct.pack(order + "HH", int(value[:4], 16), int(value[4:], 16))


def _inline(tag: str, encoded: Any) -> bytes:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        raise _wrong(tag, "has an InlineBinary that is not Base64") from None


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
        raise _wrong(tag, f"has a value that vr {vr} cannot hold")
    if "\\" in value and vr not in _SINGLE:
        raise _wrong(tag, "has a backslash in a value")
    return value


def _person_name(name: dict[str, Any]) -> str | None:
    groups = [name.get(group, "") for group in _GROUPS]
    if not name.keys() <= {*_GROUPS} or not all(isinstance(group, str) for group in groups):
        return None
    return "=".join(groups).rstrip("=")


def _decimal(vr: str, value: float) -> str | None:
    """Write a number of DS or IS; None for what is none of them."""
    try:
        number = _number("IS" if isinstance(value, int) else vr, value)
        return format_number_as_ds(number) if isinstance(number, float) else str(number)
    except (TypeError, ValueError, OverflowError):
        return None
