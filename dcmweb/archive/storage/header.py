"""The header of a file: its identity and the values to be indexed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.charset import convert_encodings, decode_bytes

from dcmweb.archive.storage.attributes import INDEXED
from dcmweb.dicom.byte_ranges import fingerprint
from dcmweb.dicom.element_walk import EXPLICIT_VR_BIG_ENDIAN
from dcmweb.dicom.part10 import (
    Identity,
    find_damage,
    identify,
    read_values,
)
from dcmweb.dicom.tags import SPECIFIC_CHARACTER_SET
from dcmweb.errors import BrokenDicom

_CHARACTER_SET = int(SPECIFIC_CHARACTER_SET, 16)
_KEYWORDS = {int(a.tag, 16): a.keyword for a in INDEXED.values()}
_WANTED = frozenset([*_KEYWORDS, _CHARACTER_SET])
_UIDS = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "instance"}
_SYNTAX = re.compile(r"[0-9.]{1,64}")
_PN_AND_TEXT_DELIMITERS = {0x5C, 0x5E, 0x3D}  # where ISO 2022 returns to the first character set


@dataclass(frozen=True)
class Header:
    """Identity of an instance, and its indexed values by keyword, as one string each.

    Several values are joined by backslashes, as in the file; an attribute that is absent has no
    entry.
    """

    identity: Identity
    size: int
    mtime_ns: int
    values: Mapping[str, str]


def read_header(file: BinaryIO) -> Header:
    """Read the header of a file and check that its structure is complete.

    Raises NotDicom for other files, BrokenDicom for one that cannot be archived: one
    without file meta information, without UIDs, or cut short.
    """
    identity = identify(file)
    if damage := find_damage(file):
        raise BrokenDicom(damage)
    resource = identity.resource
    for keyword, name in _UIDS.items():
        if not getattr(resource, name):
            raise BrokenDicom(f"it has no {keyword}")
    if "\ufffd" in f"{resource.study}{resource.series}{resource.instance}":
        raise BrokenDicom("its UIDs are not ASCII")
    if not is_syntax(identity.transfer_syntax):
        raise BrokenDicom("its Transfer Syntax UID (0002,0010) is malformed")
    if not identity.sop_class:
        raise BrokenDicom("it has no SOPClassUID")
    values = _decoded(read_values(file, _WANTED), identity.transfer_syntax)
    values.update({keyword: getattr(resource, name) for keyword, name in _UIDS.items()})
    values["SOPClassUID"] = identity.sop_class
    return Header(identity, *fingerprint(file.fileno()), values)


def is_syntax(text: str) -> bool:
    """Return True if a transfer syntax can stand in a header field: digits and dots."""
    return bool(_SYNTAX.fullmatch(text))


def _decoded(raw: Mapping[int, bytes], transfer_syntax: str) -> dict[str, str]:
    character_set = raw.get(_CHARACTER_SET, b"").decode("ascii", "replace").strip("\0 ")
    order: Literal["big", "little"] = (
        "big" if transfer_syntax == EXPLICIT_VR_BIG_ENDIAN else "little"
    )
    values: dict[str, str] = {}
    for tag, value in raw.items():
        keyword = _KEYWORDS.get(tag)
        if keyword and INDEXED[keyword].vr == "US":
            values[keyword] = str(int.from_bytes(value[:2], order)) if value else ""
        elif keyword:
            values[keyword] = _text(value, character_set)
    return values


def _text(value: bytes, character_set: str) -> str:
    """Decode a value by Specific Character Set (PS3.5 section 6.1.2); padding is removed."""
    if value.isascii() and b"\x1b" not in value:
        text = value.decode("ascii")
    else:
        try:
            encodings = convert_encodings(character_set.split("\\"))
            text = decode_bytes(value, encodings, _PN_AND_TEXT_DELIMITERS)
        except (LookupError, UnicodeError, ValueError):
            text = value.decode("latin-1")
    return "\\".join(part.strip("\0 ") for part in text.split("\\"))
