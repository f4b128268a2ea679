"""Requests that arrive slowly, on sockets of the archive's server with short limits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from dcmweb.archive import connections, slow_clients
from dcmweb.archive.connections import ArchiveServer
from dcmweb.archive.slow_clients import Pace
from tests.functional.archives import LONG

SHORT = 0.2  # seconds
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


LARGE = 64 * 1024 * 1024


def read_all(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with the body of the request, or with much."""
    if environ["REQUEST_METHOD"] == "GET":
        start_response("200 OK", [("Content-Length", str(LARGE))])
        return iter([bytes(1024 * 1024)] * (LARGE // 1024 // 1024))
    body = environ["wsgi.input"].read(100)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Run a server with little patience for header fields; return its port."""
    monkeypatch.setattr(connections, "_HEADER_TIMEOUT", SHORT)
    server = ArchiveServer(("127.0.0.1", 0), "test")
    server.wsgi_app = read_all
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server.bind_addr[1]
    server.stop()
    thread.join()


def answer(port: int, *pieces: bytes, wait: float = 0) -> bytes:
    """Send pieces, with pauses between them, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), LONG) as connection:
        try:
            for number, piece in enumerate(pieces):
                time.sleep(wait if number else 0)
                connection.sendall(piece)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


def test_header_fields_that_stop_are_told_so(port: int) -> None:
    assert answer(port, HEAD).startswith(b"HTTP/1.1 408 ")


def test_header_fields_that_drip_are_cut(port: int) -> None:
    """Each byte comes in time, and all of them do not."""
    assert answer(port, HEAD, *[b"X"] * 200, wait=SHORT / 10) == b""


def test_a_body_has_more_time_than_header_fields(port: int) -> None:
    whole = answer(port, HEAD + b"Content-Length: 3\r\n\r\n", b"abc", wait=2 * SHORT)
    assert whole.startswith(b"HTTP/1.1 200 ")
    assert whole.endswith(b"abc")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the usual pace a short one."""
    for module in (connections, slow_clients):
        monkeypatch.setattr(module, "USUAL", Pace(SHORT, 1e9))


@pytest.mark.usefixtures("impatient")
def test_a_body_that_drips_is_cut(port: int) -> None:
    assert answer(port, HEAD + b"Content-Length: 100\r\n\r\n", *[b"X"] * 99, wait=SHORT / 10) == b""


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_nobody_takes_is_cut(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), LONG) as connection:
        connection.sendall(b"GET" + HEAD[4:] + b"\r\n")
        time.sleep(2)  # by then, the server has looked
        came = 0
        with suppress(ConnectionError):
            while piece := connection.recv(1024 * 1024):
                came += len(piece)
    assert came < LARGE
