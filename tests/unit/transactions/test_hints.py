"""Hints for searches that find nothing."""

from __future__ import annotations

import pytest

from dcmweb.transactions.search.hints import hint_for_nothing


@pytest.mark.parametrize(
    ("path", "pairs", "words"),
    [
        ("studies", [("PatientName", "Doe")], "as in PatientName=Doe*"),
        ("studies", [("00100010", "Mustermann")], "PatientName matches whole names"),
        ("", [("ReferringPhysicianName", "x")], "ReferringPhysicianName=Doe*"),
        ("studies", [("Modality", "CT")], "use ModalitiesInStudy"),
        ("studies", [("SOPClassUID", "1.2")], "use SOPClassesInStudy"),
        ("studies", [("SeriesDescription", "x")], "is an attribute of series"),
        ("studies/1.2/series", [("InstanceNumber", "1")], "is an attribute of instances"),
        ("series", [("Modality", "ct")], "upper case"),
        ("studies", [("StudyDate", "20240101"), ("offset", "10")], "offset"),
        ("studies", [("StudyDescription", "head")], "StudyDescription=*TEXT*"),
    ],
)
def test_what_is_conspicuous_is_said(path: str, pairs: list[tuple[str, str]], words: str) -> None:
    hint = hint_for_nothing(path, pairs)
    assert words in hint
    assert "Mustermann" not in hint


@pytest.mark.parametrize(
    ("path", "pairs"),
    [
        ("studies", []),
        ("studies", [("PatientName", "Doe*")]),
        ("studies", [("PatientID", "4711"), ("AccessionNumber", "1")]),
        ("studies", [("PatientName", "Doe"), ("fuzzymatching", "true")]),
        ("studies", [("StudyDate", "20240101")]),
        ("studies", [("StudyInstanceUID", "1.2.3"), ("limit", "1"), ("offset", "0")]),
        ("series", [("Modality", "CT")]),
        ("instances", [("InstanceNumber", "1")]),
        ("studies", [("unknown", "x"), ("00091001", "y")]),
        ("studies", [("PatientName", "")]),
    ],
)
def test_nothing_is_said_otherwise(path: str, pairs: list[tuple[str, str]]) -> None:
    assert hint_for_nothing(path, pairs) == ""
