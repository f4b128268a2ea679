"""`search` where a server answers with something else than data sets, or nearly with these."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Dcmweb
from tests.functional.archive import json_answer
from tests.functional.origin import Answer, Request, serving

JSON = {"Content-Type": "application/json"}
FORMS = [("--count",), (), *(("--format", form) for form in ("csv", "table", "ndjson", "uids"))]


def study(number: int, **more: Any) -> dict[str, Any]:
    row = {"0020000D": {"vr": "UI", "Value": [f"1.{number}"]}}
    return {**row, **{tag.lstrip("t"): element for tag, element in more.items()}}


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"code": 403, "message": "forbidden by policy"}}', "forbidden by policy"),
        (b'{"message": "Internal server error"}', "the server says: Internal server error"),
        (b'[{"error": "over quota"}]', "the server says: over quota"),
        (b"{}", "it is an empty object"),
        (b"[{}]", "item 1 is an empty object"),
        (b'{"total": 0, "studies": []}', "it is an object without DICOM attributes"),
        (b'[{"PatientName": "Doe^Jane"}]', "item 1 is an object without DICOM attributes"),
        (b'["Doe^Jane"]', "DICOM JSON"),
        (b'"Doe^Jane"', "application/json"),
        (b"null", "application/json"),
    ],
)
def test_json_that_is_not_data_sets_is_not_a_result(
    dcmweb: Dcmweb, form: tuple[str, ...], body: bytes, words: str
) -> None:
    with serving(lambda _: Answer(200, body, JSON)) as origin:
        result = dcmweb(origin.url, "search", "studies", "PatientID=secret", *form)
    assert result.code == 8
    assert result.out == ""
    assert words in result.err
    assert "Doe" not in result.err
    assert "secret" not in result.err


@pytest.mark.parametrize(
    "row",
    [
        {"0020000d": "1.2", "00201208": 7, "00100010": "Doe^Jane", "00080020": "20240131"},
        {
            "(0020,000D)": {"vr": "UI", "Value": "1.2"},
            "0020,1208": {"vr": "IS", "Value": "7"},
            "00100010": {"Value": {"Alphabetic": "Doe^Jane"}},
            "00080020": {"value": ["20240131"]},
        },
        {
            "0020000D": {"Value": ["1.2"]},
            "00201208": {"vr": "is", "Value": ["7"]},
            "00100010": {"vr": "PN", "Value": ["Doe^Jane"]},
            "00080020": {"vr": "", "Value": "20240131"},
        },
    ],
)
def test_rows_that_are_nearly_the_model_have_no_blank_cells(
    dcmweb: Dcmweb, row: dict[str, Any]
) -> None:
    fields = "StudyInstanceUID,NumberOfStudyRelatedInstances,PatientName,StudyDate"
    with serving(lambda r: json_answer([] if "offset" in r.query else [row])) as origin:
        table = dcmweb(origin.url, "search", "--format", "csv", "--fields", fields)
        paths = dcmweb(origin.url, "search", "--format", "uids")
    assert table.out.splitlines()[1] == '1.2,7,"Doe, Jane",2024-01-31'
    assert paths.out == "studies/1.2\n"


@pytest.mark.parametrize(
    "options", [("--count",), ("--all", "--format", "ndjson"), ("--format", "ndjson")]
)
def test_rows_that_share_a_uid_are_all_counted_and_printed(
    dcmweb: Dcmweb, options: tuple[str, ...]
) -> None:
    rows = [study(n // 2, t00081030={"vr": "LO", "Value": [str(n)]}) for n in range(10)]

    def handle(request: Request) -> Answer:
        return json_answer([] if "offset" in request.query else rows)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", *options)
    assert result.code == 0
    if options == ("--count",):
        assert result.out == "10\n"
    else:
        assert list(map(json.loads, result.out.splitlines())) == rows
    assert result.err.count("share a UID") == 1


@pytest.mark.parametrize("counts_itself", [True, False])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_counts_are_the_ones_of_the_server_where_it_has_any(
    dcmweb: Dcmweb, counts_itself: bool, form: str
) -> None:
    """Orthanc answers an includefield with the count in the file."""

    def handle(request: Request) -> Answer:
        is_asked = "includefield=00201208" in request.query
        count = {"vr": "IS", "Value": [896 if is_asked else 2]}
        row = study(1, t00201208=count) if is_asked or counts_itself else study(1)
        return json_answer([] if "offset" in request.query else [row])

    with serving(handle) as origin:
        result = dcmweb(
            *(origin.url, "search", "--format", form),
            *("--fields", "NumberOfStudyRelatedInstances,PatientID"),
        )
    assert result.code == 0
    assert ("896" in result.out) == (not counts_itself)
    assert all(
        "includefield=00100020" in r.query for r in origin.requests if "offset" not in r.query
    )


@pytest.mark.parametrize("status", [400, 406, 415])
@pytest.mark.parametrize(
    "form", ["application/json", 'multipart/related; type="application/dicom+xml"']
)
def test_a_search_is_asked_for_in_the_form_that_a_server_has(
    dcmweb: Dcmweb, status: int, form: str
) -> None:
    def handle(request: Request) -> Answer:
        if request.headers["accept"] != form:
            return Answer(
                status, b"Unsupported media type in Accept", {"Content-Type": "text/plain"}
            )
        return json_answer([] if "offset" in request.query else [study(1)])

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "--all", "--format", "uids")
    assert result.out == "studies/1.1\n"
    assert [r.headers["accept"] for r in origin.requests][-2:] == [form, form]
