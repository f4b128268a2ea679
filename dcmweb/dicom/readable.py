"""Writes values of the DICOM JSON model (PS3.18 annex F) for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from dcmweb.dicom.dictionary import attribute_of, uid_name
from dcmweb.dicom.person_names import groups_of, split_components, split_groups
from dcmweb.dicom.tags import (
    CODE_MEANING,
    CODE_VALUE,
    CODING_SCHEME_DESIGNATOR,
    LONG_CODE_VALUE,
    URN_CODE_VALUE,
)

SEPARATOR = "; "
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_TIME = re.compile(r"([0-9]{2})([0-9]{2})?([0-9]{2})?(?:\.([0-9]+))?")
_MOMENT = re.compile(r"([0-9]{8})([0-9]{2,6}(?:\.[0-9]+)?)?([+-][0-9]{4})?")
# Where a code is (PS3.3 section 8).
_CODES = (CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE)


def readable(elements: Iterable[dict[str, Any]], *, names_uids: bool = False) -> str:
    """Write the values of elements; several are separated by `; `.

    With `names_uids`, SOP Classes and other UIDs that are registered are written as their names.
    """
    try:
        return SEPARATOR.join([text for e in elements for text in _texts(e, names_uids)])
    except RecursionError:
        return "..."  # sequences are nested too deeply to be written


def readable_text(text: str, vr: str) -> str:
    """Write the value of an element that is one text, as `readable` does."""
    read = _READERS.get(vr)
    return read(text) if read else text


def displayable(text: str) -> str:
    r"""Write what would hide or reorder text on a page as `\x1b` or `\u202e`.

    Marks that languages need, such as U+200F, are kept: they are harmless where each value is
    isolated. Surrogates, which no page can hold, are written as well.
    """
    if text.isprintable():
        return text
    return "".join(map(_displayed, text))


def _displayed(character: str) -> str:
    category, code = unicodedata.category(character), ord(character)
    if character in "\n\t" or not (category in ("Cc", "Cs") or character in _BIDI_CONTROLS):
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _texts(element: dict[str, Any], names_uids: bool) -> list[str]:
    if "BulkDataURI" in element:
        return [str(element["BulkDataURI"])]
    if "InlineBinary" in element:
        return [f"({len(str(element['InlineBinary'])) * 3 // 4} bytes)"]
    values, vr = element.get("Value"), element.get("vr")
    if not isinstance(values, list):
        return []
    kind = vr if isinstance(vr, str) else ""
    texts = [_text(value, kind, names_uids) for value in values]
    return texts if any(texts) else []


def _text(value: Any, vr: str, names_uids: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return _item(value, names_uids) if vr == "SQ" else _person_name(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if vr == "UI" and names_uids:
        return uid_name(str(value))
    read = _READERS.get(vr)
    return read(str(value)) if read else str(value)


def _written_name(text: str) -> str:
    return _person_name(split_groups(text))


def _person_name(groups: dict[str, Any]) -> str:
    """Write a name as `Family, Given Middle`, with the ideographic form in brackets after it."""
    alphabetic, ideographic, phonetic = map(_group, groups_of(groups).values())
    if alphabetic and ideographic:
        return f"{alphabetic} ({ideographic})"
    return alphabetic or ideographic or phonetic


def _group(text: str) -> str:
    text = text.strip()
    if "^" not in text:  # nothing, or one component
        return text
    family, given, middle, prefix, suffix = split_components(text).values()
    named = " ".join(filter(None, [given, middle]))
    if not text.isascii() and not re.search("[A-Za-z]", text):  # written without a comma
        return " ".join(filter(None, [family, named, prefix, suffix]))
    return ", ".join(filter(None, [family, named, prefix, suffix]))


@lru_cache(maxsize=1024)  # the dates of many rows are the same
def _date(text: str) -> str:
    match = _DATE.fullmatch(text)
    return "-".join(match.groups()) if match else text


@lru_cache(maxsize=1024)
def _time(text: str) -> str:
    match = _TIME.fullmatch(text)
    if not match:
        return text
    *parts, fraction = match.groups()
    fraction = (fraction or "").rstrip("0")
    return ":".join(filter(None, parts)) + (f".{fraction}" if fraction else "")


def _moment(text: str) -> str:
    match = _MOMENT.fullmatch(text)
    if not match:
        return text
    day, time, zone = match.groups()
    return " ".join(filter(None, [_date(day), _time(time) if time else ""])) + (zone or "")


# By VR; all others are written as they are.
_READERS: dict[str, Callable[[str], str]] = {
    "DA": _date,
    "TM": _time,
    "DT": _moment,
    "PN": _written_name,
}


def _item(item: dict[str, Any], names_uids: bool) -> str:
    """Write an item of a sequence: a code as `(value, scheme, "meaning")`, others in braces."""
    code = next((readable([item[tag]]) for tag in _CODES if isinstance(item.get(tag), dict)), "")
    meaning = item.get(CODE_MEANING)
    if code and isinstance(meaning, dict):
        scheme = item.get(CODING_SCHEME_DESIGNATOR)
        parts = [code, readable([scheme]) if isinstance(scheme, dict) else ""]
        return f'({", ".join(filter(None, parts))}, "{readable([meaning])}")'
    texts = []
    for tag, element in sorted(item.items()):
        if isinstance(element, dict):
            name = attribute_of(tag).name if re.fullmatch("[0-9A-F]{8}", tag) else tag
            texts.append(f"{name}: {readable([element], names_uids=names_uids)}")
    return "{" + ", ".join(texts) + "}"
