"""The Native DICOM Model (PS3.19 annex A.1), read into the DICOM JSON model and written from it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
from xml.etree import ElementTree

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.person_names import COMPONENTS, GROUPS, join_components, split_components
from dcmweb.errors import ProtocolError

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_INTEGERS = frozenset(["IS", "SL", "SS", "SV", "UL", "US", "UV"])
_NUMBERS = _INTEGERS | {"DS", "FD", "FL"}
_TAG = re.compile("[0-9A-Fa-f]{8}")
_CREATOR = re.compile("([0-9A-F]{3}[13579BDF])00([1-9A-F][0-9A-F])")
_LONGEST_NUMBER = 400  # digits; a longer one is an attack
_WIDEST_GAP = 1000  # values that may be left out before a numbered one
_MOST_LEFT_OUT = 100_000  # of a whole document
_MOST_ELEMENTS = 5_000_000
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NONE: Mapping[str, object] = {}
# XML parsers change line ends and tabs that are not escaped.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ESCAPED_IN_ATTRIBUTES = _ESCAPED | str.maketrans({"\n": "&#10;", "\t": "&#9;", '"': "&quot;"})


def parse_native_xml(body: bytes) -> Dataset:
    """Read a NativeDicomModel document into the JSON model.

    Raises ProtocolError for anything else.
    """
    if body.count(b"<") > 2 * _MOST_ELEMENTS:
        raise ProtocolError("the answer is XML with too many elements")
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - _Builder is the guard
    try:
        parser.feed(body)
        root = parser.close()
        if _name(root) != "NativeDicomModel":
            raise ProtocolError("the answer is XML, but not a NativeDicomModel")
        return _Reader().dataset(root)
    except ElementTree.ParseError as error:
        line, column = error.position
        where = f"line {line}, column {column}"
        raise ProtocolError(f"the answer is not well-formed XML: see {where}") from None
    except (ValueError, LookupError):
        raise ProtocolError("the answer is XML in an encoding that cannot be read") from None
    except RecursionError:
        raise ProtocolError("the answer is XML with elements nested too deep") from None


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a document. Refuses a document type, since that could define entities."""

    def doctype(self, *_declaration: str | None) -> NoReturn:
        """Refuse the document."""
        raise ProtocolError("the answer is XML with a document type, which is not accepted")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


class _Reader:
    """Reads the elements of a document into the JSON model."""

    def __init__(self) -> None:
        self._left_out = 0

    def dataset(self, parent: ElementTree.Element) -> Dataset:
        """Read the attributes in an element."""
        attributes = [a for a in parent if _name(a) == "DicomAttribute" and a.get("tag")]
        blocks = _blocks(attributes)
        found: Dataset = {}
        for attribute in attributes:
            tag, vr = attribute.get("tag", "").upper(), attribute.get("vr", "UN")
            block = blocks.get((tag[:4], attribute.get("privateCreator", "")))
            if block and tag[4:6] == "00":
                tag = tag[:4] + block + tag[6:]
            found[tag] = {"vr": vr, **self._content(attribute, vr)}
        return found

    def _content(self, attribute: ElementTree.Element, vr: str) -> dict[str, Any]:
        values: list[Any] = []
        for child in attribute:
            match _name(child):
                case "Value":
                    self._place(values, child, _value(child.text, vr))
                case "Item":
                    self._place(values, child, self.dataset(child))
                case "PersonName":
                    self._place(values, child, _person_name(child))
                case "BulkData":
                    return {"BulkDataURI": child.get("uri") or child.get("uuid") or ""}
                case "InlineBinary":
                    return {"InlineBinary": child.text or ""}
        return {"Value": values} if values not in ([], [None]) else {}

    def _place(self, values: list[Any], child: ElementTree.Element, value: Any) -> None:
        """Add a value at its number; null stands for values that are left out before it."""
        number = child.get("number", "")
        place = int(number) - 1 if re.fullmatch("[0-9]{1,9}", number) else 0
        if len(values) < place <= len(values) + _WIDEST_GAP:
            self._left_out += place - len(values)
            if self._left_out > _MOST_LEFT_OUT:
                raise ProtocolError("the answer is XML whose numbers leave out too many values")
            values += [None] * (place - len(values))
        values.append(value)


def _blocks(attributes: Iterable[ElementTree.Element]) -> dict[tuple[str, str], str]:
    """Find which block of a group each private creator has reserved (PS3.5 section 7.8.1)."""
    found: dict[tuple[str, str], str] = {}
    for attribute in attributes:
        match = _CREATOR.fullmatch(attribute.get("tag", "").upper())
        if match and not attribute.get("privateCreator"):
            creator = next((child.text for child in attribute), None)
            if creator:
                found.setdefault((match[1], creator), match[2])
    return found


def _value(text: str | None, vr: str) -> str | int | float | None:
    """Read a value: as a number if its VR is numeric and JSON can write it, or else as text."""
    if not text or vr not in _NUMBERS or len(text) > _LONGEST_NUMBER:
        return text or None
    try:
        number = float(text)
        is_integer = vr in _INTEGERS or re.fullmatch(r"\s*[+-]?[0-9]+\s*", text)
        return int(text) if is_integer else number if math.isfinite(number) else text
    except ValueError:
        return text


def _person_name(element: ElementTree.Element) -> dict[str, str]:
    """Join the components of each group with carets, as in the JSON model."""
    groups = {}
    for group in element:
        components = {_name(part): part.text or "" for part in group}
        groups[_name(group)] = join_components(components.get(part, "") for part in COMPONENTS)
    return groups


def write_native_xml(dataset: Dataset) -> bytes:
    """Write a data set of the JSON model as a NativeDicomModel document, in UTF-8.

    Private elements are named by their creator (table A.1.5-2). Null and empty text become empty
    values. Carets at the end of names are dropped. Characters that XML 1.0 cannot hold become
    U+FFFD. Raises ProtocolError if it is not a data set of the model.
    """
    try:
        content = "".join(_written(dataset))
    except RecursionError:
        raise ProtocolError("sequences within sequences are too deep") from None
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<NativeDicomModel xmlns="{_NAMESPACE}" xml:space="preserve">{content}</NativeDicomModel>'
    ).encode()


def _written(dataset: Dataset) -> Iterator[str]:
    from pydicom.datadict import keyword_for_tag

    creators = _creators(dataset)
    for tag, element in sorted(_elements(dataset)):
        names = {"tag": tag, "vr": element.get("vr") or "UN"}
        creator = element.get("privateCreator")
        if not creator and (creator := creators.get(tag[:6])):
            names["tag"] = f"{tag[:4]}00{tag[6:]}"
        if creator:
            names["privateCreator"] = creator
        elif keyword := keyword_for_tag(int(tag, 16)):
            names["keyword"] = keyword
        yield _tagged("DicomAttribute", "".join(_written_content(element)), names)


def _elements(dataset: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the elements of a data set; null is an empty element, and an empty item.

    Errors name positions only, since an odd key may be the name of a patient.
    """
    found = {} if dataset is None else dataset
    if not isinstance(found, dict):
        raise ProtocolError("an item in the DICOM JSON is not a data set")
    for number, key in enumerate(found, start=1):
        if not _TAG.fullmatch(key):
            raise ProtocolError(f"key {number} of a data set in the DICOM JSON is not a tag")
    return [(tag, element if isinstance(element, dict) else {}) for tag, element in found.items()]


def _creators(dataset: Dataset) -> dict[str, str]:
    """Find private creators by group and block; those that reserved several blocks are left out."""
    found: dict[str, str] = {}
    for tag, element in _elements(dataset):
        match = _CREATOR.fullmatch(tag)
        creator = next(iter(_values(element)), None)
        if match and isinstance(creator, str) and creator:
            found[match[1] + match[2]] = creator
    names = Counter((block[:4], creator) for block, creator in found.items())
    return {block: name for block, name in found.items() if names[block[:4], name] == 1}


def _written_content(element: dict[str, Any]) -> Iterator[str]:
    if "BulkDataURI" in element:
        yield _tagged("BulkData", "", {"uri": element["BulkDataURI"]})
    elif "InlineBinary" in element:
        yield _tagged("InlineBinary", _text(element["InlineBinary"]))
    for number, value in enumerate(_values(element), start=1):
        numbered = {"number": str(number)}
        if element.get("vr") == "SQ":
            yield _tagged("Item", "".join(_written(value)), numbered)
        elif isinstance(value, dict):
            yield _tagged("PersonName", "".join(_written_groups(value)), numbered)
        elif value is None:
            yield _tagged("Value", "", numbered)
        else:
            yield _tagged("Value", _text(value), numbered)


def _values(element: dict[str, Any]) -> list[Any]:
    found = element.get("Value")
    return found if isinstance(found, list) else [] if found is None else [found]


def _written_groups(name: dict[str, Any]) -> Iterator[str]:
    for group in GROUPS:
        if group in name:
            texts = split_components(str(name[group] or "")).items()
            yield _tagged(
                group, "".join(_tagged(part, _text(text)) for part, text in texts if text)
            )


def _tagged(name: str, content: str, attributes: Mapping[str, object] = _NONE) -> str:
    written = "".join(
        f' {key}="{_text(value, _ESCAPED_IN_ATTRIBUTES)}"' for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _text(value: object, escaped: dict[int, str] = _ESCAPED) -> str:
    return _FORBIDDEN.sub("\ufffd", str(value)).translate(escaped)
