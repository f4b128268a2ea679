"""The DICOM JSON model (PS3.18 annex F).

A data set is a dict from tags (eight upper-case hexadecimal digits) to elements, each a dict with
`vr` and, as it has a value, `Value`, `InlineBinary` or `BulkDataURI`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dcmweb.errors import ProtocolError

Dataset = dict[str, Any]


def values(dataset: Dataset, tag: str) -> list[Any]:
    """Return the values of an element; none if it is absent, empty or malformed."""
    element = dataset.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def first(dataset: Dataset, tag: str) -> Any:
    """Return the first value of an element, or None."""
    return next(iter(values(dataset, tag)), None)


def text(dataset: Dataset, tag: str) -> str:
    """Return the first value of an element as text without padding, "" if it has none."""
    value = first(dataset, tag)
    return str(value).strip("\0 ") if isinstance(value, (str, int, float)) else ""


def number(dataset: Dataset, tag: str) -> int | None:
    """Return the first value of an element as an integer; some servers write IS and US as text."""
    value = first(dataset, tag)
    try:
        return int(value) if isinstance(value, (str, int, float)) else None
    except (ValueError, OverflowError):
        return None


def items(dataset: Dataset, tag: str) -> Iterator[Dataset]:
    """Yield the items of a sequence."""
    return (item for item in values(dataset, tag) if isinstance(item, dict))


def parse_json(body: bytes) -> list[Dataset]:
    """Read DICOM JSON: an array of data sets, or, as some servers answer, a single one.

    Raises ProtocolError for anything else.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is not JSON: {error}") from None
    datasets = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(datasets, list) or not all(isinstance(item, dict) for item in datasets):
        raise ProtocolError("the answer is JSON, but not DICOM JSON")
    return datasets
