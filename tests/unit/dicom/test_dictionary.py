"""Attributes by keyword and by tag."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dcmweb.dicom import dictionary
from dcmweb.dicom.dictionary import Attribute, attribute, attribute_of, attributes, uid_name
from dcmweb.errors import UsageError


@pytest.mark.parametrize("keyword", dictionary._USUAL)
def test_the_usual_ones_are_as_in_the_whole_dictionary(keyword: str) -> None:
    found = attribute(keyword)
    assert int(found.tag, 16) == tag_for_keyword(keyword)
    assert found.vr == dictionary_VR(keyword)
    assert attribute_of(found.tag) == found


@pytest.mark.parametrize("name", ["00101010", "0010,1010", "(0010,1010)", "PatientAge"])
def test_keyword_and_tag_are_the_same_attribute(name: str) -> None:
    assert attribute(name) == Attribute("00101010", "PatientAge", "AS")


def test_any_tag_will_do() -> None:
    assert attribute("00091001") == Attribute("00091001")
    assert attribute("0009100a").name == "0009100A"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PatientNam", "PatientName"),
        ("patientid", "PatientID"),
        ("StudyDat", "StudyDate"),
        ("PatinetAge", "PatientAge"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        attribute(name)
    assert caught.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("name", ["", "0010", "001000100", "Xyzzy"])
def test_what_is_no_attribute_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        attribute(name)


def test_a_path_leads_into_sequences() -> None:
    path = attributes("RequestAttributesSequence.00400009")
    assert [a.name for a in path] == ["RequestAttributesSequence", "ScheduledProcedureStepID"]


def test_uids_have_names_if_they_are_registered() -> None:
    assert uid_name("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert uid_name("1.2.3") == "1.2.3"
    assert uid_name("nonsense") == "nonsense"
