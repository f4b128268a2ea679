"""JSON Patch (RFC 6902) of the metadata of instances, as the Cloud Healthcare API applies it."""

from __future__ import annotations

import copy
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset as Elements
from werkzeug.exceptions import BadRequest

from dcmweb.archive.representations.metadata import PIXEL_DATA_TAGS, file_metadata
from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.json_model import DEEPEST, Dataset, is_deeper
from dcmweb.dicom.tags import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    HIGH_BIT,
    NUMBER_OF_FRAMES,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)

LONGEST_PATCH = 10 * 1024 * 1024  # of a request, as the quotas of the API have it
# What identifies an instance or describes its pixel data.
_IDENTITY = (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
_PIXELS = (
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
)
_BITS = (BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION)
_FIXED = frozenset((*_IDENTITY, *_PIXELS, *_BITS, *PIXEL_DATA_TAGS))
Operation = tuple[str, list[str], Any]


def parse_patch(body: bytes) -> list[Operation]:
    """Read a JSON Patch document: operation, path and value of each step.

    Raises BadRequest for a malformed one, and for elements that cannot be changed.
    """
    if len(body) > LONGEST_PATCH:
        raise BadRequest("the JSON Patch is too long")
    try:
        steps = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not a JSON Patch: it is not JSON") from None
    if not isinstance(steps, list) or not steps:
        raise BadRequest("the body is not a JSON Patch: it is not an array of operations")
    if is_deeper(steps, DEEPEST):
        raise BadRequest("the JSON Patch is nested too deep")
    return [_operation(step) for step in steps]


def _operation(step: Any) -> Operation:
    if not isinstance(step, dict) or not isinstance(step.get("path"), str):
        raise BadRequest("an operation of a JSON Patch needs op and path")
    name = step.get("op")
    if name not in ("add", "replace", "remove", "test"):
        raise BadRequest("an operation of a JSON Patch is add, replace, remove or test")
    if name != "remove" and "value" not in step:
        raise BadRequest(f"operation {name} needs a value")
    path = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    if not path or not re.fullmatch("[0-9A-Fa-f]{8}", path[0]):
        raise BadRequest("the path of an operation begins with a tag: /00100010")
    tag = path[0].upper()
    if name != "test" and (tag in _FIXED or tag[:4] < "0008"):
        raise BadRequest(f"element {tag} cannot be changed")
    return name, [tag, *path[1:]], step.get("value")


def patched(metadata: Dataset, operations: Sequence[Operation]) -> Dataset:
    """Apply a patch to metadata; raises BadRequest if a path does not exist or a test fails."""
    changed = copy.deepcopy(metadata)
    for name, path, value in operations:
        parent: Any = changed
        try:
            for part in path[:-1]:
                parent = parent[_index(part)] if isinstance(parent, list) else parent[part]
            _apply(parent, name, path[-1], copy.deepcopy(value))
        except (LookupError, TypeError, ValueError):
            where = "/".join(path)
            raise BadRequest(f"operation {name} cannot be applied to /{where}") from None
    return changed


def _apply(parent: Any, name: str, last: str, value: Any) -> None:
    if isinstance(parent, list):
        at = len(parent) if last == "-" and name == "add" else _index(last)
        if name == "add" and at <= len(parent):
            parent.insert(at, value)
            return
        key: Any = at
    else:
        key = last
        if name == "add":
            parent[key] = value
            return
    if name == "test":
        if parent[key] != value:
            raise ValueError
    elif name == "remove":
        del parent[key]
    else:
        parent[key]  # raises LookupError if it is not there
        parent[key] = value


def _index(text: str) -> int:
    """Read the index of an array (RFC 6901 section 4); raises ValueError for anything else."""
    if not re.fullmatch("0|[1-9][0-9]{0,8}", text):
        raise ValueError
    return int(text)


def patched_file(path: str, operations: Sequence[Operation]) -> bytes:
    """Apply a patch to a DICOM file and return the changed file.

    Raises BadRequest for values that cannot be written.
    """
    before = file_metadata(path, "")
    after = patched(before, operations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = _checked("the instance", lambda: _read(path))
        if not json.dumps([value for _, _, value in operations], ensure_ascii=False).isascii():
            _checked("the instance", dataset.decode)
            dataset.SpecificCharacterSet = "ISO_IR 192"
        for tag in _changed_tags(before, after):
            _change(dataset, tag, after.get(tag))
        buffer = io.BytesIO()
        _checked("the instance", lambda: dataset.save_as(buffer, enforce_file_format=True))
    return buffer.getvalue()


def _read(path: str) -> pydicom.FileDataset:
    """Read a whole file; a deflated one has been found to be small enough by now."""
    with open_regular(path) as file:
        return pydicom.dcmread(file)


def _changed_tags(before: Dataset, after: Dataset) -> Iterator[str]:
    return (tag for tag in sorted({*before, *after}) if before.get(tag) != after.get(tag))


def _change(dataset: Elements, tag: str, element: Any) -> None:
    if element is None:
        number = int(tag, 16)
        if number in dataset:
            del dataset[number]
        return
    if not isinstance(element, dict) or set(element) - {"vr", "Value", "InlineBinary"}:
        raise BadRequest(f"element {tag} is not in the DICOM JSON model")
    changed: DataElement = _checked(
        f"element {tag}", lambda: Elements.from_json({tag: element})[int(tag, 16)]
    )
    dataset[changed.tag] = changed


def _checked(what: str, action: Callable[[], Any]) -> Any:
    """Do something with given values, at which pydicom raises errors of any kind."""
    try:
        return action()
    except Exception as error:
        raise BadRequest(f"{what} cannot be written ({type(error).__name__})") from error
