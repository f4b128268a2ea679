"""`search` with many results, most of which are written as they came: with msgspec and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from dcmweb.dicom.json_fast import LARGE
from tests.conftest import Dcmweb
from tests.functional.origin import Answer, Request, serving

COUNT, PAGE = 1400, 1000
FORMS = ("json", "ndjson", "csv", "tsv")


def element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def row(number: int) -> dict[str, Any]:
    usual = {
        "0020000D": element("UI", f"1.2.{number + 1}"),
        "00081190": element("UR", f"http://there/studies/1.2.{number + 1}"),
        "00100010": element("PN", {"Alphabetic": f"Müller^{number}"}),
        "00080020": element("DA", "20240229"),
        "00080061": element("CS", "CT", "SR"),
        "00080090": {"vr": "PN"},
        "00081030": element("LO", "Thorax routine, with a description that is not short"),
        "00101030": element("DS", 71.5),
        "00201208": element("IS", 500),
    }
    odd: dict[int, dict[str, Any]] = {
        1: {"00081030": element("LO", 'with "quotes" and a \\ and \x1b')},
        2: {"00081110": element("SQ", {"00081155": element("UI", "1.5")})},
        3: {"00100010": element("PN", {"Phonetic": "c", "Alphabetic": "a"})},
        4: {"00081030": element("LO", "[a] {b}: \x7f", None)},
        5: {"00420011": {"vr": "OB", "InlineBinary": "AAAA"}},
        6: {"00081030": "not in a list"},
    }
    return usual | odd.get(number % 100, {})


def written(rows: list[dict[str, Any]]) -> bytes:
    """Write rows, with numbers that Python would write in another way."""
    return json.dumps(rows, ensure_ascii=False).replace("71.5", "0.1234567890123456789").encode()


class Studies:
    """Lists so many studies, page by page."""

    def __init__(self, change: Any = lambda body, _offset: body) -> None:
        self.change = change

    def __call__(self, request: Request) -> Answer:
        given = parse_qs(request.query)
        offset = int(given.get("offset", ["0"])[0])
        end = min(COUNT, offset + min(PAGE, int(given.get("limit", ["1000"])[0])))
        body = written([row(number) for number in range(offset, end)])
        headers = {"Content-Type": "application/dicom+json"}
        return Answer(200, self.change(body, offset), headers)


@pytest.fixture
def without_msgspec(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has no msgspec."""
    folder = tmp_path / "absent"
    folder.mkdir()
    (folder / "msgspec.py").write_text("raise ImportError")
    return {"PYTHONPATH": str(folder)}


def test_each_form_is_the_same_without_msgspec(
    dcmweb: Dcmweb, without_msgspec: dict[str, str]
) -> None:
    assert len(written([row(n) for n in range(PAGE)])) > LARGE
    with serving(Studies()) as origin:
        for form in FORMS:
            search = [origin.url, "search", "--all", "--format", form]
            found, expected = dcmweb(*search), dcmweb(*search, env=without_msgspec)
            assert found.code == expected.code == 0, found.err
            assert found.out == expected.out
            assert found.err == expected.err


def test_json_has_all_that_came(dcmweb: Dcmweb) -> None:
    rows = [row(number) for number in range(COUNT)]
    for one in rows:
        one["00081030"] = one["00081030"] if isinstance(one["00081030"], dict) else {}
    with serving(Studies()) as origin:
        result = dcmweb(origin.url, "search", "--all")
    assert result.out.count("0.1234567890123456789") == COUNT
    assert result.out.isascii()
    found = json.loads(result.out.replace("0.1234567890123456789", "71.5"))
    assert [one["0020000D"] for one in found] == [one["0020000D"] for one in rows]
    usual = [number for number in range(COUNT) if number % 100 != 6]
    assert [found[number] for number in usual] == [rows[number] for number in usual]


def test_a_page_that_is_not_json_is_an_error_in_words(
    dcmweb: Dcmweb, without_msgspec: dict[str, str]
) -> None:
    def broken(body: bytes, offset: int) -> bytes:
        return body[:-1] + b",nul]" if offset else body

    with serving(Studies(broken)) as origin:
        search = [origin.url, "search", "--all", "--format", "ndjson"]
        found, expected = dcmweb(*search), dcmweb(*search, env=without_msgspec)
    assert found.code == expected.code == 8
    assert found.out == expected.out
    assert len(found.out.splitlines()) == PAGE
    assert found.err.partition(" -- ")[2] == expected.err.partition(" -- ")[2]


def test_the_server_is_known_to_have_ignored_a_key(dcmweb: Dcmweb) -> None:
    with serving(Studies()) as origin:
        result = dcmweb(origin.url, "search", "--all", "--format", "csv", "PatientName=Doe")
        assert "the server ignored PatientName" in result.err
        result = dcmweb(origin.url, "search", "--all", "--format", "csv", "PatientName=Müller^7")
        assert "ignored" not in result.err


def test_fields_and_keywords(dcmweb: Dcmweb, without_msgspec: dict[str, str]) -> None:
    with serving(Studies()) as origin:
        for options in (
            ["--fields", "PatientName"],
            ["--keywords", "--format", "ndjson"],
            ["--format", "csv", "--fields", "ReferencedStudySequence.ReferencedSOPInstanceUID"],
            ["--limit", "1200", "--format", "tsv"],
            ["--count"],
        ):
            every = [] if options[0] in ("--limit", "--count") else ["--all"]
            search = [origin.url, "search", *every, *options]
            found, expected = dcmweb(*search), dcmweb(*search, env=without_msgspec)
            assert found.code == expected.code == 0, found.err
            assert found.out == expected.out
