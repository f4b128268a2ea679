"""Peers that move a byte now and then, in each phase of an exchange, and honest ones that are slow.

An answer that drips would come to its end after ten seconds: without a limit, a run would succeed.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.functional.archive import Archive, json_answer, multipart_answer
from tests.functional.certificates import HOSTS, context_of
from tests.functional.origin import PAUSE, Answer, Handler, Request, serving
from tests.functional.proxies import proxying
from tests.functional.storing import became, listening, read_body, read_head

FILE = make_instance()
STUDY = "studies/1.2.3"
ROWS = json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]).encode()
JSON = {"Content-Type": "application/dicom+json"}
LENGTH = 40  # bytes that drip: as many quarters of a second
HEAD, TAIL = slice(0, LENGTH), slice(-LENGTH, None)
SLOW = "is too slow: only "
ONCE = ("--timeout", "1", "--retries", "0")
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
TRAILER = b"X-Trailer: " + bytes(b"a" * 60) + b"\r\n\r\n"

PHASES = {
    "head": Answer(200, ROWS, JSON, drip=HEAD),
    "interim answer": Answer(200, ROWS, JSON, before=INTERIM * 3, drip=slice(0, 3 * len(INTERIM))),
    "body with a length": Answer(200, ROWS, JSON, drip=TAIL),
    "body until the end": Answer(200, ROWS, JSON, close=True, drip=TAIL),
    "chunks": Answer(200, ROWS, JSON, chunk=4, drip=TAIL),
    "large chunk": Answer(200, ROWS, JSON, chunk=1000, drip=TAIL),
    "many small chunks": Answer(200, ROWS, JSON, chunk=1, drip=slice(-60, None)),
    "size of a chunk": Answer(
        200, b"0" * 60 + b"%x\r\n%s\r\n0\r\n\r\n" % (len(ROWS), ROWS),
        {**JSON, "Transfer-Encoding": "chunked"}, close=True, drip=slice(110, 160),
    ),
    "trailers": Answer(
        200, b"%x\r\n%s\r\n0\r\n" % (len(ROWS), ROWS) + TRAILER,
        {**JSON, "Transfer-Encoding": "chunked"}, close=True, drip=TAIL,
    ),
    "error": Answer(404, b"", {"X-Words": "a" * 100}, drip=TAIL),
}  # fmt: skip


def first_page(answer: Answer) -> Handler:
    """Answer the first search of a run so, and the others with no rows."""
    return lambda request: json_answer([]) if "offset" in request.query else answer


@pytest.mark.parametrize("answer", PHASES.values(), ids=PHASES)
def test_an_answer_that_drips_has_stalled(dcmweb: Dcmweb, answer: Answer) -> None:
    with serving(first_page(answer)) as origin:
        result = dcmweb(*ONCE, origin.url, "search")
    assert (result.code, result.out) == (6, "")
    assert SLOW in result.err


@pytest.mark.parametrize("answer", PHASES.values(), ids=PHASES)
def test_the_same_answers_without_pauses_are_read(dcmweb: Dcmweb, answer: Answer) -> None:
    with serving(first_page(replace(answer, drip=None))) as origin:
        result = dcmweb(*ONCE, origin.url, "search", "--format", "json")
    assert result.code == (0 if answer.status == 200 else 3)


def test_the_bytes_of_tls_may_drip_no_more(dcmweb: Dcmweb, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    dripping = Answer(200, ROWS, JSON, drip=TAIL)
    with serving(first_page(dripping), context_of(authority.issue_cert(*HOSTS))) as origin:
        result = dcmweb(*ONCE, "--ca-bundle", "ca.pem", origin.url, "search")
    assert (result.code, result.out) == (6, "")
    assert SLOW in result.err


def test_a_proxy_that_drips_has_stalled(dcmweb: Dcmweb) -> None:
    with (
        serving(first_page(Answer(200, ROWS, JSON, drip=TAIL))) as origin,
        proxying("http") as proxy,
    ):
        result = dcmweb(*ONCE, "--proxy", proxy.url("http"), origin.url, "search")
    assert (result.code, result.out) == (6, "")
    assert SLOW in result.err


def test_what_dripped_is_asked_for_again(dcmweb: Dcmweb) -> None:
    answers = [Answer(200, ROWS, JSON, drip=TAIL), Answer(200, ROWS, JSON, drip=HEAD)]

    def handle(request: Request) -> Answer:
        if "offset" in request.query:
            return json_answer([])
        return answers.pop() if answers else Answer(200, ROWS, JSON)

    with serving(handle) as origin:
        result = dcmweb("--timeout", "1", origin.url, "search", "--format", "uids")
    assert (result.code, result.out) == (0, f"{STUDY}\n")
    assert answers == []


def test_a_stream_that_drips_is_given_up_and_made_good(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(FILE)
    dripping = [multipart_answer([FILE], drip=slice(400, 400 + LENGTH))]

    def handle(request: Request) -> Answer:
        is_stream = request.path.endswith(STUDY) and dripping
        return dripping.pop() if is_stream else archive(request)

    with serving(handle) as origin:
        result = dcmweb("--timeout", "1", origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert dripping == []
    assert len([one for one in origin.requests if "/metadata" not in one.path]) > 2
    assert tree(tmp_path / "out") == archive.tree()


@pytest.mark.parametrize("drip", [HEAD, TAIL], ids=["head", "body"])
@pytest.mark.parametrize("is_searched", [True, False], ids=["searched", "no search"])
def test_a_store_whose_answer_drips_is_settled_by_a_search(
    dcmweb: Dcmweb, tmp_path: Path, drip: slice, is_searched: bool
) -> None:
    write_files(tmp_path / "in", make_series(1))
    archive = Archive()

    def handle(request: Request) -> Answer:
        if request.method == "POST":
            return replace(archive.store(request), drip=drip)
        return archive(request) if is_searched else Answer(501)

    with serving(handle) as origin:
        result = dcmweb(*ONCE, origin.url, "store", "in")
    assert [one.method for one in origin.requests].count("POST") == 1
    assert [one.method for one in origin.requests].count("GET") >= 1
    assert became(result) == {"1.dcm": "uploaded" if is_searched else "unknown"}
    assert result.code == (0 if is_searched else 6)


def test_a_deletion_whose_answer_drips_is_unknown(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(200, b"", {"X-Words": "a" * 100}, drip=TAIL)) as origin:
        result = dcmweb(*ONCE, origin.url, "delete", STUDY, f"{STUDY}.4", "--yes")
    assert result.code == 6
    assert result.err.count(" unknown: the connection to ") == 2


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_receiver_that_takes_a_byte_now_and_then_has_stalled(
    dcmweb: Dcmweb, tmp_path: Path, is_tls: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = context_of(authority.issue_cert(*HOSTS)) if is_tls else None

    def take(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) if context else connection as peer:
            read_head(peer)
            while peer.recv(1):
                time.sleep(PAUSE)

    write_files(tmp_path / "in", [make_series(1)[0] + bytes(8_000_000)])
    with listening(take, buffer=4096) as url:
        there = url.replace("http:", "https:") if is_tls else url
        result = dcmweb(*ONCE, "--ca-bundle", "ca.pem", there, "store", "in")
    assert result.code == 6
    assert became(result) == {"1.dcm": "unknown"}


BLANK = b" " * 5


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, ROWS, JSON, before=INTERIM * 12, drip=slice(0, 12 * len(INTERIM)), drop=27),
        Answer(200, BLANK * 12 + ROWS, JSON, chunk=5, drip=slice(92, 92 + 12 * 10), drop=10),
        Answer(200, BLANK * 12 + ROWS, JSON, close=True, drip=slice(92, 92 + 60), drop=5),
    ],
    ids=["interim answers", "chunks of white space", "white space"],
)
def test_a_server_that_says_that_it_works_is_waited_for(dcmweb: Dcmweb, answer: Answer) -> None:
    with serving(first_page(answer)) as origin:
        result = dcmweb(*ONCE, origin.url, "search", "--format", "uids")
    assert (result.code, result.out) == (0, f"{STUDY}\n")


def test_an_honest_slow_answer_is_read(dcmweb: Dcmweb) -> None:
    answer = Answer(200, ROWS + b" " * 100, JSON, drip=slice(0, None), drop=20)
    with serving(first_page(answer)) as origin:
        result = dcmweb(*ONCE, origin.url, "search", "--format", "uids")
    assert (result.code, result.out) == (0, f"{STUDY}\n")


def test_a_kept_connection_has_the_whole_timeout_to_send(dcmweb: Dcmweb, tmp_path: Path) -> None:
    """Not only that for connecting."""
    requests: list[bytes] = []
    may_go_on = threading.Event()

    def take(connection: socket.socket) -> None:
        while (head := read_head(connection)) and head["Host"]:
            if requests:  # the second: nothing is read of it for a while
                may_go_on.wait(2.5)
            requests.append(read_body(connection, head))
            connection.sendall(b"HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n")

    large = [data + bytes(8_000_000) for data in make_series(2)]
    write_files(tmp_path / "in", large)
    limits = ("--timeout", "30", "--connect-timeout", "1", "--retries", "0")
    with listening(take, buffer=4096) as url:
        result = dcmweb(*limits, url, "store", "in")
    assert "nothing moved" not in result.err
    assert len(requests) >= len(large)
