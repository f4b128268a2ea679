"""Requests whose end can be read in two ways, and the same instances stored and deleted at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_series
from tests.functional.archives import LONG, Running, path_of, post, rows_of, running

STUDY = "1.2.3"
HIDDEN = b"DELETE /dicomweb/studies/1.2.3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REQUEST = (
    b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
)
SIZE = str(len(HIDDEN)).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)

# How the end of the body is told, so that a server that reads it otherwise meets a request in it.
AMBIGUOUS = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: %s\r\n\r\n" % SIZE + HIDDEN,
    "two lengths the other way": b"Content-Length: %s\r\nContent-Length: 0\r\n\r\n" % SIZE + HIDDEN,
    "a list of lengths": b"Content-Length: 0, %s\r\n\r\n" % SIZE + HIDDEN,
    "a signed length": b"Content-Length: +%s\r\n\r\n" % SIZE + HIDDEN,
    "a length in hexadecimal": b"Content-Length: 0x%x\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a length with an underscore": b"Content-Length: 0_%s\r\n\r\n" % SIZE + HIDDEN,
    "a length in other digits": "Content-Length: ١٢\r\n\r\n".encode() + HIDDEN,
    "a length before chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "a length after chunks": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "space before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "chunks that are not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED,
    "chunks and identity": b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED,
    "chunks in two fields": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNKED,
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED,
    "a folded field": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED,
    "quoted chunks": b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKED,
    "an empty coding": b"Transfer-Encoding: \r\n\r\n" + CHUNKED,
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKED,
    "a name with a NUL": b"Content-Length\0: %s\r\n\r\n" % SIZE + HIDDEN,
    "a CR in a field": b"X: a\rContent-Length: %s\r\n\r\n" % SIZE + HIDDEN,
    "a bare LF in chunks": b"Transfer-Encoding: chunked\r\n\r\n0\n\n" + HIDDEN,
    "a LF in an extension": b"Transfer-Encoding: chunked\r\n\r\n1;\n" + CHUNKED,
    "a chunk that is longer": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n" + HIDDEN,
    "a trailer that is a length": b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\n\n"
    + HIDDEN,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


@pytest.fixture(autouse=True)
def study(server: Running) -> None:
    post(server, make_series(1))


def exchange(server: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), LONG) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


@pytest.mark.parametrize("way", AMBIGUOUS)
@pytest.mark.parametrize("method", [b"POST", b"GET", b"OPTIONS"])
def test_no_request_is_read_out_of_a_body(server: Running, way: str, method: bytes) -> None:
    request = REQUEST.replace(b"POST", method, 1)
    answer = exchange(server, request + AMBIGUOUS[way])
    assert server.get(f"studies/{STUDY}/instances").status_code == 200
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 5" not in answer.replace(b"HTTP/1.1 501", b"")


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_body_that_nobody_wants_is_not_read_as_a_request(server: Running, version: bytes) -> None:
    for way in (
        b"Content-Length: %s\r\n\r\n" % SIZE + HIDDEN,
        b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    ):
        for method in (b"GET", b"DELETE", b"HEAD", b"PUT"):
            head = method + b" /dicomweb/nothing " + version
            exchange(server, head + b"\r\nHost: localhost\r\nConnection: Keep-Alive\r\n" + way)
            assert server.get(f"studies/{STUDY}/instances").status_code == 200


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.00"])
def test_chunks_of_an_older_protocol_hide_nothing(server: Running, version: bytes) -> None:
    """A server that does not know chunks reads the line with the size as that of a request."""
    chunk = b"Host: localhost\r\n\r\n" + HIDDEN
    line = b"%X;X /dicomweb/studies HTTP/1.1\r\n" % len(chunk)
    head = REQUEST.replace(b"HTTP/1.1", version) + b"Connection: Keep-Alive\r\n"
    request = head + b"Transfer-Encoding: chunked\r\n\r\n" + line + chunk + b"\r\n0\r\n\r\n"
    assert exchange(server, request).startswith(b"HTTP/1.1 400 ")
    assert server.get(f"studies/{STUDY}/instances").status_code == 200


@pytest.mark.slow
def test_the_same_instances_are_stored_and_deleted_at_once(tmp_path: Path) -> None:
    """Whatever comes last, the index, the answers and the disk agree, also at the next start."""
    instances = make_series(6, "7.1", "7.1.1", 64)
    by_path = {path_of(data): data for data in instances}
    statuses: set[int] = set()
    folder = tmp_path / "folder"
    with running(folder) as server:

        def store() -> None:
            for data in instances * 4:
                statuses.add(post(server, [data]).status_code)

        def delete() -> None:
            for path in list(by_path) * 4:
                url = f"{server.url}/{path}"
                statuses.add(server.session.delete(url, timeout=LONG).status_code)

        threads = [threading.Thread(target=work) for work in (store, store, store, delete, delete)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses <= {200, 204, 404}
        rows = rows_of(server.get("studies/7.1/instances"))
        assert len(rows) == len(server.files())
        assert set(server.files().values()) <= set(instances)
        assert server.partial_files() == []
        before = sorted(server.files().values())
    with running(folder) as server:
        assert len(rows_of(server.get("studies/7.1/instances"))) == len(before)
        assert sorted(server.files().values()) == before
        for data in instances:
            post(server, [data])
        assert sorted(server.files().values()) == sorted(instances)


def test_a_field_with_an_underscore_does_not_stand_for_one_with_a_hyphen(server: Running) -> None:
    """It is ignored, as by proxies: the request has no body then."""
    first = b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent_Length: 500\r\n\r\n"
    last = first.replace(b"Content_Length: 500", b"Connection: close")
    assert exchange(server, first + last).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("twice", [b"Host: evil.example", b"host: localhost"])
def test_two_hosts_are_refused(server: Running, twice: bytes) -> None:
    request = b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n" + twice + b"\r\n\r\n"
    assert exchange(server, request).startswith(b"HTTP/1.1 400 ")
