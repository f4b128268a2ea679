"""Where a layout puts instances."""

from __future__ import annotations

import os
import unicodedata
from typing import Any

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import UsageError
from dcmweb.local.layout import LONGEST_NAME, Layout, readable_name

INSTANCE = Resource("1.2", "3.4", "5.6")


def attributes(**values: Any) -> dict[str, Any]:
    tags = {"PatientID": "00100020", "PatientName": "00100010", "Modality": "00080060"}
    tags |= {"InstanceNumber": "00200013"}
    return {tags[keyword]: {"vr": "LO", "Value": [value]} for keyword, value in values.items()}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}", "1.2/3.4/5.6"),
        ("{PatientID}/{Modality}", "P 1/CT/5.6"),
        ("{PatientID}/{Modality}/{SOPInstanceUID}", "P 1/CT/5.6"),
        ("{PatientID}/{Modality}/{SOPInstanceUID}.dcm", "P 1/CT/5.6"),
        ("./{00100020}/x-{Modality}_{SOPInstanceUID}", "P 1/x-CT_5.6"),
        ("{StudyDate}", "unknown/5.6"),
        ("flat-{SOPInstanceUID}", "flat-5.6"),
        ("fixed", "fixed/5.6"),
        ("{PatientName}", "Doe^Jane/5.6"),
        (".{Modality}", "_CT/5.6"),
        ("{PatientID}/{InstanceNumber}", "P 1/7"),
        ("{Modality}/{InstanceNumber:04}.dcm", "CT/0007"),
        ("{InstanceNumber:02}_{Modality}", "07_CT"),
        ("{InstanceNumber:03}/{Modality}", "007/CT/5.6"),
        ("{PatientID:05}", "P 1/5.6"),
        ("{StudyDate:05}/{InstanceNumber:01}", "unknown/7"),
    ],
)
def test_templates_make_paths(template: str, expected: str) -> None:
    given = attributes(PatientID="P 1", Modality="CT", PatientName={"Alphabetic": "Doe^Jane"})
    given |= attributes(InstanceNumber=7)
    assert Layout(template).place(INSTANCE, given) == os.path.normpath(expected)


@pytest.mark.parametrize(
    "template",
    ["", "/", "/{PatientID}", "../{PatientID}", "a/../b", "a//b", "{", "}", "{}", "{0}", "a\0b",
     "{PatientID!r}", "{PatientID:>9}", "{Patient.ID}", "{PatientIdentifier}", "{PatientID}/",
     "{InstanceNumber:4}", "{InstanceNumber:00}", "{InstanceNumber:0}", "{InstanceNumber:04d}",
     "{InstanceNumber:0999}", "{InstanceNumber:-4}", "{InstanceNumber:{x}}"],
)  # fmt: skip
def test_templates_that_lead_elsewhere_or_nowhere_are_usage_errors(template: str) -> None:
    with pytest.raises(UsageError):
        Layout(template)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12", "0012"), (12.0, "0012"), ("-3", "-003"), ("12345", "12345"), ("+7", "0007"),
     ("1.5", "1.5"), ("٣", "٣"), ("", "unknown"), ("9" * 40, "9" * 40)],
)  # fmt: skip
def test_whole_numbers_are_padded_and_nothing_else(value: object, expected: str) -> None:
    layout = Layout("{InstanceNumber:04}")
    assert layout.place(INSTANCE, attributes(InstanceNumber=value)) == expected


@pytest.mark.parametrize(
    ("template", "other"),
    [
        ("{InstanceNumber}", Resource("1.2", "3.4", "5.7")),
        ("{PatientID}/{InstanceNumber:04}", Resource("1.2", "3.4", "5.7")),
        ("{SOPInstanceUID}", Resource("1.3", "3.4", "5.6")),
        ("{PatientID}/{SOPInstanceUID}", Resource("1.3", "3.4", "5.6")),
        ("{StudyInstanceUID}/{SOPInstanceUID}", Resource("1.2", "3.5", "5.6")),
        ("{SeriesInstanceUID}/{SOPInstanceUID}", Resource("1.3", "3.4", "5.6")),
    ],
)
def test_what_is_not_an_instance_has_a_place_of_its_own(template: str, other: Resource) -> None:
    layout = Layout(template)
    given = attributes(InstanceNumber=1, PatientID="P")
    assert layout.place(INSTANCE, given) == layout.place(other, given)
    assert layout.own_place(INSTANCE, given) != layout.own_place(other, given)
    assert layout.own_place(INSTANCE, given) == layout.own_place(INSTANCE, given)
    plain = Layout("{StudyInstanceUID}/{SeriesInstanceUID}/{PatientID}/{SOPInstanceUID}")
    assert plain.own_place(INSTANCE, given) == plain.place(INSTANCE, given)


@pytest.mark.parametrize(
    "value",
    ["../../etc", "a/b", "a\\b", "\x1b[2J", ".", "..", " ", "a\nb", "x" * 999, "山" * 200,
     "a\u202eb", "a\u200bb", "\ufeffa", "a\u200cb", "a\u200db", "\u200d", "\u0301", "/\u0338etc",
     "a\u20ddb", "a\u2028b", "é\u200d", "a\u2060b", "a\U000e0061b", "e" + "\u0301" * 500,
     "a\u2215b", "a\uff0fb", "a\ud800b", ".\u0307./x"],
)  # fmt: skip
def test_hostile_values_stay_within_one_name(value: str) -> None:
    place = Layout("{PatientID}/{Modality}").place(INSTANCE, attributes(PatientID=value))
    first, *others = place.split(os.sep)
    assert others == ["unknown", "5.6"]
    assert first not in ("", ".", "..")
    assert first.isprintable()
    assert not any(char in first for char in "/\\\u2215\uff0f")
    assert unicodedata.category(first[0]) not in ("Mn", "Mc")
    assert len(first.encode()) <= LONGEST_NAME + 13 < 255


@pytest.mark.parametrize(
    "values",
    [("a/b", "a_b"), ("a:b", "a?b"), (" a", "a"), ("a.", "a"), ("दीपक", "दपक"), ("a\u200bb", "ab")],
)
def test_different_values_have_different_names(values: tuple[str, str]) -> None:
    assert len(set(map(readable_name, values))) == 2


@pytest.mark.parametrize(
    "value",
    [
        "山田", "Müller", "A+B", "a-b_c.d", "Doe^Jane", "x (1)",
        "दीपक", "தமிழ்", "ไทยที่", "မြန်မာ", "বাংলা", "شَهْرَزاد", "יִצְחָק", "Nguyễn^Thị",
        "श्री", "क्‍ष",  # Devanagari with a joiner behind the virama
        "രാമന്‍",  # Malayalam, which ends with one
        "علی‌رضا",  # Persian, with a non-joiner between the parts of a name
        "q\u0307x",  # without a composed form
        "渡邉\U000e0100",  # a variant of an ideograph
    ],
)  # fmt: skip
def test_values_that_can_be_names_stay_what_they_are(value: str) -> None:
    assert readable_name(value) == value


@pytest.mark.parametrize("value", ["Müller", "が", "한글", "Nguyễn", "रऩ"])
def test_equivalent_spellings_are_one_name(value: str) -> None:
    spellings = {unicodedata.normalize(form, value) for form in ("NFC", "NFD")}
    assert {readable_name(text) for text in spellings} == {unicodedata.normalize("NFC", value)}


def test_what_a_layout_has_to_know_beside_uids() -> None:
    assert Layout().tags == ()
    assert Layout("{PatientID}/{StudyInstanceUID}").tags == ("00100020",)
    assert Layout().tells_all_apart
    assert not Layout("{PatientID}").tells_all_apart


def test_uids_that_share_a_name_with_others_do_not_tell_instances_apart() -> None:
    assert Layout("{StudyInstanceUID}/{SeriesInstanceUID}/i{SOPInstanceUID}").tells_all_apart
    assert not Layout("{StudyInstanceUID}/{SeriesInstanceUID}.{SOPInstanceUID}").tells_all_apart
    assert not Layout("{StudyInstanceUID}{PatientID}/{SeriesInstanceUID}").tells_all_apart


def test_a_layout_that_is_not_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        Layout("a\udcff/{SOPInstanceUID}")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a:b/{SOPInstanceUID}", "allows no :"),
        ("{PatientID}?/x", "allows no"),
        ("a./{SOPInstanceUID}", "drops the dot"),
        ("{PatientID} /{SOPInstanceUID}", "drops the dot or space"),
    ],
)
def test_a_layout_that_windows_would_change_is_refused_there(
    monkeypatch: pytest.MonkeyPatch, template: str, words: str
) -> None:
    monkeypatch.setattr("dcmweb.local.windows.IS_WINDOWS", False)
    Layout(template)
    monkeypatch.setattr("dcmweb.local.windows.IS_WINDOWS", True)
    with pytest.raises(UsageError, match=words):
        Layout(template)
