"""Connections that hang, drip or are too many, and bodies that nobody reads; without a network."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cheroot.server import HTTPConnection, HTTPRequest

from dcmweb.archive import connections
from dcmweb.archive.connections import ArchiveServer, ChunkedBody, Gateway
from dcmweb.archive.slow_clients import CROWDED, USUAL, Progress


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def waiting(progress: Progress, clock: Clock, seconds: float, moved: int | None) -> None:
    """Have a client keep a thread waiting."""

    def move() -> int | None:
        clock.now += seconds
        return moved

    assert progress.wait_for(move) == moved


def test_a_client_is_waited_for_until_its_allowance_is_used_up() -> None:
    clock = Clock()
    progress = Progress(clock)
    for _ in range(4):
        waiting(progress, clock, CROWDED.seconds / 4, None)
        assert not progress.is_too_slow(CROWDED)
    clock.now += 1000  # in which the archive works
    assert not progress.is_too_slow(CROWDED)
    waiting(progress, clock, 0.5, 1)
    assert progress.is_too_slow(CROWDED)
    assert not progress.is_too_slow(USUAL)
    waiting(progress, clock, 0, int(USUAL.rate))  # bytes renew it
    waiting(progress, clock, USUAL.seconds - CROWDED.seconds, None)
    assert not progress.is_too_slow(USUAL)
    waiting(progress, clock, 1, None)
    assert progress.is_too_slow(USUAL)
    progress.renew()
    assert not progress.is_too_slow(USUAL)


def test_bytes_do_not_buy_more_than_the_whole_allowance() -> None:
    clock = Clock()
    progress = Progress(clock)
    waiting(progress, clock, 0, 10**9)
    waiting(progress, clock, USUAL.seconds + 1, None)
    assert progress.is_too_slow(USUAL)


def test_a_client_is_too_slow_while_it_is_waited_for() -> None:
    clock = Clock()
    progress = Progress(clock)
    seen: list[bool] = []

    def move() -> int:
        seen.append(progress.is_too_slow(USUAL))
        clock.now += USUAL.seconds + 1
        seen.append(progress.is_too_slow(USUAL))
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        progress.wait_for(move)
    assert seen == [False, True]
    assert progress.is_too_slow(USUAL)  # though nothing came


class Connection:
    """Stands in for a connection; a socket that was shut down says so."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.progress = Progress()
        self.is_cut = False
        self.is_shut = False
        self.socket = SimpleNamespace(shutdown=self._shutdown)
        self._error = error

    def _shutdown(self, _how: int) -> None:
        self.is_shut = True
        if self._error:
            raise self._error

    def wait(self, seconds: float) -> None:
        self.progress._count(seconds, 0)


@pytest.fixture
def server() -> ArchiveServer:
    return ArchiveServer(("127.0.0.1", 0), "test")


def held(server: ArchiveServer, *known: Any) -> None:
    for connection in known:
        server._open[connection] = None


def test_the_oldest_idle_connection_makes_room(server: ArchiveServer) -> None:
    server._most_connections = 3
    busy, oldest, other, new = (Connection() for _ in range(4))
    held(server, busy, oldest, other)
    with server.answering(busy):
        server._make_room()
        assert not oldest.is_cut
        held(server, new)
        server._make_room()
        server._make_room()
    assert [one.is_shut for one in (busy, oldest, other, new)] == [False, True, True, False]


def test_a_connection_that_is_gone_is_cut_without_harm(server: ArchiveServer) -> None:
    server._most_connections = 0
    held(server, Connection(OSError), connection := Connection())
    server._make_room()
    server._make_room()
    assert connection.is_shut


def test_connections_that_keep_threads_waiting_are_overdue(
    server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, dripping, good = (Connection() for _ in range(3))
    slow.wait(USUAL.seconds + 1)
    dripping.wait(CROWDED.seconds + 1)
    with server.answering(slow), server.answering(dripping), server.answering(good):
        assert server._overdue() == [slow]
        monkeypatch.setattr(type(server.requests), "is_crowded", True)
        assert set(server._overdue()) == {slow, dripping}
    assert server._overdue() == []


def test_header_fields_have_their_time(server: ArchiveServer) -> None:
    connection = Connection()
    with server.reading(connection):
        assert server._overdue() == []
        server._being_read[connection] -= connections._HEADER_TIMEOUT + 1
        assert server._overdue() == [connection]
    assert server._overdue() == []


@pytest.mark.parametrize("block", ["reading", "answering"])
def test_a_connection_that_fails_is_not_watched_any_more(server: ArchiveServer, block: str) -> None:
    connection = Connection()
    with pytest.raises(OSError, match="broken"), getattr(server, block)(connection):
        raise OSError("broken")
    assert (server._being_read, server._being_answered) == ({}, set())


def test_an_overdue_connection_is_cut_by_the_watch(server: ArchiveServer) -> None:
    connection = Connection()
    connection.wait(USUAL.seconds + 1)
    waits = iter([False, True])
    server._stopped = SimpleNamespace(wait=lambda _seconds: next(waits))  # type: ignore[assignment]
    with server.answering(connection):
        server._watch()
    assert connection.is_shut


@pytest.mark.parametrize(
    ("queued", "idle", "threads", "is_crowded"),
    [(1, 0, 3, True), (0, 0, 3, False), (1, 1, 3, False), (1, 0, 2, False)],
)
def test_the_archive_is_crowded_if_requests_wait_for_threads(
    server: ArchiveServer, queued: int, idle: int, threads: int, is_crowded: bool
) -> None:
    pool: Any = server.requests
    pool.max = 3
    pool._threads = [SimpleNamespace(conn=None if n < idle else n + 1) for n in range(threads)]
    for _ in range(queued):
        pool._queue.put(None)
    assert pool.is_crowded == is_crowded


def test_threads_are_added_while_all_are_busy(server: ArchiveServer) -> None:
    pool: Any = server.requests
    grown: list[int] = []
    pool.grow = grown.append
    pool._threads = [SimpleNamespace(conn=None)]
    pool.put(1)
    assert grown == []
    pool.put(2)
    assert grown == [connections._FIRST_WORKERS]


# What is left of a body.


def gateway(file: Any, chunked: ChunkedBody | None = None) -> tuple[Gateway, Any]:
    made = Gateway.__new__(Gateway)
    made.req = SimpleNamespace(
        rfile=file, close_connection=False, sent_headers=False, outheaders=[], status=b""
    )
    made._chunked = chunked
    made.started_response = False
    return made, made.req


@pytest.mark.parametrize(
    ("left", "closes"), [(0, False), (connections._LONGEST_REST, False), (10**6, True)]
)
def test_a_long_rest_of_a_body_ends_the_connection(left: int, closes: bool) -> None:
    made, request = gateway(SimpleNamespace(remaining=left))
    made.start_response("204 NO CONTENT", [])
    assert request.close_connection is closes


@pytest.mark.parametrize(
    ("rest", "closes"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", False),
        (b"FFFFF\r\n" + bytes(0xFFFFF) + b"\r\n0\r\n\r\n", True),
        (b"3\r\nabcd\r\n", True),
    ],
)
def test_a_long_or_malformed_rest_of_chunks_ends_the_connection(rest: bytes, closes: bool) -> None:
    file = io.BytesIO(rest)
    made, request = gateway(None, ChunkedBody(file))
    made.start_response("204 NO CONTENT", [])
    assert request.close_connection is closes
    assert file.tell() <= connections._LONGEST_REST + 10


def test_the_application_may_end_a_connection() -> None:
    made, request = gateway(SimpleNamespace(remaining=0))
    made.start_response("400 BAD REQUEST", [("Connection", "close")])
    assert request.close_connection is True


# How many there may be.


class Limits:
    """Stands in for the module `resource`."""

    RLIMIT_NOFILE, RLIM_INFINITY = 7, -1

    def __init__(self, soft: int, hard: int, error: type[Exception] | None = None) -> None:
        self.soft, self.hard, self.error = soft, hard, error

    def getrlimit(self, _kind: int) -> tuple[int, int]:
        return self.soft, self.hard

    def setrlimit(self, _kind: int, limits: tuple[int, int]) -> None:
        if self.error:
            raise self.error
        self.soft, self.hard = limits


WANTED = connections._KEPT_CONNECTIONS + connections._OTHER_FILES


@pytest.mark.parametrize(
    ("limits", "soft", "most"),
    [
        (Limits(1024, WANTED), WANTED, connections._KEPT_CONNECTIONS),
        (Limits(1024, -1), WANTED, connections._KEPT_CONNECTIONS),
        (Limits(10**6, -1), 10**6, connections._KEPT_CONNECTIONS),
        (Limits(1024, 1500), 1024, connections._FEWEST_CONNECTIONS),
        (Limits(1500, WANTED, OSError), 1500, 1500 - connections._OTHER_FILES),
        (Limits(1500, WANTED, ValueError), 1500, 1500 - connections._OTHER_FILES),
    ],
)
def test_connections_leave_files_to_open(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, soft: int, most: int
) -> None:
    monkeypatch.setitem(sys.modules, "resource", limits)
    assert connections._most_connections() == most
    assert limits.soft == soft


# What cheroot is told.


@pytest.fixture
def connection(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A connection of which cheroot's part says whether it has a thread, and is too slow."""
    made: Any = connections._Connection.__new__(connections._Connection)
    made.server, made.progress, made.seen = server, Progress(), []

    def communicate(self: Any) -> bool:
        is_answered = self in server._being_answered
        made.seen.append((is_answered, self.progress.is_too_slow(USUAL)))
        return True

    monkeypatch.setattr(HTTPConnection, "communicate", communicate)
    monkeypatch.setattr(HTTPConnection, "close", lambda self: made.seen.append("closed"))
    return made


def test_each_request_has_an_allowance_of_its_own(server: ArchiveServer, connection: Any) -> None:
    connection.progress._count(USUAL.seconds + 1, 0)
    assert connection.communicate() is True
    assert connection.seen == [(True, False)]
    assert server._being_answered == set()


def test_a_closed_connection_is_forgotten(server: ArchiveServer, connection: Any) -> None:
    held(server, connection)
    connection.close()
    assert connection.seen == ["closed"]
    assert server._open == {}


def test_a_new_connection_waits_without_a_thread_until_something_arrives(
    server: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked: list[Any] = []
    handed: list[Any] = []
    server._most_connections = 2
    monkeypatch.setattr(server, "put_conn", parked.append)
    monkeypatch.setattr(server.requests, "put", handed.append)
    first, second, third = (Connection() for _ in range(3))
    for connection in (first, second):
        server.process_conn(connection)
    assert (parked, handed) == ([first, second], [])
    server.process_conn(first)
    assert handed == [first]
    server.process_conn(third)  # which is one too many: the oldest is now the second
    assert [one.is_shut for one in (first, second, third)] == [False, True, False]


def test_header_fields_that_are_too_long_have_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        HTTPRequest, "simple_response", lambda _self, status, _msg: told.append(status)
    )
    request = connections._Request.__new__(connections._Request)
    request.simple_response("413 Request Entity Too Large")
    request.simple_response("400 Bad Request")
    assert told == ["431 Request Header Fields Too Large", "400 Bad Request"]


def test_a_body_whose_end_is_in_doubt_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HTTPRequest, "read_request_headers", lambda _self: True)
    request: Any = connections._Request.__new__(connections._Request)
    told: list[tuple[str, str]] = []
    request.simple_response = lambda status, words: told.append((status, words))
    request.inheaders, request.response_protocol = {b"Transfer-Encoding": b"chunked"}, "HTTP/1.1"
    assert request.read_request_headers() is True
    request.response_protocol = "HTTP/1.0"
    assert request.read_request_headers() is False
    assert told == [("400 Bad Request", "HTTP/1.0 has no Transfer-Encoding")]
    monkeypatch.setattr(HTTPRequest, "read_request_headers", lambda _self: False)
    assert request.read_request_headers() is False
    assert len(told) == 1


def test_the_limits_of_the_server_are_those_of_the_archive(server: ArchiveServer) -> None:
    assert server.max_request_header_size == connections._LONGEST_HEADER
    assert server.keep_alive_conn_limit == connections._KEPT_CONNECTIONS
    assert server.requests.max == connections._MOST_WORKERS
    assert server.timeout == connections._IDLE_TIMEOUT
