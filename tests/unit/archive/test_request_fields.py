"""Header fields and chunks of requests: what two servers could read in two ways is refused."""

from __future__ import annotations

import io

import pytest

from dcmweb.archive import connections
from dcmweb.archive.connections import ChunkedBody
from dcmweb.archive.request_fields import FieldReader, why_no_end

LENGTH, CODING = b"Content-Length", b"Transfer-Encoding"


def read(lines: bytes) -> dict[bytes, bytes]:
    return FieldReader()(io.BytesIO(lines + b"\r\n"))


def test_fields_are_read_up_to_the_empty_line() -> None:
    assert read(b"host: a\r\nX-A:\t b  c \r\nACCEPT:\r\n\r\nHost: b\r\n") == {
        b"Host": b"a",
        b"X-A": b"b  c",
        b"Accept": b"",
    }


def test_a_field_that_may_be_there_twice_becomes_a_list() -> None:
    assert read(b"Accept: a\r\naccept: b\r\n") == {b"Accept": b"a, b"}


@pytest.mark.parametrize(
    "name", ["Content-Length", "Transfer-Encoding", "Host", "Content-Type", "Authorization"]
)
def test_a_field_that_decides_something_is_there_once(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is there twice"):
        read(f"{name}: 1\r\n{name.upper()}: 1\r\n".encode())


def test_a_name_with_an_underscore_stands_for_no_other() -> None:
    assert read(b"Content_Length: 5\r\nContent_Length: 6\r\nX: y\r\n") == {b"X": b"y"}


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\n",
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X: a\0\r\n",
        b"X: a\r\r\n",
        b" X: a\r\n",
        b"X : a\r\n",
        b"X\0: a\r\n",
        b"\xff: a\r\n",
        b": a\r\n",
        b"X\r\n",
        b"X: a\r\n b\r\n",
        b"X: a",
        b"",
    ],
)
def test_what_is_not_a_field_is_refused(line: bytes) -> None:
    after = b"\r\n" if line.endswith(b"\n") else b""
    with pytest.raises(ValueError, match="header field"):
        FieldReader()(io.BytesIO(line + after))


@pytest.mark.parametrize(
    ("fields", "protocol", "words"),
    [
        ({}, "HTTP/1.1", ""),
        ({LENGTH: b"17"}, "HTTP/1.0", ""),
        ({CODING: b"Chunked"}, "HTTP/1.1", ""),
        ({LENGTH: b"-1"}, "HTTP/1.1", "not a valid length"),
        ({LENGTH: b"+1"}, "HTTP/1.1", "not a valid length"),
        ({LENGTH: b"1_0"}, "HTTP/1.1", "not a valid length"),
        ({LENGTH: b""}, "HTTP/1.1", "not a valid length"),
        ({LENGTH: b"1", CODING: b"chunked"}, "HTTP/1.1", "Content-Length with"),
        ({CODING: b"chunked"}, "HTTP/1.0", "HTTP/1.0 has no"),
        ({CODING: b"gzip, chunked"}, "HTTP/1.1", "not chunked"),
        ({CODING: b""}, "HTTP/1.1", "not chunked"),
    ],
)
def test_the_end_of_a_body_is_known_or_in_doubt(
    fields: dict[bytes, bytes], protocol: str, words: str
) -> None:
    found = why_no_end(fields, protocol)
    assert words in found
    assert bool(found) == bool(words)


def body(data: bytes) -> ChunkedBody:
    return ChunkedBody(io.BytesIO(data))


def test_chunks_are_read_up_to_the_last_one() -> None:
    file = io.BytesIO(b"3\r\nabc\r\nA; x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET")
    chunked = ChunkedBody(file)
    assert chunked.read(2) == b"ab"
    assert chunked.read(5) == b"c0123"
    assert not chunked.is_done
    assert chunked.read() == b"456789"
    assert chunked.is_done
    assert (chunked.read(5), file.read()) == (b"", b"GET")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"5\r\nabc", "breaks off"),
        (b"5\r\nabcde", "longer than its size"),
        (b"3\r\nabcd\r\n0\r\n\r\n", "longer than its size"),
        (b"3\r\nabc\n0\r\n\r\n", "longer than its size"),
        (b"", "malformed"),
        (b"\r\nabc\r\n0\r\n\r\n", "malformed"),
        (b"-1\r\nabc\r\n0\r\n\r\n", "malformed"),
        (b"0x3\r\nabc\r\n0\r\n\r\n", "malformed"),
        (b"3\nabc\r\n0\r\n\r\n", "malformed"),
        (b"3;\nabc\r\n0\r\n\r\n", "malformed"),
        (b"3;\rX\r\nabc\r\n0\r\n\r\n", "malformed"),
        (b"1234567890123456\r\n", "malformed"),
        (b"3;" + b"x" * 5000 + b"\r\nabc\r\n", "malformed"),
        (b"0\r\nX: y\n\r\n", "trailer field is malformed"),
        (b"0\r\nX: " + b"y" * 5000 + b"\r\n\r\n", "trailer field is malformed"),
        (b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n", "too many trailer fields"),
    ],
)
def test_malformed_chunks_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        body(data).read()


class Counted(io.BytesIO):
    """A file that knows how much was asked of it at most."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, -1 if size is None else size)
        return super().read(size)


def test_of_a_large_chunk_no_more_is_read_than_is_asked_for() -> None:
    file = Counted(b"FFFFFFFFFF\r\n" + bytes(1000))
    assert len(ChunkedBody(file).read(100)) == 100
    assert file.most == 100


def test_a_line_of_a_chunk_is_not_read_without_end() -> None:
    file = io.BytesIO(b"1" * 100_000)
    with pytest.raises(ValueError, match="malformed"):
        ChunkedBody(file).read()
    assert file.tell() == connections._LONGEST_LINE
