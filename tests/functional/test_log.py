"""What `-v`, `--debug` and the end of a run tell, and what they must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, serving
from tests.functional.storing import first

JSON = {"Content-Type": "application/dicom+json"}


def test_requests_and_retries_are_told(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    archive = Archive()
    with serving(first([lambda _: Answer(503)], archive)) as origin:
        result = dcmweb(origin.url, "store", "in", "-v")
    assert result.code == 0
    assert f" -- POST {origin.url}/studies, " in result.err
    assert " bytes: 503 after " in result.err
    assert f" -- attempt 1: POST {origin.url}/studies: answered 503" in result.err
    assert " > " not in result.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(503), "answered 503"),
        (Answer(cut=-1), "the connection to "),
        (Answer(200, b"[         ", JSON, chunk=9, cut=5), "the answer of "),
    ],
    ids=["status", "no answer", "answer that breaks off"],
)
def test_the_log_names_the_request_that_is_tried_again_without_its_values(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, words: str
) -> None:
    with serving(first([lambda _: answer], Archive())) as origin:
        result = dcmweb("--log-file", "log", origin.url, "search", "PatientName=Test^Someone")
    assert result.code == 0
    text = (tmp_path / "log").read_text()
    (line,) = [line for line in text.splitlines() if " attempt 1: " in line]
    assert f" GET {origin.url}/studies?PatientName=...&limit=" in line
    assert f": {words}" in line
    assert "Someone" not in text.replace("PatientName=Test^Someone", "", 1)  # the command line


def test_with_q_each_failure_has_one_line(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [b"\0" * 128 + b"DICM"] * 5)
    with serving(Archive()) as origin:
        result = dcmweb("-q", "--log-file", "log", origin.url, "store", "in", "gone")
    *named, counts = result.err.splitlines()
    assert [line.split(" -- ")[1].partition(":")[0] for line in named] == [
        *(f"in/{n}.dcm failed" for n in range(1, 6)),
        "gone failed",
    ]
    assert "stored 0, skipped 0, failed 6;" in counts
    assert " failed 5: it has no SOP Instance UID" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("option", ["-v", "--debug"])
def test_neither_secrets_nor_patients_are_told(dcmweb: Dcmweb, option: str) -> None:
    with serving(Archive(*make_series(1))) as origin:
        url = origin.url.replace("://", "://someone:hunter2@")
        result = dcmweb(
            *(option, url, "search", "studies", "PatientName=Test^Someone", "limit=7"),
            "PatientID=secret-id-17",
        )
    assert result.code == 0
    assert "PatientName=...&PatientID=...&limit=7: 200 after " in result.err
    for secret in ("hunter2", "Someone", "secret-id", "c29tZW9uZT"):
        assert secret not in result.err
    assert ("-- > Authorization: [redacted]\n" in result.err) == (option == "--debug")
    assert ("-- < Content-Type: application/dicom+json\n" in result.err) == (option == "--debug")


def test_quiet_and_verbose_exclude_each_other(dcmweb: Dcmweb) -> None:
    result = dcmweb("-q", "-v", "http://127.0.0.1:1/", "search")
    assert (result.code, len(result.err.splitlines())) == (2, 1)


def test_failures_are_grouped_by_reason_above_the_summary(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [b"\0" * 128 + b"DICM"] * 5)
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "gone", "missing")
    *_, larger, smaller, _ = result.err.splitlines()
    assert " -- failed 5: it has no SOP Instance UID (0008,0018): in/1.dcm, in/2.dcm, " in larger
    assert larger.endswith(" and 2 others")
    assert smaller.endswith(" -- failed 2: no such file, or nothing matches: gone, missing")
