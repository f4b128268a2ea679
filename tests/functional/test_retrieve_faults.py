"""`retrieve` from servers that break off, lie, or are up to no good.

What counts is what is left on disk: never anything but what the server has, under its own name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcmweb.local.safe_names import uid_name
from tests.conftest import Dcmweb, make_instance, make_series, tree
from tests.functional.archive import (
    BOUNDARY,
    LEVELS,
    UIDS,
    Archive,
    Scripted,
    json_answer,
    multipart_answer,
    multipart_body,
)
from tests.functional.origin import Answer, Handler, Request, serving

STUDY = "studies/1.2.3"
SERIES = f"{STUDY}/series/1.2.3.4"
HTML = Answer(200, b"<!DOCTYPE html><title>Login</title>", {"Content-Type": "text/html"})
RELATED = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
DELIVERIES: dict[str, dict[str, Any]] = {
    "length": {},
    "chunked": {"chunk": 100},
    "closing": {"close": True},
}

Special = Answer | Callable[[Answer], Answer]


def instance(number: int) -> str:
    return f"{SERIES}/instances/1.2.3.4.{number}"


def but(archive: Handler, special: Special, *paths: str) -> Handler:
    """The archive, with a special answer, or its own altered, for these paths."""

    def handle(request: Request) -> Answer:
        if request.path.removeprefix("/dicomweb/") not in paths:
            return archive(request)
        return special(archive(request)) if callable(special) else special

    return handle


# Answers that break off.

THREE = make_series(3)
PART_HEAD = len(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n")
SECOND = PART_HEAD + len(THREE[0])
CUTS = {
    "at the start": 0,
    "in the first delimiter": 4,
    "in a part header": PART_HEAD - 10,
    "before the payload": PART_HEAD,
    "in a payload": PART_HEAD + 700,
    "before a delimiter": SECOND,
    "in a delimiter": SECOND + 5,
    "after a delimiter": SECOND + len(f"\r\n--{BOUNDARY}\r\n"),
    "in the second payload": SECOND + PART_HEAD + 300,
    "before the close delimiter": len(multipart_body(THREE)) - len(f"\r\n--{BOUNDARY}--\r\n"),
    "in the close delimiter": len(multipart_body(THREE)) - len("-\r\n"),
}


def wire_length(content: int, how: dict[str, Any]) -> int:
    """How many bytes of the body on the wire carry so many bytes of its content."""
    chunk = how.get("chunk")
    return content + (content // chunk + 1) * len(b"64\r\n\r\n") if chunk else content


@pytest.mark.parametrize("how", DELIVERIES.values(), ids=DELIVERIES.keys())
def test_what_cut_streams_left_out_is_fetched_singly(
    dcmweb: Dcmweb, tmp_path: Path, how: dict[str, Any]
) -> None:
    archive = Archive()
    streams = {}
    for number, cut in enumerate(CUTS.values(), start=10):
        files = make_series(3, f"1.2.{number}", "1.2.3.4")
        assert [len(data) for data in files] == [len(data) for data in THREE]
        streams[f"studies/1.2.{number}"] = multipart_answer(
            files, **{**how, "cut": wire_length(cut, how)}
        )
        for data in files:
            archive.add(data)

    def handle(request: Request) -> Answer:
        return streams.get(request.path.removeprefix("/dicomweb/")) or archive(request)

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


@pytest.mark.parametrize(
    "name", ["after a delimiter", "in the second payload", "in the close delimiter"]
)
def test_where_single_answers_are_cut_as_well_there_are_only_whole_files(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    archive = Scripted(*THREE)

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith(LEVELS):
            return answer
        return replace(answer, close=True, cut=min(CUTS[name], len(answer.body) - 4))

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    delimiter = len(f"--{BOUNDARY}\r\n")
    whole = sum(CUTS[name] >= n * (SECOND + 2) + delimiter for n in (1, 2))
    assert result.code != 0
    assert len(tree(tmp_path / "out")) == whole
    assert tree(tmp_path / "out").items() <= archive.tree().items()


def test_without_a_close_delimiter_the_last_file_counts_as_missing(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*THREE)
    body = multipart_body(THREE).removesuffix(f"--{BOUNDARY}--\r\n".encode())

    def handle(request: Request) -> Answer:
        if request.path.endswith(instance(3)):
            return Answer(404)
        return but(archive, Answer(200, body, RELATED), STUDY)(request)

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 1
    assert f"{instance(3)} failed: " in result.err
    assert tree(tmp_path / "out") == archive.tree(instance(1)) | archive.tree(instance(2))


def test_a_stream_that_stalls_is_given_up_and_made_good(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*THREE)
    stalling = multipart_answer(THREE, stall=SECOND + PART_HEAD + 300)
    with serving(but(archive, stalling, STUDY)) as origin:
        result = dcmweb("--timeout", "1", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def test_a_named_instance_that_is_cut_is_tried_again(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*THREE)
    ways = list(DELIVERIES.values())

    def shorten(answer: Answer) -> Answer:
        return replace(answer, **ways.pop(), cut=700) if ways else answer

    with serving(but(archive, shorten, instance(2))) as origin:
        result = dcmweb("--retries", "3", origin.url, "retrieve", instance(2), "-o", "out")
    assert result.code == 0
    assert result.last.endswith("3 retries")
    assert tree(tmp_path / "out") == archive.tree(instance(2))


WHOLE = len(THREE[0])
PIXELS = 512 + 12  # the whole element, at the end of the file


@pytest.mark.parametrize(
    ("cut", "delivery"),
    [
        (700, "length"),
        (700, "chunked"),
        *((cut, "closing") for cut in (0, 132, 140, 700, WHOLE - PIXELS, WHOLE - 1)),
    ],
)
def test_a_single_part_that_is_cut_is_not_accepted(
    dcmweb: Dcmweb, tmp_path: Path, cut: int, delivery: str
) -> None:
    how = DELIVERIES[delivery]
    kind = {"Content-Type": "application/dicom"}
    broken = Answer(200, THREE[0], kind, **how, cut=wire_length(cut, how))
    with serving(but(Archive(THREE[0]), broken, instance(1))) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", instance(1), "-o", "out")
    assert result.code == 8
    assert "Error: " in result.err
    assert tree(tmp_path / "out") == {}


def test_a_single_part_that_ends_by_closing_is_accepted_when_it_is_whole(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(THREE[0])
    whole = Answer(200, THREE[0], {"Content-Type": "application/dicom"}, close=True)
    with serving(but(archive, whole, instance(1))) as origin:
        assert dcmweb(origin.url, "retrieve", instance(1), "-o", "out").code == 0
    assert tree(tmp_path / "out") == archive.tree()


# Parts whose Content-Length is not theirs.


def part_of_length(data: bytes, length: int | str) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize("length", [17, 100_000])
def test_a_whole_part_with_a_wrong_length_is_accepted(
    dcmweb: Dcmweb, tmp_path: Path, length: int | str
) -> None:
    archive = Archive(THREE[0])
    answer = Answer(200, part_of_length(THREE[0], length), RELATED)
    with serving(but(archive, answer, STUDY)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()
    assert not any(request.path.endswith(instance(1)) for request in origin.requests)


@pytest.mark.parametrize("lost", [1, 800])
def test_a_part_shorter_than_its_length_is_fetched_anew(
    dcmweb: Dcmweb, tmp_path: Path, lost: int
) -> None:
    archive = Archive(THREE[0])
    answer = Answer(200, part_of_length(THREE[0][:-lost], len(THREE[0])), RELATED)
    with serving(but(archive, answer, STUDY)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def test_a_part_that_is_short_each_time_is_a_failure(dcmweb: Dcmweb, tmp_path: Path) -> None:
    answer = Answer(200, part_of_length(THREE[0][:-100], len(THREE[0])), RELATED)
    with serving(but(Archive(THREE[0]), answer, STUDY, instance(1))) as origin:
        result = dcmweb("--retries", "1", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 1
    assert f"{instance(1)} failed: " in result.err
    assert tree(tmp_path / "out") == {}


# Answers that leave something out.


@pytest.mark.parametrize(("path", "status"), [("", 200), (STUDY, 206), (STUDY, 200), (SERIES, 206)])
def test_what_is_listed_but_does_not_come_is_fetched_or_named(
    dcmweb: Dcmweb, tmp_path: Path, path: str, status: int
) -> None:
    archive = Archive(*THREE)
    short = replace(multipart_answer(THREE[:1]), status=status)

    def handle(request: Request) -> Answer:
        if request.path.endswith(instance(3)):
            return Answer(404)
        return but(archive, short, STUDY, SERIES)(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", *filter(None, [path]), "-o", "out")
    assert result.code == 1
    assert f"{instance(3)} failed: answered 404" in result.err
    assert "retrieved 2, skipped 0, failed 1;" in result.last
    assert tree(tmp_path / "out") == archive.tree(instance(1)) | archive.tree(instance(2))


@pytest.mark.parametrize("listed", [True, False])
def test_partial_content_is_no_success_even_if_all_that_is_listed_came(
    dcmweb: Dcmweb, tmp_path: Path, listed: bool
) -> None:
    archive = Archive(*THREE)

    def handle(request: Request) -> Answer:
        if request.path.endswith(LEVELS) and not listed:
            return Answer(501)
        return but(archive, replace(multipart_answer(THREE), status=206), STUDY)(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 1
    assert f"{STUDY} failed: " in result.err
    assert tree(tmp_path / "out") == archive.tree()


def test_a_server_that_lists_nothing_is_believed_with_a_note(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*THREE)

    def handle(request: Request) -> Answer:
        return Answer(501) if request.path.endswith(LEVELS) else archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert f"{STUDY}: the server lists no instances to compare with" in result.err
    assert tree(tmp_path / "out") == archive.tree()


@pytest.mark.parametrize("listing", [Answer(401), HTML, Answer(200, b'[{"0020'), Answer(cut=-1)])
def test_a_store_that_cannot_be_listed_is_no_success(
    dcmweb: Dcmweb, tmp_path: Path, listing: Answer
) -> None:
    with serving(but(Archive(*THREE), listing, "studies")) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out")
    assert result.code in (4, 5, 6, 8)
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("listing", [Answer(500), Answer(200, b'[{"0020')])
def test_a_store_whose_list_breaks_off_at_a_page_is_no_success(
    dcmweb: Dcmweb, tmp_path: Path, listing: Answer
) -> None:
    archive = Archive(THREE[0], *make_series(1, "1.9", "1.9.1"), page=1)

    def handle(request: Request) -> Answer:
        return listing if "offset" in request.query else archive(request)

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out")
    assert result.code != 0
    assert tree(tmp_path / "out").items() <= archive.tree().items()


# Answers that are something else.


WITHOUT_INSTANCES = {
    "a web page": (HTML, 8),
    "a web page called DICOM": (replace(HTML, headers={"Content-Type": "application/dicom"}), 8),
    "JSON": (Answer(200, b"{}", {"Content-Type": "application/json"}), 8),
    "nothing": (Answer(200, b"", {"Content-Type": "application/dicom"}), 8),
    "junk in a part": (Answer(200, multipart_body([b"<html>"]), RELATED), 8),
    "no delimiter": (Answer(200, b"text\r\n" + multipart_body(THREE, boundary="x"), RELATED), 8),
    "404": (Answer(404), 3),
    "401": (Answer(401), 4),
    "500": (Answer(500), 5),
}


@pytest.mark.parametrize(
    ("path", "name"),
    [(STUDY, name) for name in WITHOUT_INSTANCES]
    + [(instance(1), name) for name in ("a web page", "junk in a part", "404")],
)
def test_an_answer_without_instances_has_the_exit_code_of_its_kind(
    dcmweb: Dcmweb, tmp_path: Path, path: str, name: str
) -> None:
    answer, code = WITHOUT_INSTANCES[name]
    with serving(lambda r: Answer(404) if r.path.endswith(LEVELS) else answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", path, "-o", "out")
    assert result.code == code
    assert "Error: " in result.err
    assert result.last.endswith("stopped early")
    assert tree(tmp_path / "out") == {}


def test_a_redirect_to_what_is_no_web_server_is_no_matter_of_the_network(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(302, headers={"Location": "ftp://127.0.0.1/"})) as origin:
        result = dcmweb("--retries", "1", origin.url, "retrieve", instance(1))
    assert result.code in (5, 8)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("location", ["http://[bad/x", "http://127.0.0.1:abc/", "http://x:99999/"])
def test_a_redirect_to_what_is_no_address_is_a_matter_of_protocol(
    dcmweb: Dcmweb, location: str
) -> None:
    with serving(lambda _: Answer(302, headers={"Location": location})) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", instance(1))
    assert result.code == 8


def test_a_time_to_come_back_beyond_all_calendars_is_not_waited_for(dcmweb: Dcmweb) -> None:
    never = {"Retry-After": "Sat, 31 Dec 99999999999999 23:59:59 GMT"}
    with serving(lambda _: Answer(503, headers=never)) as origin:
        result = dcmweb("--retries", "1", origin.url, "retrieve", instance(1))
    assert result.code == 5
    assert len(origin.requests) == 2


def test_a_later_page_that_is_cut_before_it_begins_is_no_end_of_results(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    files = [make_instance(f"1.2.{n}", f"1.2.{n}.1", f"1.2.{n}.1.1") for n in range(6)]
    archive, cuts = Archive(*files, page=3), [Answer(200, close=True)]

    def handle(request: Request) -> Answer:
        return cuts.pop() if cuts and "offset=3" in request.query else archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert (result.code, cuts) == (0, [])
    assert tree(tmp_path / "out") == archive.tree()


def test_one_series_that_fails_does_not_keep_the_others_away(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*[data for n in range(9) for data in make_series(2, "1.2.3", f"1.2.3.{n}")])
    bad = f"{STUDY}/series/1.2.3.4"
    with serving(but(archive, Answer(500), bad, f"{bad}/instances")) as origin:
        result = dcmweb("-m", "--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 1
    assert f"{bad} failed: " in result.err
    assert len(tree(tmp_path / "out")) == 16


def test_instances_that_share_a_uid_in_two_series_are_both_fetched(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    twins = [make_instance("1.2.3", f"1.2.3.{n}", "1.2.3.4.5") for n in (1, 2)]
    archive = Archive(*twins)
    rows = json_answer([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, **count(2)}])

    def handle(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            return rows if "offset" not in request.query else Answer(204)
        if request.path.endswith(STUDY):
            return multipart_answer(twins[:1])
        return archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def count(number: int) -> dict[str, Any]:
    return {"00201208": {"vr": "IS", "Value": [number]}}


@pytest.mark.parametrize("path", ["", instance(1)], ids=["store", "instance"])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    dcmweb: Dcmweb, tmp_path: Path, path: str
) -> None:
    archive = Archive(*THREE)
    busy = [Answer(503, headers={"Retry-After": "0"}), Answer(cut=-1)]

    def handle(request: Request) -> Answer:
        retrieval = not request.path.endswith(LEVELS)
        return busy.pop() if busy and retrieval else archive(request)

    with serving(handle) as origin:
        result = dcmweb(
            "--retries", "2", origin.url, "retrieve", *filter(None, [path]), "-o", "out"
        )
    assert result.code == 0
    assert result.last.endswith("2 retries")
    assert tree(tmp_path / "out") == archive.tree(path)


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["serial", "parallel"])
def test_one_study_that_fails_does_not_keep_the_others_away(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    archive = Archive(*[data for n in "789" for data in make_series(1, f"1.{n}", f"1.{n}.1")])

    def handle(request: Request) -> Answer:
        return Answer(500) if "/studies/1.8" in request.path else archive(request)

    with serving(handle) as origin:
        result = dcmweb(*mode, "--retries", "0", origin.url, "retrieve", "-o", "out")
    assert result.code == 1
    assert "studies/1.8 failed: answered 500" in result.err
    assert "retrieved 2, skipped 0, failed 1;" in result.last
    assert tree(tmp_path / "out") == archive.tree("studies/1.7") | archive.tree("studies/1.9")


def test_an_error_that_ends_the_run_is_the_outcome_of_one_item(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    """Not of the series and of its study as well."""
    archive = Archive(*make_series(2), *make_series(2, series="1.2.3.5"), *make_series(1, "1.9"))
    refused = but(archive, Answer(401), f"{STUDY}/series/1.2.3.5")
    with serving(refused) as origin:
        result = dcmweb("-m", origin.url, "retrieve", STUDY, "studies/1.9", "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    failed = [e["item"] for e in events if e["type"] == "failed"]
    assert (result.code, failed) == (4, [f"{STUDY}/series/1.2.3.5"])


# Instances nobody asked for.


@pytest.mark.parametrize("kind", ["multipart", "single"])
def test_another_instance_than_the_one_asked_for_is_not_written(
    dcmweb: Dcmweb, tmp_path: Path, kind: str
) -> None:
    single = Answer(200, THREE[1], {"Content-Type": "application/dicom"})
    answer = single if kind == "single" else multipart_answer([THREE[1]])
    with serving(but(Archive(*THREE), answer, instance(1))) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", instance(1), "-o", "out")
    assert result.code == 8
    assert "the server sent instance 1.2.3.4.2 instead" in result.err
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("path", "stranger"),
    [
        (STUDY, make_instance("1.9", "1.2.3.4", "1.2.3.4.9")),
        (SERIES, make_instance("1.2.3", "1.2.3.5", "1.2.3.4.9")),
        (SERIES, make_instance("1.9", "1.2.3.4", "1.2.3.4.9")),
    ],
    ids=["of another study", "of another series", "of the series in another study"],
)
def test_a_stranger_in_a_stream_is_not_written_and_the_others_are(
    dcmweb: Dcmweb, tmp_path: Path, path: str, stranger: bytes
) -> None:
    archive = Archive(*THREE)
    answer = multipart_answer([THREE[0], stranger, *THREE[1:]])
    with serving(but(archive, answer, path)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", path, "-o", "out")
    assert result.code == 0  # all that the server lists is there
    assert tree(tmp_path / "out") == archive.tree()


def test_a_part_that_is_no_dicom_is_not_written_and_the_others_are(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*THREE)
    answer = multipart_answer([THREE[0], b"<html>sorry</html>", b"", *THREE[1:]])
    with serving(but(archive, answer, STUDY)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0  # all that the server lists is there
    assert tree(tmp_path / "out") == archive.tree()


def test_what_is_wrong_with_a_stream_is_an_error_where_nothing_is_listed(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*THREE)
    answer = multipart_answer([*THREE, b"junk"])

    def handle(request: Request) -> Answer:
        return answer if request.path.endswith(STUDY) else Answer(501)

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 8
    assert tree(tmp_path / "out") == archive.tree()


def test_an_instance_that_comes_twice_counts_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*THREE)
    with serving(but(archive, multipart_answer([*THREE, *THREE]), STUDY)) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert "in 3 files: retrieved 3," in result.last
    assert tree(tmp_path / "out") == archive.tree()


# UIDs made to do harm.

GOOD = make_series(2, "1.9", "1.9.1")
HOSTILE = {
    "up": "../../x",
    "slash": "a/b",
    "only dots": "..",
    "dot": ".",
    "absolute": "/etc/x",
    "backslash": "..\\x",
    "escape sequence": "1\x1b[31mx",
    "line break": "1\n2",
    "direction": "1\u202e2",
    "null in the middle": "1\x002",
    "query": "1?x=y#z",
    "encoded": "%2e%2e%2fx",
    "empty": "",
    "space": " ",
    "very long": "1." * 500 + "1",
}


def row(*uids: str | None) -> dict[str, Any]:
    return {
        tag: {"vr": "UI", "Value": [uid]}
        for tag, uid in zip(UIDS, uids, strict=False)
        if uid is not None
    }


def assert_harmless(stderr: str) -> None:
    assert all(c == "\n" or c.isprintable() for c in stderr)


@pytest.mark.parametrize("level", ["studies", "instances"])
def test_hostile_uids_in_search_results_are_named_failures(
    dcmweb: Dcmweb, tmp_path: Path, level: str
) -> None:
    archive = Scripted(*GOOD)
    bad = [*HOSTILE.values(), None]
    if level == "studies":
        rows = [row("1.9"), *(row(uid) for uid in bad)]
    else:
        keys = list(archive.files)
        rows = [row(*keys[0]), *(row("1.9", "1.9.1", uid) for uid in bad), row(*keys[1])]

    def handle(request: Request) -> Answer:
        path = request.path.removeprefix("/dicomweb/")
        if path == ("studies" if level == "studies" else "studies/1.9/instances"):
            return json_answer([] if "offset" in request.query else rows)
        return archive(request) if re.search("/1[.]9|studies$", path) else Answer(404)

    inside = tmp_path / "deep" / "down" / "out"
    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", inside)
    assert result.code == 1
    assert f"retrieved 2, skipped 0, failed {len(bad)};" in result.last
    assert tree(inside) == archive.tree()
    assert tree(tmp_path / "deep") == {f"down/out/{k}": v for k, v in archive.tree().items()}
    assert_harmless(result.err)


def test_a_server_that_serves_hostile_uids_is_kept_inside_the_output(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Scripted()
    real = ("1.2.345", "1.2.346", "1.2.347")
    for hostile in (
        ("../../x", "../../y", "../../z"),
        ("/tmp/xx", "....//y", "a/b/c/d"),
        ("1 2 3 4", "%2e%2e/", "1?x=y#z"),
        ("-rf.1.2", "~root..", ".hidden"),
    ):
        data = make_instance(*real)
        for honest, forged in zip(real, hostile, strict=True):
            data = data.replace(honest.encode(), forged.encode())
        archive.files[hostile] = data
    inside = tmp_path / "deep" / "down" / "out"
    with serving(archive) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", inside)
    assert result.code == 0
    assert tree(tmp_path / "deep") == {
        f"down/out/{'/'.join(map(uid_name, uids))}.dcm": data
        for uids, data in archive.files.items()
    }
    places = tree(inside)
    assert all(re.fullmatch(r"(?:[\w-][\w.-]*/){2}[\w-][\w.-]*[.]dcm", name) for name in places)


HONEST = ("1.2.3.4567890", "1.2.3.4.56789")


@pytest.mark.parametrize(
    ("where", "uid"),
    [
        ("series", "../../../evil"),
        ("instance", "../../../evil"),
        ("instance", "1\x1b[31mX234567"),
        ("instance", "............."),
    ],
)
def test_hostile_uids_within_a_file_lead_nowhere(
    dcmweb: Dcmweb, tmp_path: Path, where: str, uid: str
) -> None:
    honest = make_instance("1.2.3", *HONEST)
    replaced = HONEST[where == "instance"].encode()
    forged = honest.replace(replaced, uid.encode()[:13].ljust(13, b"x"))
    single = f"{STUDY}/series/{HONEST[0]}/instances/{HONEST[1]}"
    inside = tmp_path / "deep" / "down" / "out"
    with serving(but(Scripted(honest), multipart_answer([forged]), STUDY, single)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", STUDY, "-o", inside)
    assert all(name.startswith("down/out/1.2.3/") for name in tree(tmp_path / "deep"))
    assert len(tree(tmp_path)) == len(tree(inside))
    assert_harmless(result.err)
    if where == "instance":  # not the one that is listed
        assert result.code == 1
        assert f"{single} failed: " in result.err
        assert f"1.2.3/{HONEST[0]}/{HONEST[1]}.dcm" not in tree(inside)


def test_uids_that_would_share_a_name_do_not_overwrite_each_other(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Scripted()
    model = make_instance("1.2.3", "1.2.3.4", "1.2.3.99")
    for uid in ("1.2/3.99", "1.2?3.99", "1.2_3.99", "1.2 3.99"):
        archive.files["1.2.3", "1.2.3.4", uid] = model.replace(b"1.2.3.99", uid.encode())
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted(archive.files.values())
    assert "1.2.3/1.2.3.4/1.2_3.99.dcm" in tree(tmp_path / "out")


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_after_a_break_what_is_missing_comes_in_smaller_streams(
    dcmweb: Dcmweb, tmp_path: Path, mode: list[str]
) -> None:
    archive = Archive(*make_series(30), *make_series(30, series="1.2.3.5"))
    breaks = {"/dicomweb/studies/1.2.3": [5], "/dicomweb/studies/1.2.3/series/1.2.3.5": [4, 25]}

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if left := breaks.get(request.path):
            return replace(answer, cut=left.pop(0) * len(answer.body) // 60)
        return answer

    with serving(handle) as origin:
        result = dcmweb(*mode, origin.url, "retrieve", "-o", "out")
    assert (result.code, tree(tmp_path / "out")) == (0, archive.tree())
    assert "retrieved 60, skipped 0, failed 0;" in result.last
    one_by_one = [r for r in origin.requests if "/instances/" in r.path]
    assert len(one_by_one) <= 20
