"""JSON that is nearly the DICOM JSON model, and JSON that is something else."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom.json_variants import as_dataset, as_datasets
from dcmweb.errors import ProtocolError

UID = {"vr": "UI", "Value": ["1.2"]}
ITEM = {"00080018": UID}


@pytest.mark.parametrize(
    "dataset",
    [
        {"0020000D": UID},
        {"0020000D": {"vr": "UI"}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}, None]}},
        {
            "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
            "00420011": {"vr": "OB", "InlineBinary": ""},
        },
        {"00081199": {"vr": "SQ", "Value": [ITEM, {}, None]}},
        {"0020000D": UID, "more": {"x": 1}},
    ],
)
def test_the_model_stays_as_it_is(dataset: dict[str, Any]) -> None:
    assert as_dataset(dataset) == dataset


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"0020000d": UID}, {"0020000D": UID}),
        ({"(0020,000D)": UID, "0x00080018": UID}, {"0020000D": UID, "00080018": UID}),
        ({"0020000D": {"vr": "UI", "Value": "1.2"}}, {"0020000D": UID}),
        ({"0020000D": {"vr": "ui", "value": ["1.2"]}}, {"0020000D": UID}),
        ({"0020000D": {"Value": ["1.2"]}}, {"0020000D": UID}),
        ({"0020000D": {"vr": None, "Value": ["1.2"]}}, {"0020000D": UID}),
        ({"0020000D": "1.2"}, {"0020000D": UID}),
        ({"0020000D": ["1.2"]}, {"0020000D": UID}),
        ({"0020000D": None}, {"0020000D": {"vr": "UI"}}),
        ({"0020000D": {}}, {"0020000D": {"vr": "UI"}}),
        ({"0020000D": {"vr": "UI", "Value": None}}, {"0020000D": {"vr": "UI"}}),
        ({"00201208": {"Value": 7}}, {"00201208": {"vr": "IS", "Value": [7]}}),
        (
            {"00100010": {"Alphabetic": "Doe^Jane"}},
            {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}},
        ),
        ({"00091001": {"Value": ["x"]}}, {"00091001": {"vr": "UN", "Value": ["x"]}}),
        (
            {"00081199": {"vr": "SQ", "Value": {"00080018": {"Value": "1.2"}}}},
            {"00081199": {"vr": "SQ", "Value": [ITEM]}},
        ),
        ({"00091001": [{"00080018": "1.2"}]}, {"00091001": {"vr": "SQ", "Value": [ITEM]}}),
    ],
)
def test_what_is_nearly_the_model_is_read(written: dict[str, Any], read: dict[str, Any]) -> None:
    assert as_datasets([written]) == as_datasets(written) == [read]


@pytest.mark.parametrize(
    ("parsed", "words"),
    [
        ({}, "it is an empty object"),
        ({"error": {"message": "Doe"}}, "it is an object without DICOM attributes"),
        ({"0020000": UID, "0020000DE": UID, "PatientName": "Doe"}, "it is an object without"),
        ([ITEM, {"total": 0}], "item 2 is an object without"),
        ([{}], "item 1 is an empty object"),
        (["Doe"], "item 1 is a text"),
        ([[ITEM]], "item 1 is a list"),
        ([None], "item 1 is null"),
        ("Doe", "it is a text"),
        (1.5, "it is a number"),
        (True, "it is true or false"),
    ],
)
def test_what_is_not_a_data_set_is_named_without_its_content(parsed: Any, words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as raised:
        as_datasets(parsed)
    assert "Doe" not in raised.value.message


def test_empty_objects_can_stay_among_others() -> None:
    assert as_datasets([ITEM, {}], keeps_empty=True) == [ITEM, {}]
    others: list[list[Any]] = [[{}], [{}, {"a": 1}], [ITEM, "text"]]
    for nothing in others:
        with pytest.raises(ProtocolError):
            as_datasets(nothing, keeps_empty=True)


def test_nesting_without_end_is_an_error() -> None:
    dataset: dict[str, Any] = ITEM
    for _ in range(5000):
        dataset = {"00081199": {"vr": "SQ", "Value": [dataset]}}
    with pytest.raises(ProtocolError, match="nested too deep"):
        as_dataset(dataset)
