"""DICOM files element by element (PS3.5 section 7, PS3.10 section 7), without reading values.

A walk over the elements costs less than sending a small file. Errors in the structure are
CutShort, ValueError and struct.error; callers put them into words.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from dcmweb.dicom import tags

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

META_SOP_CLASS = int(tags.MEDIA_STORAGE_SOP_CLASS_UID, 16)
META_SOP_INSTANCE = int(tags.MEDIA_STORAGE_SOP_INSTANCE_UID, 16)
META_SYNTAX = int(tags.TRANSFER_SYNTAX_UID, 16)

_META_GROUP_LENGTH = int(tags.FILE_META_INFORMATION_GROUP_LENGTH, 16)
_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"]
)
_DELIMITERS = (b"\xfe\xff", b"\xff\xfe")  # the group of items and delimitation items
_EXPLICIT = {order: struct.Struct(order + "HH2sH") for order in "<>"}
_ITEM, _ITEM_END = int(tags.ITEM, 16), int(tags.ITEM_DELIMITATION_ITEM, 16)
_SEQUENCE_END = int(tags.SEQUENCE_DELIMITATION_ITEM, 16)
_PIECE = 256 * 1024
_DEEPEST = 64  # levels of nested sequences; more is an attack or noise


class CutShort(ValueError):
    """The stream ended inside an element."""

    @classmethod
    def inside(cls, tag: int) -> CutShort:
        """Make the error for a stream that ended inside an element."""
        return cls(f"it ends inside element ({tag >> 16:04X},{tag & 0xFFFF:04X})")


class TooDeep(ValueError):
    """Sequences are nested deeper than any that mean something."""


def skip_preamble(file: BinaryIO) -> bool:
    """Go to what follows preamble and `DICM`; to the beginning if there are none."""
    file.seek(0)
    if file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM":
        return True
    file.seek(0)
    return False


def guess_syntax(file: BinaryIO) -> str:
    """Guess the transfer syntax of a data set by its first element."""
    start = file.tell()
    header = file.read(6)
    file.seek(start)
    if header[:2] == b"\x00\x08":
        return EXPLICIT_VR_BIG_ENDIAN
    is_explicit = header[4:6].isalpha() and header[4:6].isupper()
    return EXPLICIT_VR_LITTLE_ENDIAN if is_explicit else IMPLICIT_VR_LITTLE_ENDIAN


def read_meta(file: BinaryIO) -> dict[int, str]:
    """Read the file meta information, if there is any, up to the data set."""
    meta: dict[int, str] = {}
    start = file.tell()
    size, end = _size(file), 0
    while True:
        header = file.read(8)
        # The group length is often wrong. It only shows that the file ends too early.
        if header[:2] not in (b"\x02\x00", b"\x02") and (header or start >= end):
            file.seek(start)
            return meta
        if len(header) < 8:
            raise CutShort("it ends inside its file meta information")
        if _has_no_vr(header):
            tag, length = (header[0] | header[1] << 8) << 16 | header[2] | header[3] << 8, header[4]
            after = start + 8 + length
        else:
            tag, length, after = _explicit(file, header, "<", start)
        if after > size:
            raise CutShort.inside(tag)
        if tag in (META_SOP_CLASS, META_SOP_INSTANCE, META_SYNTAX):
            meta[tag] = text(file.read(min(length, 1024)))
        elif tag == _META_GROUP_LENGTH and length == 4:
            end = after + int.from_bytes(file.read(4), "little")
        file.seek(after)
        start = after


def _has_no_vr(header: bytes) -> bool:
    """Return True for a header in Implicit VR, which old exports have in the meta information."""
    return header[5:] == b"\0\0\0" and not header[4:6].isalpha()


def encoding(syntax: str) -> tuple[bool, str]:
    """Return whether VRs are explicit, and the byte order as `struct` writes it."""
    return syntax != IMPLICIT_VR_LITTLE_ENDIAN, ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"


def elements(file: BinaryIO, explicit: bool, order: str, depth: int) -> Iterator[tuple[int, int]]:
    """Yield tag and length of each element, the stream standing at its value.

    Elements of undefined length are yielded once their values have been walked through. Raises
    CutShort if the stream ends within an element.
    """
    unpack = struct.Struct(order + "HHL").unpack
    start = file.tell()
    end = _size(file)
    while header := file.read(8):
        if len(header) < 8:
            if any(header):
                raise CutShort("it ends inside the header of an element")
            return  # padding
        if depth == 0 and not any(header) and _is_padding(file):
            return
        if explicit and header[:2] not in _DELIMITERS:
            tag, length, after = _explicit(file, header, order, start)
        else:
            group, element, length = unpack(header)
            tag, after = group << 16 | element, start + 8 + length
            if tag in (_ITEM_END, _SEQUENCE_END):
                return
        if length == _UNDEFINED:
            if explicit and header[4:6] == b"UN":
                _skip_undefined(file, False, "<", tag, depth + 1)
            else:
                _skip_undefined(file, explicit, order, tag, depth + 1)
            yield tag, 0
            start = file.tell()
            continue
        if after > end:
            raise CutShort.inside(tag)
        yield tag, length
        file.seek(after)
        start = after


def _is_padding(file: BinaryIO) -> bool:
    """Return True if only zeros follow, as media with sectors leave them."""
    start = file.tell()
    while piece := file.read(_PIECE):
        if any(piece):
            file.seek(start)
            return False
    return True


def _explicit(file: BinaryIO, header: bytes, order: str, start: int) -> tuple[int, int, int]:
    """Read the header of an element with a VR: its tag, its length, and where it ends."""
    group, element, vr, length = _EXPLICIT[order].unpack(header)
    tag = group << 16 | element
    if vr in _LONG_VRS:
        long = file.read(4)
        if len(long) < 4:
            raise CutShort.inside(tag)
        (length,) = struct.unpack(order + "L", long)
        return tag, length, start + 12 + length
    if not (vr.isalpha() and vr.isupper()):
        raise ValueError(f"no value representation at byte {start:,}")
    return tag, length, start + 8 + length


def _skip_undefined(file: BinaryIO, explicit: bool, order: str, tag: int, depth: int) -> None:
    """Walk through the items of a sequence, or the fragments of pixel data, to their end.

    Items of an element of VR UN are in Implicit VR Little Endian (PS3.5 section 6.2.2).
    """
    if depth > _DEEPEST:
        raise TooDeep("its sequences are nested too deep")
    read = struct.Struct(order + "HHL").unpack
    end = _size(file)
    while True:
        header = file.read(8)
        if len(header) < 8:
            raise CutShort.inside(tag)
        group, element, length = read(header)
        item = group << 16 | element
        if item == _SEQUENCE_END:
            return
        if item != _ITEM:
            raise ValueError(f"no item where one should be, at byte {file.tell() - 8:,}")
        if length == _UNDEFINED:
            for _ in elements(file, explicit, order, depth):
                pass
        elif file.tell() + length > end:
            raise CutShort.inside(tag)
        else:
            file.seek(length, os.SEEK_CUR)


def _size(file: BinaryIO) -> int:
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end


def text(value: bytes) -> str:
    """Read a value of ASCII text, such as a UID, without its padding."""
    return value.decode("ascii", "replace").strip("\0 ")


def texts(values: Iterable[bytes]) -> list[str]:
    """Read such values at once."""
    return [value.decode("ascii", "replace").strip("\0 ") for value in values]
