"""DICOM JSON: what is read, and what is turned away."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom import model
from dcmweb.dicom.model import parse_json
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
