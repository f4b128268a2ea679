"""DICOM JSON and native XML: what is read, and what is turned away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dcmweb.dicom import model
from dcmweb.dicom.model import parse_json, parse_native_xml
from dcmweb.errors import ProtocolError

TAG = "00080018"


@pytest.mark.parametrize(
    ("element", "values"),
    [
        ({"vr": "UI", "Value": ["1.2", "3"]}, ["1.2", "3"]),
        ({"vr": "UI", "Value": []}, []),
        ({"vr": "UI"}, []),
        ({"vr": "UI", "Value": "1.2"}, []),
        ({"vr": "UI", "Value": None}, []),
        ("1.2", []),
        (None, []),
        ([], []),
    ],
)
def test_values_of_any_element(element: Any, values: list[Any]) -> None:
    assert model.values({TAG: element}, TAG) == values
    assert model.first({TAG: element}, TAG) == (values[0] if values else None)


@pytest.mark.parametrize(
    ("value", "text", "number"),
    [
        ("1.2.3", "1.2.3", None),
        (" 1.2\0", "1.2", None),
        (272, "272", 272),
        ("272", "272", 272),
        (" 272 ", "272", 272),
        (1.0, "1.0", 1),
        (None, "", None),
        ({"Alphabetic": "Doe"}, "", None),
        (["1"], "", None),
        (float("inf"), "inf", None),
        (float("nan"), "nan", None),
        ("9" * 5000, "9" * 5000, None),
    ],
    ids=lambda value: str(value)[:10],
)
def test_first_values_as_text_and_number(value: Any, text: str, number: int | None) -> None:
    dataset = {TAG: {"vr": "UN", "Value": [value]}}
    assert model.text(dataset, TAG) == text
    assert model.number(dataset, TAG) == number


def test_absent_elements_have_no_value() -> None:
    assert model.values({}, TAG) == []
    assert model.text({}, TAG) == ""
    assert model.number({}, TAG) is None
    assert list(model.items({}, TAG)) == []


def test_items_are_the_data_sets_of_a_sequence() -> None:
    dataset = {TAG: {"vr": "SQ", "Value": [{"a": 1}, None, "x", {}]}}
    assert list(model.items(dataset, TAG)) == [{"a": 1}, {}]


@pytest.mark.parametrize(
    ("body", "datasets"),
    [
        (b"[]", []),
        (b"[{}]", [{}]),
        (b'{"00080018": {}}', [{TAG: {}}]),
        (b'\xef\xbb\xbf [{"00080018": {}}, {}]\n', [{TAG: {}}, {}]),
    ],
)
def test_json(body: bytes, datasets: list[dict[str, Any]]) -> None:
    assert parse_json(body) == datasets


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"1", b'"text"', b"[1]", b"[[]]", b"[{}, null]", b"[{}", b"{'a': 1}",
        b"<html/>", b"\xff\xfe\xfd", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000,
        b"[" + b"9" * 5000 + b"]",
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_dicom_json_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="JSON"):
        parse_json(body)


def xml(content: str, root: str = "<NativeDicomModel xml:space='preserve'>") -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{root}{content}</NativeDicomModel>".encode()


@pytest.mark.parametrize(
    ("content", "dataset"),
    [
        ("", {}),
        ("<DicomAttribute tag='00080018' vr='UI'/>", {TAG: {"vr": "UI"}}),
        (
            "<DicomAttribute tag='7fe00010' vr='OW'><BulkData uri='https://x/y'/></DicomAttribute>",
            {"7FE00010": {"vr": "OW", "BulkDataURI": "https://x/y"}},
        ),
        (
            "<DicomAttribute tag='00420011' vr='OB'><InlineBinary>AAEC</InlineBinary>"
            "</DicomAttribute>",
            {"00420011": {"vr": "OB", "InlineBinary": "AAEC"}},
        ),
        (
            "<DicomAttribute tag='00080060' vr='CS'><Value number='1'>CT</Value>"
            "<Value number='2'>é &amp; &lt;</Value></DicomAttribute>",
            {"00080060": {"vr": "CS", "Value": ["CT", "é & <"]}},
        ),
        (
            "<DicomAttribute tag='00081199' vr='SQ'><Item number='1'>"
            "<DicomAttribute tag='00080018' vr='UI'><Value number='1'>1.2</Value></DicomAttribute>"
            "</Item><Item number='2'/></DicomAttribute>",
            {"00081199": {"vr": "SQ", "Value": [{TAG: {"vr": "UI", "Value": ["1.2"]}}, {}]}},
        ),
        (
            "<DicomAttribute tag='00100010' vr='PN'><PersonName number='1'><Alphabetic>"
            "<GivenName>Jane</GivenName><FamilyName>Doe</FamilyName></Alphabetic></PersonName>"
            "</DicomAttribute>",
            {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}},
        ),
        ("<Other tag='00080018'/><DicomAttribute/>", {}),
    ],
)
def test_native_xml_becomes_the_json_model(content: str, dataset: dict[str, Any]) -> None:
    assert parse_native_xml(xml(content)) == dataset
    json.dumps(parse_native_xml(xml(content)))


def test_a_namespace_changes_nothing() -> None:
    root = "<NativeDicomModel xmlns='http://dicom.nema.org/PS3.19/models/NativeDICOM'>"
    content = (
        "<DicomAttribute tag='00080018' vr='UI'><Value number='1'>1.2</Value></DicomAttribute>"
    )
    assert parse_native_xml(xml(content, root)) == parse_native_xml(xml(content))


ENTITIES = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
BOMB = f"<!DOCTYPE x [<!ENTITY e0 'lol'>{ENTITIES}]><NativeDicomModel>&e9;</NativeDicomModel>"
OUTSIDE = (
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><NativeDicomModel>&e;</NativeDicomModel>"
)


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html><html/>", "<!DOCTYPE NativeDicomModel>", BOMB, OUTSIDE], ids=range(4)
)
def test_documents_with_a_document_type_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="document type"):
        parse_native_xml(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"text", b"<html/>", b"<a><b></a>", b"<NativeDicomModel>", b"<NativeDicomModel>\xff<",
        b"<?xml version='1.0' encoding='nonsense'?><NativeDicomModel/>", xml("&undefined;"),
        xml("")[:-1], xml("<DicomAttribute tag='1' vr='SQ'><Item>" * 50_000),
        xml(
            "<DicomAttribute tag='00081199' vr='SQ'><Item>" * 20_000
            + "</Item></DicomAttribute>" * 20_000
        ),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_native_xml_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="XML"):
        parse_native_xml(body)
