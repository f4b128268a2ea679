"""Reads JSON that is nearly the DICOM JSON model (PS3.18 annex F), and names what is not.

Some servers write tags in lower case or with a comma, a value without its array, or no VR.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dcmweb.dicom.dictionary import attribute_of
from dcmweb.dicom.json_model import Dataset
from dcmweb.errors import ProtocolError

_TAG = re.compile("[0-9A-F]{8}")
_TAG_VARIANT = re.compile(r"(?:0x)?\(?([0-9A-Fa-f]{4})[,_ ]?([0-9A-Fa-f]{4})\)?")
_TAGS: set[str] = set()  # that came before
_MOST_TAGS = 10_000
# Of elements without items (PS3.5 section 6.2).
_FLAT_VRS = frozenset(
    [
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL"),
        *("SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV"),
    ]
)
_NONE: list[Any] = []
_MEMBERS = frozenset(["vr", "Value", "InlineBinary", "BulkDataURI"])
_NAMES: dict[str, str] = {name.lower(): name for name in _MEMBERS}
_KINDS: dict[type, str] = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
}


def as_datasets(parsed: Any, *, keeps_empty: bool = False) -> list[Dataset]:
    """Return the data sets in an array, or the one that is there without an array.

    With `keeps_empty`, objects without attributes stay if there are others that have some.
    Raises ProtocolError for anything else.
    """
    if not isinstance(parsed, list):
        return [as_dataset(parsed)]
    found: list[Dataset] = []
    problem: ProtocolError | None = None
    for number, item in enumerate(parsed, start=1):
        try:
            found.append(as_dataset(item, number))
        except ProtocolError as error:
            if not (keeps_empty and isinstance(item, dict)):
                raise
            problem = problem or error
            found.append({})
    if problem and not any(found):
        raise problem
    return found


def as_dataset(parsed: Any, number: int = 0) -> Dataset:
    """Return a data set in the form of the model; `number` is its place in an array.

    Raises ProtocolError, which says what it is instead: nothing of its content.
    """
    try:
        dataset = _dataset(parsed) if isinstance(parsed, dict) else {}
    except RecursionError:
        raise ProtocolError("the answer is JSON with sequences nested too deep") from None
    if not any(tag in _TAGS or _TAG.fullmatch(tag) for tag in dataset):
        where = f"item {number}" if number else "it"
        raise ProtocolError(f"the answer is JSON, but not DICOM JSON: {where} is {_kind(parsed)}")
    return dataset


def _kind(parsed: Any) -> str:
    if isinstance(parsed, dict):
        return "an object without DICOM attributes" if parsed else "an empty object"
    return _KINDS[type(parsed)]


def _dataset(parsed: Dataset) -> Dataset:
    elements = parsed.values()
    if _are_tags(parsed) and (_are_usual(elements) or all(map(_is_plain, elements))):
        return parsed
    found: Dataset = {}
    for key, element in parsed.items():
        match = _TAG_VARIANT.fullmatch(key)
        if match:
            tag = (match[1] + match[2]).upper()
            found[tag] = element if _is_plain(element) else _element(tag, element)
        else:
            found[key] = element
    return found


def _are_tags(names: Iterable[str]) -> bool:
    """Return True if all names are tags; those of a thousand rows are the same twenty."""
    if _TAGS.issuperset(names):
        return True
    new = [name for name in names if name not in _TAGS]
    if not all(map(_TAG.fullmatch, new)):
        return False
    if len(_TAGS) < _MOST_TAGS:
        _TAGS.update(new)
    return True


def _are_usual(elements: Iterable[Any]) -> bool:
    """Return True if all elements have a VR and a list of values, as nearly all rows have them."""
    try:
        return all(
            len(one) == 2 and one["vr"] in _FLAT_VRS and type(one["Value"]) is list
            for one in elements
        )
    except (KeyError, TypeError):
        return False


def _is_plain(element: Any) -> bool:
    """Return True if an element is as the model wants it, and has no items to look into."""
    if not isinstance(element, dict) or not _MEMBERS.issuperset(element):
        return False
    vr = element.get("vr")
    is_usual = isinstance(vr, str) and vr != "SQ" and len(vr) == 2 and vr.isupper()
    return is_usual and isinstance(element.get("Value", _NONE), list)


def _element(tag: str, parsed: Any) -> dict[str, Any]:
    element = _renamed(parsed)
    value = element.pop("Value", None)
    values = value if isinstance(value, list) else [] if value is None else [value]
    vr = element.get("vr")
    is_usual = isinstance(vr, str) and len(vr.strip()) == 2
    vr = str(vr).strip().upper() if is_usual else _vr_of(tag, values)
    if vr == "SQ":
        values = [_dataset(item) if isinstance(item, dict) else item for item in values]
    return {**element, "vr": vr, **({"Value": values} if values else {})}


def _renamed(parsed: Any) -> dict[str, Any]:
    """Return an element with the names of the model; what is not an object is a value."""
    names: list[str] = list(parsed) if isinstance(parsed, dict) else []
    if parsed == {} or any(name.lower() in _NAMES for name in names):
        return {_NAMES.get(name.lower(), name): parsed[name] for name in names}
    return {"Value": parsed}


def _vr_of(tag: str, values: list[Any]) -> str:
    """Return the VR of an element that does not say it: the one in PS3.6."""
    is_sequence = any(
        isinstance(item, dict) and any(map(_TAG_VARIANT.fullmatch, item)) for item in values
    )
    return attribute_of(tag).vr or ("SQ" if is_sequence else "UN")
