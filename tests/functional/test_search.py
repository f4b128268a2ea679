"""`search`: what is asked on the wire, what is printed, and what is no answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Handler, Request, serving

JSON = {"Content-Type": "application/dicom+json"}


def study(number: int) -> dict[str, Any]:
    return {"0020000D": {"vr": "UI", "Value": [f"1.{number}"]}}


def numbered(total: int, cap: int = 10_000) -> Handler:
    """A server with so many studies, and a cap on how many it returns at once."""
    rows = [study(n) for n in range(total)]

    def handle(request: Request) -> Answer:
        given = parse_qs(request.query)
        limit, offset = (int(given.get(name, ["0"])[0]) for name in ("limit", "offset"))
        return json_answer(rows[offset : offset + min(limit or total, cap)])

    return handle


def test_results_are_printed_with_sorted_keys_and_indented(dcmweb: Dcmweb) -> None:
    rows = [
        {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00080020": {"vr": "DA"}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg\x1b[2J"}]}},
    ]
    pages = [Answer(204), json_answer(rows)]
    with serving(lambda _: pages.pop()) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 0
    assert result.err == ""
    assert result.out == json.dumps(rows, indent=2, sort_keys=True) + "\n"
    assert {r.headers["accept"] for r in origin.requests} == {"application/dicom+json"}


@pytest.mark.parametrize(
    "answer",
    [Answer(204), Answer(200), Answer(200, b" \r\n"), json_answer([])],
    ids=["204", "empty", "blank", "[]"],
)
def test_nothing_found_is_an_empty_list_and_no_failure(dcmweb: Dcmweb, answer: Answer) -> None:
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "search", "studies", "PatientID=nobody")
    assert (result.code, result.out, result.err) == (0, "[]\n", "")


def test_a_single_data_set_is_a_result_as_well(dcmweb: Dcmweb) -> None:
    pages = [Answer(204), json_answer(study(1))]
    with serving(lambda _: pages.pop()) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 0
    assert json.loads(result.out) == [study(1)]


# What goes over the wire.


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        ([], "studies?limit=5000"),
        (["/instances"], "instances?limit=5000"),
        (["studies/1.2/series"], "studies/1.2/series?limit=5000"),
        (
            ["/studies/1.2/series/3/instances/", "Modality=CT"],
            "studies/1.2/series/3/instances?Modality=CT&limit=5000",
        ),
        (
            ["instances", "StudyDate=19941013-19941231"],
            "instances?StudyDate=19941013-19941231&limit=5000",
        ),
        (["studies", "limit=1&offset=2"], "studies?limit=1&offset=2"),
        (["studies", "offset=7"], "studies?limit=5000&offset=7"),
        (
            ["studies", "?StudyID=1&offset=7&&PatientID=2&"],
            "studies?StudyID=1&PatientID=2&limit=5000&offset=7",
        ),
        (
            ["studies", "StudyID=1", "limit=3", "?PatientID=2"],
            "studies?StudyID=1&PatientID=2&limit=3",
        ),
        (["StudyDate=2024"], "studies?StudyDate=20240101-20241231&limit=5000"),
        (["StudyDate>=2024-02-01"], "studies?StudyDate=20240201-&limit=5000"),
        (["studies?StudyDate<2024-02-01"], "studies?StudyDate=-20240131&limit=5000"),
        (
            ["StudyDate>2024-01-01", "StudyDate<=2024-02"],
            "studies?StudyDate=20240102-20240229&limit=5000",
        ),
        (["series?Modality=CT", "limit=3"], "series?Modality=CT&limit=3"),
        (["--path", "series", "--parameters", "limit=1"], "series?limit=1"),
        (["--parameters=StudyID=1&limit=2", "--path=/series/", "--parameters=PatientID=2"], None),
        (["series", "--parameters", "StudyID=1", "limit=2", "--parameters", "PatientID=2"], None),
        (["studies", "includefield=00081030,StudyDate"], None),
    ],
)
def test_paths_and_parameters_mean_what_they_say(
    dcmweb: Dcmweb, arguments: list[str], target: str | None
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(origin.url, "search", *arguments)
    seen = origin.requests[0].target.removeprefix("/dicomweb/")
    assert (result.code, result.out) == (0, "[]\n")
    if target is not None:
        assert seen == target
    elif "--path=/series/" in arguments or "series" in arguments:
        assert sorted(seen.split("&")) == sorted(["series?StudyID=1", "PatientID=2", "limit=2"])
    else:
        assert seen == "studies?includefield=00081030,StudyDate&limit=5000"


VALUES = {
    "PatientName=Sally Zhang": "PatientName=Sally%20Zhang",
    "PatientName=Müller^*": "PatientName=M%C3%BCller^*",
    "PatientName=M%C3%BCller^J%3f": "PatientName=M%C3%BCller^J%3F",
    "PatientName=山田^太郎": "PatientName=%E5%B1%B1%E7%94%B0^%E5%A4%AA%E9%83%8E",
    "StudyDescription=A&E": "StudyDescription=A%26E",
    "StudyDescription=x=y": "StudyDescription=x%3Dy",
    "StudyDescription=a+b": "StudyDescription=a%2Bb",
    "StudyDescription=100%": "StudyDescription=100%25",
    "StudyDescription=a/b?c#d": "StudyDescription=a%2Fb%3Fc%23d",
    "StudyInstanceUID=1.2,1.3": "StudyInstanceUID=1.2,1.3",
    "StudyDate=-20240101": "StudyDate=-20240101",
    "ModalitiesInStudy=C*,M-~_.": "ModalitiesInStudy=C*,M-~_.",
    "00100010=Doe^Jane^*": "00100010=Doe^Jane^*",
    "PatientID=": "PatientID=",
}


def test_values_are_escaped_where_they_must_and_only_there(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(origin.url, "search", "studies", *VALUES)
    assert result.code == 0
    target = origin.requests[0].target.removeprefix("/dicomweb/studies?")
    assert target.split("&") == [*VALUES.values(), "limit=5000"]


def test_a_server_that_wants_carets_escaped_gets_them_escaped(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if "^" in request.target:
            return Answer(400, b"illegal character in query")
        return json_answer([] if "offset" in request.query else [study(1)])

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "studies", "PatientName=Doe^*")
    assert result.code == 0
    assert json.loads(result.out) == [study(1)]
    targets = [r.target.removeprefix("/dicomweb/studies?") for r in origin.requests]
    assert targets[:2] == ["PatientName=Doe^*&limit=5000", "PatientName=Doe%5E*&limit=5000"]
    assert "^" not in "".join(targets[1:])


# All that was asked for, and no more.


@pytest.mark.parametrize(
    ("cap", "parameters", "expected"),
    [
        (1, "", range(7)),
        (2, "offset=2", range(2, 7)),
        (2, "limit=5", range(5)),
        (1, "limit=5&offset=1", range(1, 6)),
        (2, "limit=100", range(7)),
    ],
)
def test_a_server_that_caps_its_pages_is_asked_on(
    dcmweb: Dcmweb, cap: int, parameters: str, expected: range
) -> None:
    with serving(numbered(7, cap)) as origin:
        result = dcmweb(origin.url, "search", "studies", *filter(None, [parameters]))
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == [study(n) for n in expected]


@pytest.mark.parametrize(("total", "cap"), [(5000, 10_000), (5003, 1000)])
def test_a_notice_tells_of_results_beyond_the_default_limit(
    dcmweb: Dcmweb, total: int, cap: int
) -> None:
    with serving(numbered(total, cap)) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 0
    assert json.loads(result.out) == [study(n) for n in range(5000)]
    if total == 5000:
        assert result.err == ""
    else:
        assert result.last.startswith("Please note: these are the first 5,000 results")


def test_no_notice_is_given_where_a_limit_was(dcmweb: Dcmweb) -> None:
    with serving(numbered(5)) as origin:
        result = dcmweb(origin.url, "search", "studies", "limit=2")
    assert (result.code, result.err) == (0, "")
    assert len(json.loads(result.out)) == 2


def test_a_server_that_ignores_offset_does_not_repeat_its_rows(dcmweb: Dcmweb) -> None:
    with serving(lambda _: json_answer([study(1), study(2)])) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 0
    assert json.loads(result.out) == [study(1), study(2)]


def test_more_results_than_a_server_ignoring_offset_gives_are_told_of(dcmweb: Dcmweb) -> None:
    warning = "299 server: There are 5 additional results that can be requested"
    with serving(lambda _: json_answer([study(1)], Warning=warning)) as origin:
        result = dcmweb(origin.url, "search")
    assert json.loads(result.out) == [study(1)]
    assert "offset" in result.err


# What is no answer.


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(200, b'["a", "b"]', {"Content-Type": "application/json"}), 8, "not DICOM JSON"),
        (Answer(200, b"<!DOCTYPE html>login", {"Content-Type": "text/html"}), 8, "web page"),
        (Answer(200, b'[{"0020000D":', JSON), 8, ""),
        (Answer(200, b"[" * 100_000, JSON), 8, ""),
        (Answer(200, b"\xff\xfe", JSON), 8, ""),
        (Answer(200, b"[{}]" * 20, JSON, cut=30), 8, "is broken"),
        (Answer(200, b"[{}]" * 20, JSON, chunk=7, cut=30), 8, "broke off"),
        (Answer(200, b"[{}]", {**JSON, "Content-Encoding": "gzip"}), 8, "decoded"),
        (json_answer({"message": "unknown attribute X"}, 400), 5, "unknown attribute X"),
        (json_answer([{"error": {"message": "quota\x1b[2J"}}], 429), 5, r"quota\x1b[2J"),
        (Answer(500, b"out of\r\nmemory"), 5, "500 Internal Server Error: out of"),
        (Answer(418, b"", {"Warning": '299 x "short and stout"'}), 5, "short and stout"),
        (Answer(401, headers={"WWW-Authenticate": "Basic realm=x"}), 4, "asks for Basic"),
        (Answer(404), 3, "404"),
        (Answer(307, headers={"Location": "/dicomweb/studies?limit=5000"}), 8, "circle"),
    ],
)
def test_what_is_no_answer_is_one_line_with_the_exit_code_of_its_kind(
    dcmweb: Dcmweb, answer: Answer, code: int, words: str
) -> None:
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "search")
    assert (result.code, result.out) == (code, "")
    assert len(result.err.splitlines()) == 1
    assert " -- Error: " in result.err
    assert words in result.err


def test_a_later_page_that_fails_leaves_stdout_empty(dcmweb: Dcmweb) -> None:
    pages = [Answer(500), json_answer([study(1)])]
    with serving(lambda _: pages.pop()) as origin:
        result = dcmweb("--retries", "0", origin.url, "search")
    assert (result.code, result.out) == (5, "")


@pytest.mark.parametrize(
    "fault", [Answer(200, b"[{}]" * 20, JSON, cut=30), Answer(429), Answer(cut=-1)]
)
def test_what_may_go_better_a_moment_later_is_tried_again(dcmweb: Dcmweb, fault: Answer) -> None:
    pages = [Answer(204), json_answer([study(1)]), fault]
    with serving(lambda _: pages.pop()) as origin:
        result = dcmweb("--retries", "1", origin.url, "search")
    assert result.code == 0
    assert json.loads(result.out) == [study(1)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["patients/1"],
        ["studies/1"],
        ["studies/1/studies"],
        ["studies", "series"],
        ["studies", "--path", "series"],
        ["studies", "PatientID"],
        ["studies", "limit=many"],
    ],
)
def test_impossible_searches_are_usage_errors_before_any_request(
    dcmweb: Dcmweb, arguments: list[str]
) -> None:
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(origin.url, "search", *arguments)
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert origin.requests == []


# Whoever reads stdout.


def test_a_reader_who_has_had_enough_is_no_failure(tmp_path: Path) -> None:
    with serving(numbered(5000)) as origin:
        process = subprocess.Popen(
            [*DCMWEB, origin.url, "search"],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        words = process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=60) == 0
    assert words == b""


def test_a_full_disk_behind_stdout_is_a_local_error(tmp_path: Path) -> None:
    with serving(numbered(5)) as origin, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*DCMWEB, origin.url, "search"],
            env=clean_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 7
    assert len(done.stderr.splitlines()) == 1
    assert b"cannot write to stdout" in done.stderr


def test_what_was_searched_for_is_not_shown_in_errors(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(400)) as origin:
        result = dcmweb(origin.url, "search", "studies", "PatientName=Doe^Jane", "PatientID=4711")
    assert result.code == 5
    assert "GET http://" in result.err
    assert "Doe" not in result.err
    assert "4711" not in result.err


# What the server says beside its answer, and hints.


def test_warnings_of_a_server_are_shown_once_each(dcmweb: Dcmweb) -> None:
    texts = '299 x "fuzzymatching is not supported\x7f", 299 - "no key X"'

    def handle(request: Request) -> Answer:
        page = archive(request)
        return Answer(page.status, page.body, {**page.headers, "Warning": texts})

    archive = Archive(*make_series(3))
    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "instances", "--all", "--format", "uids")
    assert len(origin.requests) > 1
    assert (result.code, len(result.out.splitlines())) == (0, 3)
    lines = [line.partition(" -- ")[2] for line in result.err.splitlines()]
    assert lines == [
        r"the server says: fuzzymatching is not supported\x7f",
        "the server says: no key X",
    ]


def test_warnings_that_never_end_are_not_all_shown(dcmweb: Dcmweb) -> None:
    texts = ", ".join(f'299 x "key {number}"' for number in range(100))
    with serving(lambda _: Answer(204, headers={"Warning": texts})) as origin:
        result = dcmweb(origin.url, "search")
    assert len(result.err.splitlines()) == 21
    assert result.last == "the server has further warnings, which are not shown"


def test_a_warning_of_additional_results_is_left_to_the_search(dcmweb: Dcmweb) -> None:
    text = '299 x "There are 2 additional results that can be requested"'
    with serving(lambda _: Answer(204, headers={"Warning": text})) as origin:
        assert "additional" not in dcmweb(origin.url, "search").err


@pytest.mark.parametrize("options", [[], ["--count"], ["--format", "table"], ["--all"]])
def test_a_search_that_finds_nothing_gets_a_hint_on_stderr(
    dcmweb: Dcmweb, options: list[str]
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(origin.url, "search", "PatientName=Mustermann", *options)
        quiet = dcmweb("-q", origin.url, "search", "PatientName=Mustermann", *options)
    assert "PatientName=Doe*" in result.last
    assert "Nothing" not in result.out
    assert (quiet.code, quiet.err, quiet.out) == (0, "", result.out)
