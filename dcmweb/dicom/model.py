"""The DICOM JSON model (PS3.18 annex F), and the native XML model (PS3.19 annex A) turned into it.

A data set is a dict from tags (eight upper-case hexadecimal digits) to elements, each a dict with
`vr` and, as it has a value, `Value`, `InlineBinary` or `BulkDataURI`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn
from xml.etree import ElementTree

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


def parse_native_xml(body: bytes) -> Dataset:
    """Read a NativeDicomModel document into the JSON model.

    Raises ProtocolError for anything else.
    """
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - _Builder is the guard
    try:
        parser.feed(body)
        root = parser.close()
        if _name(root) != "NativeDicomModel":
            raise ProtocolError("the answer is XML, but not a NativeDicomModel")
        return _dataset(root)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise ProtocolError(f"the answer is not XML that can be read: {error}") from None


class _Builder(ElementTree.TreeBuilder):
    """Builds trees of documents without a document type, which could define entities."""

    def doctype(self, *_declaration: str | None) -> NoReturn:
        """Turn the document away."""
        raise ProtocolError("the answer is XML with a document type, which is not accepted")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _dataset(parent: ElementTree.Element) -> Dataset:
    found: Dataset = {}
    for attribute in parent:
        tag = attribute.get("tag", "").upper()
        if _name(attribute) == "DicomAttribute" and tag:
            vr = attribute.get("vr", "UN")
            found[tag] = {"vr": vr, **_content(attribute)}
    return found


def _content(attribute: ElementTree.Element) -> dict[str, Any]:
    value: list[Any] = []
    for child in attribute:
        match _name(child):
            case "Value":
                if child.text is not None:
                    value.append(child.text)
            case "Item":
                value.append(_dataset(child))
            case "PersonName":
                value.append(_person_name(child))
            case "BulkData":
                return {"BulkDataURI": child.get("uri") or child.get("uuid") or ""}
            case "InlineBinary":
                return {"InlineBinary": child.text or ""}
    return {"Value": value} if value else {}


def _person_name(element: ElementTree.Element) -> dict[str, str]:
    """Join the components of each group with carets, as the JSON model has them."""
    order = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"]
    groups = {}
    for group in element:
        components = {_name(part): part.text or "" for part in group}
        groups[_name(group)] = "^".join(components.get(part, "") for part in order).rstrip("^")
    return groups
