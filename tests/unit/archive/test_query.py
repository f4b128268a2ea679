"""Searches that ask for too much, or for what there is not; without a network."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import BadRequest

from dcmweb.archive.google_strict import STRICT_QUERIES
from dcmweb.archive.query import LENIENT, MOST_INCLUDED, MOST_KEYS, ParsedQuery, QueryRules
from dcmweb.archive.storage.attributes import find_attribute
from dcmweb.dicom.resources import Level, Resource


def parse(*args: tuple[str, str], rules: QueryRules = LENIENT) -> ParsedQuery:
    return ParsedQuery.parse(Resource(), Level.STUDIES, args, rules)


def test_keys_have_a_limit() -> None:
    keys = [("PatientID", str(number)) for number in range(MOST_KEYS + 1)]
    assert len(parse(*keys[1:]).keys) == MOST_KEYS
    with pytest.raises(BadRequest):
        parse(*keys)


def test_attributes_that_are_included_have_a_limit() -> None:
    names = [f"0009{number:04X}" for number in range(0x1000, 0x1000 + MOST_INCLUDED + 1)]
    assert len(parse(("includefield", ",".join(names[1:]))).include) == MOST_INCLUDED
    with pytest.raises(BadRequest):
        parse(("includefield", ",".join(names)))


@pytest.mark.parametrize(
    "text", ["-1", "+1", "1.0", "1e3", " 1", "", "x", "²", "٣", "1_0", "9" * 16, "9" * 5000]
)
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_limits_are_numbers(name: str, text: str) -> None:
    with pytest.raises(BadRequest):
        parse((name, text))
    assert parse((name, "9" * 15)).level is Level.STUDIES


@pytest.mark.parametrize(
    "key",
    [
        ("StudyDate", "yesterday"),
        ("PatientID", "a" * 2000),
        ("NoSuchKeyword", "x"),
        ("PatientID.NoSuchKeyword", "x"),
        ("includefield", "NoSuchKeyword"),
        ("includefield", "0010001g"),
        ("00100010.0010001g", "x"),
    ],
)
def test_what_cannot_be_searched_for_is_refused_at_once(key: tuple[str, str]) -> None:
    with pytest.raises(BadRequest):
        parse(key)


def test_a_private_attribute_has_no_known_value_representation() -> None:
    assert find_attribute("00091001").vr == "UN"


@pytest.mark.parametrize(
    "key", [("unknown", "x"), ("StudyDescription", "x"), ("00100020.00100010", "x"), ("_", "1")]
)
def test_a_strict_archive_refuses_other_filters_and_parameters(key: tuple[str, str]) -> None:
    parse(("PatientID", "x"), ("alt", "json"), rules=STRICT_QUERIES)
    parse(key)
    with pytest.raises(BadRequest):
        parse(key, rules=STRICT_QUERIES)
