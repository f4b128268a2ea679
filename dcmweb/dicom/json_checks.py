"""Metadata in the DICOM JSON model as people write it: read, and checked before it goes anywhere.

Each problem is one line. It names tags and positions, never a value or an unknown key, since these
may be about a patient.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.json_model import Dataset, bulk_references
from dcmweb.dicom.json_to_part10 import (
    UTF_8,
    Unwritable,
    is_uid,
    named,
    write_dataset,
)
from dcmweb.dicom.tags import SPECIFIC_CHARACTER_SET
from dcmweb.errors import UsageError

_FIELDS = ("vr", "Value", "InlineBinary", "BulkDataURI")
_TAG = re.compile("[0-9A-Fa-f]{8}")
_HINT = "write one data set of the DICOM JSON model (PS3.18 annex F), or an array of them"


def read_metadata(body: bytes, name: str) -> list[Dataset]:
    """Read data sets from JSON. Raises UsageError, naming the file, for anything else."""
    try:
        parsed = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_without_doubles,
            parse_constant=_refused_constant,
        )
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not valid JSON: it is not in UTF-8", _HINT) from None
    except UnicodeEncodeError:
        raise UsageError(f"{name} contains an unpaired surrogate") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not valid JSON: {error}", _HINT) from None
    datasets = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(datasets, list) or not all(isinstance(one, dict) for one in datasets):
        raise UsageError(f"{name} is valid JSON, but not a DICOM data set", _HINT)
    if not datasets:
        raise UsageError(f"{name} contains no data set", _HINT)
    return datasets


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        second = next(n for n, name in enumerate(names, start=1) if name in names[: n - 1])
        raise ValueError(f"{_described(names[second - 1], second)} is there twice in one object")
    return found


def _described(key: str, number: int) -> str:
    """Name a key if the standard does, or else by its position in its object, from 1."""
    is_known = key in _FIELDS or _TAG.fullmatch(key) or tag_for_keyword(key) is not None
    return key if is_known else f"key {number}"


def _refused_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def completed(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """Fill in VRs that are left out, and list the problems of elements.

    Tags become upper case.
    """
    found: Dataset = {}
    problems: list[str] = []
    for number, (key, element) in enumerate(dataset.items(), start=1):
        tag = key.upper()
        try:
            _check_tag(key, number)
            if tag in found:
                raise Unwritable(f"{named(tag)} is there twice")
            found[tag], inner = _completed_element(tag, element)
            problems += inner
            if not inner:
                _check_value(tag, found[tag])
        except Unwritable as error:
            problems.append(str(error))
        except RecursionError:
            problems.append(f"{named(tag)} is nested too deep")
    return found, problems


def _check_tag(key: str, number: int) -> None:
    if not _TAG.fullmatch(key):
        tag = tag_for_keyword(key)
        instead = f"write its tag, {tag:08X}" if tag else "write eight hexadecimal digits: 00100010"
        raise Unwritable(f"{_described(key, number)} is not a tag: {instead}")
    if key.startswith("0000") or key.upper().startswith("FFFE"):
        raise Unwritable(f"({key[:4]},{key[4:]}) cannot be in a data set")


def _completed_element(tag: str, element: Any) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(element, dict):
        raise Unwritable(f'{named(tag)} is not an object: write {{"vr": ..., "Value": [...]}}')
    if not element.keys() <= {*_FIELDS}:
        raise Unwritable(f"{named(tag)} has an unknown key: an element has {', '.join(_FIELDS)}")
    completed_one = {"vr": _vr(tag, element.get("vr")), **element}
    items = element.get("Value")
    if completed_one["vr"] != "SQ" or not isinstance(items, list):
        return completed_one, []
    inside, problems = [], []
    for number, item in enumerate(items, start=1):
        inner, wrong_inside = completed(item) if isinstance(item, dict) else (item, [])
        if isinstance(item, dict) and bulk_data_uris(item):
            wrong_inside.append("refers to bulk data, which an item cannot do")
        inside.append(inner)
        problems += [f"in item {number} of {named(tag)}: {words}" for words in wrong_inside]
    return {**completed_one, "Value": inside}, problems


def _vr(tag: str, given: Any) -> str:
    """Return the VR of an element: as given, if it can be that, or the one it must have."""
    possible = _possible_vrs(tag)
    if given is None and len(possible) == 1:
        return possible[0]
    if given is None:
        which = f": it is {' or '.join(possible)}" if possible else ""
        raise Unwritable(f"{named(tag)} has no vr{which}")
    if possible and given not in (*possible, "UN"):
        raise Unwritable(f"{named(tag)} has another vr, but it is {' or '.join(possible)}")
    return str(given)


def _possible_vrs(tag: str) -> list[str]:
    try:
        return dictionary_VR(int(tag, 16)).split(" or ")
    except KeyError:
        return []


def _check_value(tag: str, element: dict[str, Any]) -> None:
    """Raise Unwritable for a value that a file in UTF-8 cannot hold."""
    values = element.get("Value")
    texts = [one for one in values if isinstance(one, str)] if isinstance(values, list) else []
    if element["vr"] == "PN" and texts:
        raise Unwritable(f'{named(tag)} is a name: write {{"Alphabetic": "Family^Given"}}')
    for uid in texts if element["vr"] == "UI" else ():
        if uid and (not is_uid(uid) or re.search(r"(^|\.)0[0-9]", uid)):
            raise Unwritable(f"{named(tag)} is not a valid UID")
    if tag == SPECIFIC_CHARACTER_SET and values not in (None, [], [UTF_8]):
        raise Unwritable(f"{named(tag)} has to be {UTF_8}, since JSON is UTF-8")
    if "BulkDataURI" not in element:
        for _ in write_dataset({tag: element}, EXPLICIT_VR_LITTLE_ENDIAN, {}):
            pass
    elif not isinstance(element["BulkDataURI"], str) or len(element) > 2:
        raise Unwritable(f"{named(tag)} has a BulkDataURI that is not text, or a value as well")


def bulk_data_uris(dataset: Dataset) -> dict[str, str]:
    """Return the BulkDataURIs of elements by their tags, without those in items."""
    return {
        tag: element["BulkDataURI"] for tag, element in bulk_references(dataset) if "/" not in tag
    }
