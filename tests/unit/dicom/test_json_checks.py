"""Metadata as people write it: what is filled in, and what is said to be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom.json_checks import completed, read_metadata
from dcmweb.errors import UsageError


def complaints(**elements: Any) -> list[str]:
    return completed({key.lstrip("_"): value for key, value in elements.items()})[1]


@pytest.mark.parametrize(
    ("key", "element", "words"),
    [
        ("PatientName", {"vr": "PN"}, "PatientName is not a tag: write its tag, 00100010"),
        ("1", {"vr": "PN"}, "key 1 is not a tag: write eight"),
        ("FFFEE000", {"vr": "OB"}, "(FFFE,E000) cannot be in a data set"),
        ("00100010", "Doe", "(0010,0010) PatientName is not an object"),
        ("00100010", {"value": []}, "has an unknown key"),
        ("00100010", {"vr": "LO", "Value": ["x"]}, "has another vr, but it is PN"),
        (
            "00100010",
            {"vr": "PN", "Value": ["Doe"]},
            'PatientName is a name: write {"Alphabetic": ',
        ),
        ("00100010", {"vr": "PN", "Value": "Doe"}, "has a Value that is not an array"),
        ("00280106", {"Value": [1]}, "SmallestImagePixelValue has no vr: it is US or SS"),
        ("00280010", {"vr": "US", "Value": [70000]}, "Rows has a value that vr US cannot hold"),
        ("00280010", {"vr": "US", "InlineBinary": "AA=="}, "do not go together"),
        ("00420011", {"vr": "OB", "InlineBinary": "!"}, "is not Base64"),
        ("0020000D", {"vr": "UI", "Value": ["1.02"]}, "StudyInstanceUID is not a valid UID"),
        ("0020000D", {"vr": "UI", "Value": ["1." * 32 + "1"]}, "is not a valid UID"),
        ("0020000D", {"vr": "UI", "Value": 5}, "has a Value that is not an array"),
        ("00280010", {"vr": ["US"]}, "has another vr, but it is US"),
        ("00091001", {"Value": ["x"]}, "(0009,1001) private element has no vr"),
        ("00080005", {"vr": "CS", "Value": ["ISO_IR 100"]}, "has to be ISO_IR 192"),
        ("7FE00010", {"vr": "OW", "BulkDataURI": 1}, "BulkDataURI that is not text"),
        ("7FE00010", {"vr": "OW", "BulkDataURI": "a", "Value": []}, "a value as well"),
        (
            "00081140",
            {"Value": [{"00081155": {"Value": ["x"]}}]},
            "in item 1 of (0008,1140) ReferencedImageSequence: (0008,1155) Ref",
        ),
        (
            "00880200",
            {"Value": [{"7FE00010": {"vr": "OW", "BulkDataURI": "icon"}}]},
            "refers to bulk data",
        ),
    ],
)
def test_what_is_wrong_with_an_element_is_said_in_one_line(
    key: str, element: Any, words: str
) -> None:
    (line,) = complaints(**{f"_{key}": element})
    assert words in line


def test_each_element_is_complained_about() -> None:
    assert len(complaints(_00280010={"Value": ["x"]}, _00280011={"Value": ["y"]}, Rows={})) == 3


def test_tags_that_differ_in_case_only_are_the_same_twice() -> None:
    assert "twice" in complaints(_7FE00010={"vr": "OB"}, _7fe00010={"vr": "OB"})[0]


def test_what_is_left_out_and_can_only_be_one_thing_is_filled_in() -> None:
    found, wrong = completed(
        {"0020000d": {"Value": ["1.2"]}, "00081140": {"Value": [{"00081155": {"Value": ["1.2"]}}]}}
    )
    assert wrong == []
    assert found == {
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"[{", "not valid JSON"),
        (b'{"00100010": {}, "00100010": {}}', "00100010 is there twice"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "unpaired surrogate"),
        (b'{"a": [NaN]}', "NaN is not a number in JSON"),
        (b'{"a": [1e999]}', "not valid JSON"),
        (b"17", "not a DICOM data set"),
        (b"[[]]", "not a DICOM data set"),
        (b"[]", "contains no data set"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_metadata_is_turned_away_by_the_name_of_its_file(
    body: bytes, words: str
) -> None:
    with pytest.raises(UsageError, match=f"^here.json .*{words}"):
        read_metadata(body, "here.json")


def test_one_data_set_need_not_be_in_an_array() -> None:
    assert read_metadata(b"\xef\xbb\xbf{}", "") == read_metadata(b"[{}]", "") == [{}]
