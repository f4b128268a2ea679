"""`store` to servers that refuse, break off, stall or lie.

What counts is that each file is named, and called stored only when the server has all of it.
"""

from __future__ import annotations

import email.utils
import itertools
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, sent_parts
from tests.functional.origin import Answer, Handler, Request, serving
from tests.functional.storing import (
    became,
    first,
    listening,
    outcomes,
    posts,
    read_body,
    read_head,
    taking,
)

UPLOADED, FAILED, UNKNOWN = "uploaded", "failed", "unknown"
DAY = 24 * 3600  # seconds
LARGE = make_series(1)[0] + b"\0" * 8_000_000  # more than a server takes that does not read


def always(answer: Answer) -> Handler:
    return lambda _: answer


# Refusals that have nothing to do with what is sent.


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 4), (403, 4), (404, 3), (405, 5), (410, 3), (501, 5), (301, 5), (302, 5), (307, 5)],
)
def test_a_refusal_of_all_ends_the_run_at_once_and_names_the_files(
    dcmweb: Dcmweb, tmp_path: Path, status: int, code: int
) -> None:
    write_files(tmp_path / "in", make_series(3))
    with serving(lambda _: Answer(204)) as other:
        place = {"Location": f"{other.url}/studies"} if status < 400 else {}
        with serving(lambda _: Answer(status, headers=place)) as origin:
            result = dcmweb(origin.url, "store", "in")
    assert (result.code, result.out) == (code, "")
    assert f" -- Error: POST {origin.url}/studies: answered {status} " in result.err
    assert became(result) == dict.fromkeys(["1.dcm", "2.dcm", "3.dcm"], FAILED)
    assert "stored 0, skipped 0, failed 3;" in result.last
    assert result.last.endswith("stopped early")
    assert [r.method for r in origin.requests].count("POST") == 1
    assert other.requests == []


def test_a_token_that_has_expired_is_renewed_and_all_is_sent_again(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    archive = Archive()

    def store(request: Request) -> Answer:
        if request.headers["authorization"] == "Bearer new":
            return archive.store(request)
        token.write_text("new\n")  # as whoever renews it does in the meantime
        return Answer(401)

    files = make_series(3)
    write_files(tmp_path / "in", files)
    with serving(taking(archive, store)) as origin:
        result = dcmweb("--token-file", "token", origin.url, "store", "in")
    assert result.code == 0
    assert [sent_parts(request) for request in posts(origin)] == [files, files]
    assert result.last.endswith("0 retries")


# Servers that are busy.

RETRY_AFTER = {
    "none": (None, True),
    "seconds": (lambda: "0", True),
    "date": (lambda: email.utils.formatdate(time.time() - DAY, usegmt=True), True),
    "nonsense": (lambda: "soon", True),
    "too many seconds": (lambda: "86400", False),
    "date too far away": (lambda: email.utils.formatdate(time.time() + DAY, usegmt=True), False),
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("when", RETRY_AFTER)
def test_a_busy_server_is_sent_all_again_when_it_says(
    dcmweb: Dcmweb, tmp_path: Path, status: int, when: str
) -> None:
    value, soon = RETRY_AFTER[when]
    busy = Answer(status, headers={"Retry-After": value()} if value else {})
    archive = Archive()
    files = make_series(1)
    write_files(tmp_path / "in", files)
    with serving(taking(archive, first([always(busy)] * 2, archive.store))) as origin:
        result = dcmweb("--retries", "2", origin.url, "store", "in")
    sent = [sent_parts(request) for request in posts(origin)]
    assert sent == [files] * (3 if soon else 1)  # nobody waits for longer than the run may take
    assert result.code == (0 if soon else 5)
    assert became(result) == {"1.dcm": UPLOADED if soon else FAILED}
    assert f"{2 if soon else 0} retries" in result.last


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_that_is_never_well_is_the_error_of_the_run(
    dcmweb: Dcmweb, tmp_path: Path, status: int
) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(lambda _: Answer(status, b"come again")) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    # A proxy does not know what became of it, and nobody else can be asked.
    outcome = UNKNOWN if status in (502, 504) else FAILED
    assert result.code == 5
    assert became(result) == {"1.dcm": outcome, "2.dcm": outcome}
    assert "come again" in outcomes(result)["1.dcm"][1]


def test_a_run_to_a_server_that_has_ceased_to_be_well_stops(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1) * 20)  # of one UID: each a request of its own
    archive = Archive()
    with serving(first([archive.store] * 3, always(Answer(500)))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert result.code == 5
    assert list(became(result).values()) == [UPLOADED] * 3 + [FAILED] * 5
    assert result.last.endswith("stopped early")
    assert len(origin.requests) == 8


# Connections that break.

BREAKS: dict[str, Callable[[Answer], Answer]] = {
    "before the answer": lambda a: Answer(cut=-1),
    "before the body": lambda a: replace(a, cut=0),
    "in the body": lambda a: replace(a, cut=40),
    "in a chunk": lambda a: replace(a, chunk=50, cut=80),
    "before the last chunk": lambda a: replace(
        a, chunk=9999, cut=len(f"{len(a.body):x}\r\n\r\n") + len(a.body)
    ),
    "before what Content-Length says": lambda a: replace(
        a, length=len(a.body) + 9, cut=len(a.body)
    ),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("kept", [False, True], ids=["lost", "kept"])
def test_after_a_broken_connection_all_is_sent_again_and_then_what_a_search_does_not_find(
    dcmweb: Dcmweb, tmp_path: Path, name: str, kept: bool
) -> None:
    archive = Archive()
    store = archive.store if kept else Archive().store
    files = make_series(3)
    write_files(tmp_path / "in", files)
    broken: list[Handler] = [lambda request: BREAKS[name](store(request))] * 2
    with serving(taking(archive, first(broken, archive.store))) as origin:
        result = dcmweb("--retries", "2", origin.url, "store", "in")
    assert result.code == 0
    again = [] if kept else [[file] for file in files]
    assert [sent_parts(request) for request in posts(origin)] == [files, files, *again]
    assert sorted(archive.files.values()) == sorted(files)
    assert "stored 3, skipped 0, failed 0;" in result.last
    assert result.last.endswith("1 retry")


@pytest.mark.parametrize("name", BREAKS)
def test_a_connection_that_breaks_each_time_is_no_success(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    archive, store = Archive(), Archive()
    write_files(tmp_path / "in", make_series(2))
    with serving(taking(archive, lambda r: BREAKS[name](store.store(r)))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert result.code == 1
    assert became(result) == {"1.dcm": FAILED, "2.dcm": FAILED}
    assert "broke" in outcomes(result)["1.dcm"][1]


@pytest.mark.parametrize("name", BREAKS)
def test_where_only_the_answers_break_a_search_tells(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(2))
    with serving(taking(archive, lambda r: BREAKS[name](archive.store(r)))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert (result.code, became(result)) == (0, {"1.dcm": UPLOADED, "2.dcm": UPLOADED})
    assert "a search finds it" in outcomes(result)["1.dcm"][1]


def test_a_refusal_does_not_answer_for_an_earlier_request(dcmweb: Dcmweb, tmp_path: Path) -> None:
    """The answer got lost, and so did that to the search: the server has what it refuses now."""
    archive, searches = Archive(), [Answer(cut=-1)] * 2

    def keep(request: Request) -> Answer:
        archive.store(request)
        return Answer(cut=-1)

    def handle(request: Request) -> Answer:
        if request.method == "GET" and searches:
            return searches.pop()
        return archive(request)

    write_files(tmp_path / "in", make_series(2))
    with serving(taking(handle, first([keep], lambda _: Answer(409)))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert (result.code, became(result)) == (0, {"1.dcm": UPLOADED, "2.dcm": UPLOADED})


def test_a_content_length_that_is_too_short_leaves_what_was_stored_to_be_searched_for(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()

    def short(request: Request) -> Answer:
        answer = archive.store(request)
        return replace(answer, length=len(answer.body) - 20)

    write_files(tmp_path / "in", make_series(2))
    with serving(taking(archive, short)) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert (result.code, became(result)) == (0, {"1.dcm": UPLOADED, "2.dcm": UPLOADED})
    assert "a search finds it" in outcomes(result)["1.dcm"][1]
    assert len(posts(origin)) == 1


def test_a_head_that_breaks_off_is_no_success(dcmweb: Dcmweb, tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        read_body(connection, read_head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Ty")
        connection.shutdown(socket.SHUT_RDWR)

    write_files(tmp_path / "in", make_series(1))
    with listening(answer) as url:
        result = dcmweb("--retries", "0", url, "store", "in")
    assert result.code in (1, 8)
    assert became(result)["1.dcm"] in (FAILED, UNKNOWN)


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False], ids=["answers no more", "reads no more"])
def test_a_server_that_stalls_is_given_up(dcmweb: Dcmweb, tmp_path: Path, reads: bool) -> None:
    def stall(connection: socket.socket) -> None:
        head = read_head(connection)
        if reads:
            read_body(connection, head)

    write_files(tmp_path / "in", [LARGE])
    with listening(stall, buffer=4096) as url:
        result = dcmweb("--timeout", "1", "--retries", "0", url, "store", "in")
    assert result.code == 6
    assert became(result) == {"1.dcm": UNKNOWN}
    assert "nothing moved between here and " in outcomes(result)["1.dcm"][1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer", [Answer(200, b"{}", stall=0), Answer(200, b"{}", stall=1), Answer(length=9)]
)
def test_after_an_answer_that_stalls_all_is_sent_again_in_smaller_requests(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer
) -> None:
    archive = Archive()
    files = make_series(2)
    write_files(tmp_path / "in", files)
    with serving(taking(archive, first([always(answer)], archive.store))) as origin:
        result = dcmweb("--timeout", "1", origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    sent = [sent_parts(request) for request in posts(origin)]
    assert sent == [files, *([file] for file in files)]


# Servers that answer before they have read.


def turning_away(archive: Archive, most: int, *, reset: bool) -> Callable[[socket.socket], None]:
    """A server that reads of a request that is too large no more than the head."""

    def serve(connection: socket.socket) -> None:
        head = read_head(connection)
        if head["Content-Length"] is None:  # a search
            answer, content = b"200 OK", b"[]"
        elif int(head["Content-Length"]) > most:
            answer, content = b"413 Too Much", b""
        else:
            fields = {"content-type": str(head["Content-Type"])}
            body = read_body(connection, head)
            stored = archive.store(Request("POST", "/dicomweb/studies", fields, body, 0))
            answer, content = b"200 OK", stored.body
        fixed = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
        connection.sendall(fixed % (answer, len(content), content))
        connection.shutdown(socket.SHUT_WR)
        if not reset:
            while connection.recv(65536):
                pass
        connection.close()  # which resets it when there is something unread

    return serve


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "reset"])
def test_a_server_that_turns_a_large_request_away_unread_is_sent_smaller_ones(
    dcmweb: Dcmweb, tmp_path: Path, reset: bool
) -> None:
    files = [one + b"\0" * 1_000_000 for one in make_series(4)]
    write_files(tmp_path / "in", files)
    archive = Archive()
    with listening(turning_away(archive, 2_100_000, reset=reset), buffer=4096) as url:
        result = dcmweb("--retries", "1", url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert sorted(archive.files.values()) == sorted(files)


def test_an_instance_that_is_turned_away_unread_is_failed(dcmweb: Dcmweb, tmp_path: Path) -> None:
    small = make_series(2)[1]
    write_files(tmp_path / "in", [LARGE, small])
    archive = Archive()
    with listening(turning_away(archive, 100_000, reset=False), buffer=4096) as url:
        result = dcmweb("--retries", "0", url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": FAILED, "2.dcm": UPLOADED})
    assert "answered 413 " in outcomes(result)["1.dcm"][1]
    assert list(archive.files.values()) == [small]


# Many files over a bad line.

MANY = make_series(300)
MOST = 12 * len(MANY[0])  # bytes in a request, so that there are many


@pytest.mark.slow
@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["serial", "parallel"])
def test_over_a_bad_line_all_files_arrive(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    archive = Archive()
    chance = random.Random(7)

    def store(request: Request) -> Answer:
        if len(request.body) > MOST:
            return Answer(413)
        if chance.random() < 0.15:
            return Answer(cut=-1)
        answer = archive.store(request)
        return replace(answer, cut=chance.choice([-1, 0, 50])) if chance.random() < 0.15 else answer

    write_files(tmp_path / "in", MANY)
    with serving(taking(archive, store)) as origin:
        result = dcmweb(*mode, "--retries", "20", origin.url, "store", "in")
    assert result.code == 0
    assert list(became(result).values()) == [UPLOADED] * 300
    assert "stored 300, skipped 0, failed 0;" in result.last
    assert sorted(archive.files.values()) == sorted(MANY)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["serial", "parallel"])
def test_over_a_bad_line_without_retries_each_file_is_named_and_none_is_stored_untruly(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    archive = Archive()
    fates = itertools.cycle([None, -1, None, 0, None, 50, None])  # never many in a row

    def store(request: Request) -> Answer:
        if len(request.body) > MOST:
            return Answer(413)
        fate = next(fates)
        if fate == -1:  # the request got lost; elsewhere, it is the answer
            return Answer(cut=fate)
        return replace(archive.store(request), cut=fate)

    paths = write_files(tmp_path / "in", MANY)
    with serving(taking(archive, store)) as origin:
        result = dcmweb(*mode, "--retries", "0", origin.url, "store", "in")
    named = became(result)
    assert named.keys() == {path.name for path in paths}
    uploaded = [path.read_bytes() for path in paths if named[path.name] == UPLOADED]
    assert sorted(uploaded) == sorted(archive.files.values())
    failed = 300 - len(uploaded)
    assert f"stored {len(uploaded)}, skipped 0, failed {failed};" in result.last
    assert list(named.values()).count(FAILED) == failed
    assert result.code == (failed > 0)
