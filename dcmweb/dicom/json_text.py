"""Writes data sets of the DICOM JSON model as text: in ASCII, keys sorted, numbers as they came.

Where many are written, msgspec writes those that it writes as json does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import is_deeper
from dcmweb.dicom.json_numbers import Seen, written
from dcmweb.errors import ProtocolError

_STEP = "  "
_NOT_DEEP = 100  # levels that are not too deep for json
_write = json.JSONEncoder(sort_keys=True, check_circular=False).encode


def as_line(dataset: Mapping[str, Any]) -> str:
    """Write a data set in one line. Raises ProtocolError for one that is nested too deep."""
    if text := _by_msgspec(dataset):
        return json_fast.spaced(text)
    try:
        return _in_line(dataset) if Seen.any_odd else _write(dataset)
    except RecursionError:
        raise _too_deep() from None


def compact(dataset: Mapping[str, Any]) -> bytes:
    """Write a data set without spaces. Raises ProtocolError for one that is nested too deep."""
    if text := _by_msgspec(dataset):
        return text
    try:
        return _in_line(dataset, ",", ":").encode("ascii")
    except RecursionError:
        raise _too_deep() from None


def indented(dataset: Mapping[str, Any], indent: str = _STEP) -> str:
    """Write a data set in lines that are indented by two more spaces for each level.

    `indent` is that of the data set itself. Raises ProtocolError for one that is nested too deep.
    """
    if text := _by_msgspec(dataset):
        return json_fast.indented(text).replace("\n", f"\n{indent}")
    try:
        return _in_lines(dataset, f"\n{indent}")
    except RecursionError:
        raise _too_deep() from None


def _by_msgspec(dataset: Mapping[str, Any]) -> bytes | None:
    """Write a data set without spaces; None for one that json may write in another way.

    That is also one that it may refuse, as it is nested too deep.
    """
    text = json_fast.compact(dataset)
    if text is None or text.count(b"[") + text.count(b"{") <= _NOT_DEEP:
        return text
    return None if is_deeper(dataset, _NOT_DEEP) else text


def _in_lines(value: Any, end: str) -> str:
    """Write a value; `end` is the line end before its last line, with the indent of that."""
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is dict:
        return _element_of_one_text(value, end) or _object_in_lines(value, end)
    if kind is list and value:
        start = end + _STEP
        return "[" + start + f",{start}".join([_in_lines(one, start) for one in value]) + end + "]"
    return written(value) or json.dumps(value)


def _object_in_lines(value: dict[str, Any], end: str) -> str:
    if not value:
        return "{}"
    start = end + _STEP
    members = [f"{quoted(key)}: {_in_lines(value[key], start)}" for key in sorted(value)]
    return "{" + start + f",{start}".join(members) + end + "}"


def _element_of_one_text(value: dict[str, Any], end: str) -> str:
    """Write an element with one text, as most have, in one step; "" for anything else."""
    values, vr = value.get("Value"), value.get("vr")
    if type(values) is list and len(values) == 1 and len(value) == 2 and type(vr) is str:
        (only,) = values
        if type(only) is str:
            name = f'{end}{_STEP}"Value": [{end}{_STEP}{_STEP}{quoted(only)}{end}{_STEP}],'
            return f'{{{name}{end}{_STEP}"vr": {quoted(vr)}{end}}}'
    return ""


def _in_line(value: Any, comma: str = ", ", colon: str = ": ") -> str:
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is dict:
        members = [
            f"{quoted(key)}{colon}{_in_line(value[key], comma, colon)}" for key in sorted(value)
        ]
        return "{" + comma.join(members) + "}"
    if kind is list:
        return "[" + comma.join([_in_line(one, comma, colon) for one in value]) + "]"
    return written(value) or json.dumps(value)


def _too_deep() -> ProtocolError:
    return ProtocolError("the answer is JSON with values nested too deep")
