"""DICOM JSON: what is read, and what is turned away."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import parse_json, read_json
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
    assert json_model.values({TAG: element}, TAG) == values
    assert json_model.first({TAG: element}, TAG) == (values[0] if values else None)


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
    assert json_model.text(dataset, TAG) == text
    assert json_model.number(dataset, TAG) == number


def test_absent_elements_have_no_value() -> None:
    assert json_model.values({}, TAG) == []
    assert json_model.text({}, TAG) == ""
    assert json_model.number({}, TAG) is None
    assert list(json_model.items({}, TAG)) == []


def test_items_are_the_data_sets_of_a_sequence() -> None:
    dataset = {TAG: {"vr": "SQ", "Value": [{"a": 1}, None, "x", {}]}}
    assert list(json_model.items(dataset, TAG)) == [{"a": 1}, {}]


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


def test_what_json_has_no_numbers_for_is_text() -> None:
    body = b'[{"00101030": {"vr": "FD", "Value": [NaN, Infinity, -Infinity, 1e400, -1e400, 1.5]}}]'
    for (dataset,) in (parse_json(body), read_json(io.BytesIO(body))):
        assert dataset["00101030"]["Value"] == ["NaN", "inf", "-inf", "inf", "-inf", 1.5]


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


class Slowly(io.BytesIO):
    """Gives so many bytes at a time, whatever it is asked for."""

    def __init__(self, data: bytes, pace: int) -> None:
        super().__init__(data)
        self.pace = pace

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self.pace)


@pytest.mark.parametrize("pace", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize(
    "written",
    [
        "[]",
        " [ ] ",
        "",
        "[{}]",
        '[{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "M\u00fcller]},{"}]}}, {}]',
        '\n[\n{"a": {"vr": "DS", "Value": [1.5e3, -2]}}\n,\n{"b": {}}\n]\n',
        '{"a": {}}',
    ],
)
def test_data_sets_are_read_one_by_one_however_they_come(written: str, pace: int) -> None:
    whole = json.loads(written or "[]")
    expected = whole if isinstance(whole, list) else [whole]
    assert list(read_json(Slowly(written.encode(), pace))) == expected


@pytest.mark.parametrize(
    "written",
    [
        b"[",
        b"[{}",
        b"[{},]",
        b"[{};{}]",
        b"[{}] x",
        b"[{}],",
        b"[{} {}]",
        b"[1]",
        b"5",
        b"[{]",
        b"[\xff]",
        b"{",
        b"[" * 100_000,
    ],
)
def test_what_is_no_dicom_json_is_told_apart_however_it_comes(written: bytes) -> None:
    for pace in (1, 10_000):
        with pytest.raises(ProtocolError):
            list(read_json(Slowly(written, pace if len(written) < 1000 else 10_000)))


def test_data_sets_come_before_what_is_wrong_after_them() -> None:
    found = read_json(io.BytesIO(b'[{"a": {}}, nonsense'))
    assert next(found) == {"a": {}}
    with pytest.raises(ProtocolError):
        next(found)


def test_bulk_data_is_found_in_items_too() -> None:
    bulk = {"vr": "OB", "BulkDataURI": "b"}
    dataset = {
        "7FE00010": bulk,
        "00080018": {"vr": "UI", "Value": ["1.2"]},
        "00091010": "not an element",
        "00880200": {"vr": "SQ", "Value": [{}, None, {"7FE00010": bulk}]},
        "00091011": {"vr": "SQ", "Value": {"7FE00010": bulk}},
        "00091012": {"vr": "UN", "Value": [{"7FE00010": bulk}]},
    }
    assert [path for path, _ in json_model.bulk_references(dataset)] == [
        "00880200/3/7FE00010",
        "7FE00010",
    ]


def test_json_has_a_limit_of_values() -> None:
    assert len(json_model.parse_json(b"[{},{}]", 4)) == 2
    with pytest.raises(ProtocolError, match="too many values"):
        json_model.parse_json(b"[{},{},{}]", 4)
    with pytest.raises(ProtocolError, match="too many values"):
        json_model.parse_json(b"[" * 20_000_001)


@pytest.mark.parametrize(
    ("value", "levels"), [(1, 0), ([], 0), ([1], 1), ([[1], {"a": [2]}], 3), ({"a": {}}, 1)]
)
def test_how_deep_values_are_nested(value: object, levels: int) -> None:
    assert not json_model.is_deeper(value, levels)
    assert levels == 0 or json_model.is_deeper(value, levels - 1)


def test_no_more_is_read_for_a_value_than_one_can_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_model, "_LONGEST_VALUE", 1 << 20)
    file = io.BytesIO(b'[{"a": "' + b"x" * (20 << 20))
    with pytest.raises(ProtocolError):
        list(read_json(file))
    assert file.tell() < 4 << 20
