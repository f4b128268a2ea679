"""Errors about data sets hold tags and positions, never a value, nor a key that may be one."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from dcmweb.dicom import json_checks, json_model, native_xml, part10
from dcmweb.dicom.images.attributes import filled
from dcmweb.dicom.images.codestreams import Pixels
from dcmweb.dicom.images.content import Kind, MediaFile
from dcmweb.dicom.json_to_part10 import check_uids, with_bulk_data, write_file
from dcmweb.errors import DcmwebError

NAME = "Doe^Jane"
EXPLICIT = "1.2.840.10008.1.2.1"
PIXELS = Pixels((EXPLICIT,), 4, 5, 1, 8, "MONOCHROME2")
IMAGE = MediaFile("a.jpg", Kind.IMAGE, 0, 20, (20, 0), PIXELS)
DOCUMENT = MediaFile("a.pdf", Kind.PDF, 0, 20, (20, 0))
OTHER = MediaFile("a.raw", Kind.OTHER, 0, 20, (20, 0))

ELEMENTS: list[Any] = [
    NAME,
    {NAME: 1},
    {"vr": NAME},
    {"vr": [NAME]},
    {"vr": "PN", NAME: []},
    {"vr": "PN", "Value": [NAME]},
    {"vr": "PN", "Value": NAME},
    {"vr": "PN", "Value": [{NAME: NAME}]},
    {"vr": "PN", "Value": [{"Alphabetic": NAME + "\\\\"}]},
    {"vr": "PN", "InlineBinary": NAME},
    {"vr": "PN", "Value": [], "InlineBinary": NAME, NAME: 1},
    {"vr": "PN", "BulkDataURI": [NAME]},
    {"vr": "PN", "BulkDataURI": NAME, "Value": [NAME]},
    *({"vr": vr, "Value": [NAME]} for vr in ("UI", "US", "FD", "AT", "SQ", "OB", "CS", "IS", "DS")),
    *({"vr": vr, "Value": [[NAME]]} for vr in ("LO", "LT", "UT", "PN", "IS", "DA")),
    {"vr": "LT", "Value": [NAME, NAME]},
    {"vr": "OB", "InlineBinary": NAME},
    {"vr": "SQ", "Value": [{NAME: {}}]},
    {"vr": "SQ", "Value": [{"00100010": {"vr": "PN", "BulkDataURI": NAME}}]},
    {"vr": "SQ", "InlineBinary": NAME},
]
# One each that may hold anything, and one that must be what it is; a key that is not a tag.
KEYS = [
    "00100010", "00091010", "0020000D", "00080005", "00080016", "00080018", "00081140", "00280008",
    "00280010", "00280004", "00020010", "00420011", "7FE00010", "0000DEAD", NAME, "DEADBEE", "",
]  # fmt: skip
DATASETS = [{key: element} for key in KEYS for element in ELEMENTS]


def message(read: Callable[[], Any]) -> list[str]:
    """Return what an error says, if there is one."""
    try:
        read()
    except (DcmwebError, ValueError) as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("dataset", DATASETS, ids=json.dumps)
def test_no_error_about_a_data_set_holds_a_value(dataset: dict[str, Any]) -> None:
    in_an_item = {"00081140": {"vr": "SQ", "Value": [dataset]}}
    said = [
        *message(lambda: list(with_bulk_data(dataset))),
        *message(lambda: check_uids(dataset)),
        *message(lambda: native_xml.write_native_xml(dataset)),
        *message(lambda: native_xml.write_native_xml(in_an_item)),
    ]
    if not list(json_model.bulk_references(dataset)):
        said += message(lambda: list(write_file(dataset, EXPLICIT, {})))
    completed, wrong = json_checks.completed(dataset)
    said += wrong
    for contents in ([IMAGE], [IMAGE, IMAGE], [DOCUMENT], [OTHER], []) if not wrong else ():
        said += filled(completed, contents, 1)[1]
    assert [text for text in said if "Doe" in text or "Jane" in text] == []


def test_so_many_data_sets_are_complained_about() -> None:
    assert sum(bool(json_checks.completed(dataset)[1]) for dataset in DATASETS) > len(DATASETS) / 2


@pytest.mark.parametrize(
    "text",
    [f'{{"{NAME}": 1, "{NAME}": 2}}', f'{{"a": "{NAME}', f'["{NAME}"]', f'{{"a": {NAME}}}',
     f'[{{}} "{NAME}"]', f'{{"{NAME}": NaN}}', f'{{"{NAME}": "\\ud800"}}', f'"{NAME}"'],
)  # fmt: skip
def test_no_error_about_json_holds_a_value(text: str) -> None:
    readers: list[Callable[[], Any]] = [
        lambda: json_checks.read_metadata(text.encode(), "here.json"),
        lambda: json_model.parse_json(text.encode()),
        lambda: list(json_model.read_json(io.BytesIO(text.encode()))),
    ]
    for read in readers:
        assert "Doe" not in str(message(read))


@pytest.mark.parametrize(
    "text",
    [f"<a>&Doe;{NAME}</a>", f"<a>{NAME}", f"<{NAME}>", f"<!DOCTYPE Doe><a>{NAME}</a>", "<Doe/>",
     '<?xml version="1.0" encoding="Doe"?><a/>'],
)  # fmt: skip
def test_no_error_about_xml_holds_a_value(text: str) -> None:
    (said,) = message(lambda: native_xml.parse_native_xml(text.encode()))
    assert "Doe" not in said


@pytest.mark.parametrize("shift", range(8))
def test_no_error_about_a_file_holds_a_value_where_it_lost_its_place(shift: int) -> None:
    """A length that is wrong lets the walk come out in the middle of a name."""
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + EXPLICIT.encode() + b"\0"
    name = struct.pack("<HH2sH", 0x10, 0x10, b"PN", shift) + b"DoeDoeDoeDoeDoe^"
    file = io.BytesIO(bytes(128) + b"DICM" + meta + name)
    said = [part10.find_damage(file), *message(lambda: part10.read_values(file, [0x00200010]))]
    for text in said:
        assert "Doe" not in text
        assert b"Doe"[:2].hex() not in text.lower()
