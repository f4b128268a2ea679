"""The framing of answers, byte by byte: what is read, what is refused, what can be used again."""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from dcmweb.http import framing
from dcmweb.http.framing import FramedResponse, FramingError
from dcmweb.http.lowest_speed import Pace, TooSlow

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOTHING = b"Content-Length: 0\r\n\r\n"
HELLO = b"Content-Length: 5\r\n\r\nhello"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CODED = b"Transfer-Encoding: "


_OPEN: list[socket.socket] = []


@pytest.fixture(autouse=True)
def closing_sockets() -> Iterator[None]:
    """Close what a test left open."""
    yield
    while _OPEN:
        _OPEN.pop().close()


def answered(wire: bytes, method: str = "GET", *, stays: bool = False) -> FramedResponse:
    """Begin to read an answer; the connection ends with it, unless it `stays`."""
    ours, theirs = socket.socketpair()
    _OPEN.extend((ours, theirs))
    ours.settimeout(5)
    if len(wire) < 100_000:
        theirs.sendall(wire)
        if not stays:
            theirs.shutdown(socket.SHUT_WR)
    else:
        threading.Thread(target=_send, args=(theirs, wire), daemon=True).start()
    response = FramedResponse(ours, method=method)
    try:
        response.begin()
    except (FramingError, http.client.RemoteDisconnected):
        response.close()  # as http.client does
        raise
    return response


def _send(sock: socket.socket, wire: bytes) -> None:
    with suppress(OSError):  # which is what is wanted
        sock.sendall(wire)
        sock.shutdown(socket.SHUT_WR)


def body(wire: bytes, method: str = "GET", size: int = 1000) -> bytes:
    pieces = []
    with closing(answered(wire, method)) as response:
        while piece := response.read(size):
            pieces.append(piece)
    return b"".join(pieces)


WHOLE = {
    "length": (OK + HELLO, b"hello"),
    "length in capitals": (OK + b"CONTENT-LENGTH:5\r\n\r\nhello", b"hello"),
    "zeros before a length": (OK + b"Content-Length: 0005\r\n\r\nhello", b"hello"),
    "the same length twice": (OK + b"Content-Length: 5\r\n" + HELLO, b"hello"),
    "the same length in a list": (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello"),
    "white space before the colon": (OK + b"Content-Length : 5\r\n\r\nhello", b"hello"),
    "a folded field": (OK + b"A: b\r\n c\r\nContent-Length:\r\n\t5\r\n\r\nhello", b"hello"),
    "LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
    "no reason": (b"HTTP/1.1 200\r\n" + HELLO, b"hello"),
    "an empty reason": (b"HTTP/1.1 200 \r\n" + HELLO, b"hello"),
    "bytes beyond ASCII": (b"HTTP/1.1 200 \xe4\r\nA: \xff\r\n" + HELLO, b"hello"),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "closing": (OK + b"\r\nhello", b"hello"),
    "identity": (OK + CODED + b"identity\r\n" + HELLO, b"hello"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", b""),
    "304 that is chunked": (b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    "chunks": (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "hexadecimal chunks": (CHUNKED + b"00A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
    "chunk extensions": (CHUNKED + b'5 ;a="b\\"";c\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\nContent-Length: 3\r\n\r\n", b"hello"),
    "closed after the last chunk": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello"),
    "chunked in capitals": (OK + CODED + b"CHUNKED\r\n\r\n" + CHUNKS, b"hello"),
    "chunked twice in words": (
        OK + CODED + b"chunked, chunked\r\n\r\n" + CHUNKS, b"hello"),
    "chunked in two fields": (
        OK + CODED + b"chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        b"hello"),
    "identity, chunked": (
        OK + CODED + b"identity, chunked\r\n\r\n" + CHUNKS, b"hello"),
    "a true length beside chunks": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, b"hello"),
    "chunks in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, b"hello"),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + HELLO, b"hello"),
    "102 and 103": (
        b"HTTP/1.1 102 Processing\r\nContent-Length: 7\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"
        + OK + HELLO, b"hello"),
    "an unknown interim answer": (
        b"HTTP/1.1 199 Wait\r\n\r\n" + OK + HELLO, b"hello"),
    "the length of what was encoded beside chunks": (
        OK + b"Content-Length: 9\r\nContent-Encoding: br\r\n" + CODED + b"chunked\r\n\r\n" + CHUNKS,
        b"hello"),
    "chunks that begin as one": (CHUNKED + b"3\r\n5\r\n\r\n0\r\n\r\n", b"5\r\n"),
    "a later piece that looks like a chunk": (
        OK + CODED + b"chunked, chunked\r\n\r\n6\r\nhel5\r\n\r\n0\r\n\r\n", b"hel5\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("wire", "expected"), WHOLE.values(), ids=WHOLE.keys())
def test_bodies_end_where_their_framing_says(wire: bytes, expected: bytes, size: int) -> None:
    assert body(wire, size=size) == expected


def test_an_answer_to_head_has_no_body() -> None:
    assert body(OK + b"Content-Length: 5\r\n\r\n", "HEAD") == b""


BROKEN = {
    "a cut status line": b"HTTP/1.1 200 O",
    "a status line alone": OK,
    "a cut field": OK + b"Content-Ty",
    "a whole field": OK + b"Content-Length: 0\r\n",
    "a cut empty line": OK + b"Content-Length: 0\r\n\r",
    "no length and no body": OK + b"\r\n",
    "HTTP/1.0 without a body": b"HTTP/1.0 200 OK\r\n\r\n",
    "an interim answer alone": b"HTTP/1.1 102 Processing\r\n\r\n",
    "a cut interim answer": b"HTTP/1.1 102 Processing\r\nA: b",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + OK + NOTHING,
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x46",
    "another HTTP": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a small http": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "two digits before an answer": b"HTTP/1.1 20 X\r\n\r\n" + OK + HELLO,
    "a status that begins with 0": b"HTTP/1.1 020 X\r\n\r\n" + OK + HELLO,
    "a signed status": b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "white space first": OK + b" Content-Length: 0\r\n\r\n",
    "white space before a field": OK + b" A: b\r\nContent-Length: 0\r\n\r\n",
    "a line without a colon": OK + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "a field without a name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "a name of two words": OK + b"Content Length: 5\r\nContent-Length: 0\r\n\r\n",
    "a NUL": OK + b"A: \0\r\nContent-Length: 0\r\n\r\n",
    "a CR in a field": OK + b"A: b\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two lengths in a list": OK + b"Content-Length: 0, 5\r\n\r\n",
    "chunked over gzip": OK + CODED + b"gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked under gzip": OK + CODED + b"chunked, gzip\r\n\r\n0\r\n\r\n",
    "gzip": OK + CODED + b"gzip\r\nContent-Length: 0\r\n\r\n",
    "nearly chunked": OK + CODED + b"xchunked\r\nContent-Length: 0\r\n\r\n",
    "chunked with a parameter": OK + CODED + b"chunked;q=1\r\n\r\n0\r\n\r\n",
    "an empty coding": OK + b"Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n",
    "a cut body": OK + b"Content-Length: 5\r\n\r\nhell",
    "no body": OK + b"Content-Length: 5\r\n\r\n",
    "no chunks": CHUNKED,
    "a cut chunk size": CHUNKED + b"5",
    "a cut line of a chunk size": CHUNKED + b"5\r",
    "a cut chunk": CHUNKED + b"5\r\nhel",
    "a cut end of a chunk": CHUNKED + b"5\r\nhello\r",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "a cut last chunk": CHUNKED + b"5\r\nhello\r\n0\r",
    "a cut trailer": CHUNKED + b"5\r\nhello\r\n0\r\nA: b",
    "a trailer without an end": CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n",
    "a chunk that is longer": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer by a line end": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a signed chunk size": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefixed chunk size": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n",
    "an absurd chunk size": CHUNKED + b"f" * 17 + b"\r\nhello",
    "a large chunk size": CHUNKED + b"f" * 16 + b"\r\nhello",
    "no chunk size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "really chunked twice": OK + CODED + b"chunked, chunked\r\n\r\n"
    b"f\r\n5\r\nhello\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "another length beside chunks": OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    **{
        f"length {text!r}": OK + b"Content-Length: " + text + b"\r\n\r\nhello"
        for text in (b"-5", b"+5", b"5 5", b"0x5", b"5.0", b"5_0", b"\xb2", b"five", b"", b"5,")
    },
}  # fmt: skip


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
def test_what_leaves_an_end_in_doubt_is_an_error(wire: bytes) -> None:
    with pytest.raises((FramingError, http.client.RemoteDisconnected)):
        body(wire)


@pytest.mark.parametrize("digits", [19, 5000])
def test_an_absurd_length_is_an_error(digits: int) -> None:
    with pytest.raises(FramingError, match="larger than anything"):
        body(OK + b"Content-Length: " + b"9" * digits + b"\r\n\r\n")


@pytest.mark.parametrize("name", ["a cut body", "a cut chunk", "no last chunk", "a longer chunk"])
def test_what_came_is_handed_out_and_every_read_after_it_raises(name: str) -> None:
    response = answered({**BROKEN, "a longer chunk": BROKEN["a chunk that is longer"]}[name])
    assert response.read(1000).startswith(b"hel")
    for _ in range(2):
        with pytest.raises(FramingError):
            response.read(1000)
    response.close()
    with pytest.raises(FramingError):
        response.read(1000)


def test_nothing_is_handed_out_behind_the_end_of_a_chunk_that_is_wrong() -> None:
    wire = CHUNKED + b"5\r\nhelloXX5\r\nworld\r\n0\r\n\r\n"
    with closing(answered(wire, stays=True)) as response:
        assert response.read(1000) == b"hello"
        with pytest.raises(FramingError):
            response.read(1000)
        assert not response.is_reusable


def test_nothing_is_handed_out_of_a_chunk_of_absurd_size() -> None:
    response = answered(BROKEN["an absurd chunk size"])
    with closing(response), pytest.raises(FramingError, match="does not begin with its size"):
        response.read(1000)


def test_what_was_closed_before_its_end_has_not_ended() -> None:
    response = answered(OK + HELLO)
    assert response.read(2) == b"he"
    response.close()
    with pytest.raises(FramingError, match="closed before its end"):
        response.read(1000)


class Slow(io.RawIOBase):
    """What comes in pieces, each after so many seconds of a clock, and then nothing."""

    def __init__(self, pieces: list[tuple[float, bytes]]) -> None:
        self._pieces = pieces
        self.now = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds, piece = self._pieces.pop(0) if self._pieces else (0.0, b"")
        self.now += seconds
        buffer[: len(piece)] = piece
        return len(piece)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def gettimeout(self) -> float:
        return 10.0


def slowly(monkeypatch: pytest.MonkeyPatch, pieces: list[tuple[float, bytes]]) -> bytes:
    """Read an answer that comes so slowly."""
    slow = Slow(pieces)
    monkeypatch.setattr(framing, "Pace", lambda seconds: Pace(seconds, lambda: slow.now))
    response = FramedResponse(slow)
    with closing(response):
        response.begin()
        return response.read()


def test_a_server_may_say_for_long_that_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    interim = [(9.0, b"HTTP/1.1 102 X\r\n"), (1.0, b"\r\n")]
    assert slowly(monkeypatch, interim * 50 + [(9.0, OK + HELLO)]) == b"hello"
    blanks = [(9.0, b"1\r\n \r\n")]
    wire = [(0.0, CHUNKED), *blanks * 50, (9.0, CHUNKS)]
    assert slowly(monkeypatch, wire).strip() == b"hello"


def test_lines_that_drip_are_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooSlow):
        slowly(monkeypatch, [(9.0, bytes([one])) for one in OK + HELLO])
    chunks = b"".join(b"1\r\n%c\r\n" % one for one in b"hello")
    with pytest.raises(TooSlow):
        slowly(monkeypatch, [(0.0, CHUNKED), *[(9.0, bytes([one])) for one in chunks]])


def test_no_answer_at_all_is_told_apart() -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        answered(b"")


@pytest.mark.parametrize(
    "head",
    [
        OK + b"A: " + b"x" * 300_000_000,
        OK + b"A: b\r\n" * 2000 + b"\r\n",
        OK + b"A: b\r\n" + b" c\r\n" * 2000 + b"\r\n",
        OK + b"A: %s\r\n" % (b"x" * 1000) * 300 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 1_000_000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 5000,
    ],
    ids=["a long line", "many fields", "many folds", "long fields", "a reason", "interim answers"],
)
def test_a_head_without_end_is_given_up_soon(head: bytes) -> None:
    with pytest.raises(FramingError, match=r"too long, or too many|without end"):
        answered(head)


@pytest.mark.parametrize(
    "endless",
    [
        CHUNKED + b"5;" + b"x" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"0\r\nA: " + b"x" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["a chunk extension", "trailers"],
)
def test_lines_of_a_body_without_end_are_given_up(endless: bytes) -> None:
    with pytest.raises(FramingError):
        body(endless)


def read_all(response: FramedResponse) -> bool:
    while response.read(1000):
        pass
    return response.is_reusable


REUSABLE: dict[str, tuple[bytes, bool]] = {
    "a length": (OK + HELLO, True),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", True),
    "chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    "chunks in HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + CODED + b"chunked\r\n\r\n" + CHUNKS,
        False),
    "close": (OK + b"Connection: x, Close\r\nContent-Length: 0\r\n\r\n", False),
    "no close": (OK + b"Connection: not-close\r\nContent-Length: 0\r\n\r\n", True),
    "white space after the length": (OK + b"Content-Length: 5\r\n\r\nhello \n", False),
    "more words of a refusal": (
        b"HTTP/1.1 400 No\r\nContent-Length: 5\r\n\r\nhello there", False),
    "more than nothing": (OK + b"Content-Length: 0\r\n\r\n\r\n", False),
    "204 with a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", False),
    "another answer": ((OK + b"Content-Length: 0\r\n\r\n") * 2, False),
    "more after chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nx", False),
    "a length beside chunks": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, False),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "expected"), REUSABLE.values(), ids=REUSABLE.keys())
def test_a_connection_is_used_again_only_where_nothing_is_left_on_it(
    wire: bytes, expected: bool
) -> None:
    assert read_all(answered(wire, stays=True)) is expected


@pytest.mark.parametrize("length", [0, 1, 10])
@pytest.mark.parametrize("rest", [b"e", b"ere", b"HTML", b"H2"])
def test_a_body_that_goes_on_after_its_length_is_broken(length: int, rest: bytes) -> None:
    wire = OK + b"Content-Length: %d\r\n\r\n" % length + b"x" * length + rest
    with pytest.raises(FramingError, match="goes on after the end"):
        answered(wire, stays=True).read()


def test_a_body_that_goes_on_after_its_length_stays_broken() -> None:
    response = answered(OK + HELLO + b" there", stays=True)
    for _ in range(2):
        with pytest.raises(FramingError, match="goes on after the end"):
            response.read()


def test_a_connection_whose_end_is_that_of_the_body_is_not_used_again() -> None:
    assert not read_all(answered(OK + b"\r\nhello"))


def test_a_body_after_the_answer_to_head_is_not_taken_for_the_next_answer() -> None:
    response = answered(OK + HELLO, "HEAD", stays=True)
    assert response.read() == b""
    assert not response.is_reusable


class Pending(socket.socket):
    """A socket with bytes that were decrypted, and that nobody asked for."""

    def pending(self) -> int:
        return 1


def test_a_connection_is_not_used_again_where_bytes_wait_in_tls() -> None:
    ours, theirs = socket.socketpair()
    with Pending(fileno=ours.detach()) as sock, theirs:
        theirs.sendall(OK + HELLO)
        response = FramedResponse(sock)
        response.begin()
        assert not read_all(response)


def test_a_connection_is_not_used_again_before_the_end() -> None:
    response = answered(OK + HELLO, stays=True)
    response.read(3)
    assert not response.is_reusable


@pytest.mark.parametrize(
    "read", [lambda r: r.read(), lambda r: r.read1(), lambda r: bytes(_into(r))]
)
def test_all_ways_to_read_keep_to_the_framing(read: Callable[[FramedResponse], bytes]) -> None:
    assert read(answered(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")) == b"hello"


def _into(response: FramedResponse) -> bytearray:
    buffer = bytearray(100)
    return buffer[: response.readinto(buffer)]


def test_header_fields_say_the_framing_that_was_found() -> None:
    wire = OK + b"Content-Length: 05, 5\r\nTransfer-Encoding: identity\r\n\r\nhello"
    assert answered(wire).headers.items() == [("Content-Length", "5")]
    wire = OK + CODED + b"chunked, CHUNKED\r\nContent-Length: 5\r\n\r\n"
    assert answered(wire).headers.items() == [("Transfer-Encoding", "chunked")]


def test_a_large_body_is_read_as_it_was_sent() -> None:
    data = bytes(range(256)) * 4096
    assert body(OK + b"Content-Length: %d\r\n\r\n" % len(data) + data, size=200_000) == data
    chunks = b"".join(b"%x\r\n%s\r\n" % (900, data[i : i + 900]) for i in range(0, 900_000, 900))
    assert body(CHUNKED + chunks + b"0\r\n\r\n", size=framing.PIECE) == data[:900_000]


def test_nothing_is_read_after_a_failure_though_it_looks_well_formed() -> None:
    wire = CHUNKED + b"5\r\nhello\r\nzz\r\n3\r\nabc\r\n0\r\n\r\n"
    with closing(answered(wire, stays=True)) as response:
        assert response.read(5) == b"hello"
        for _ in range(3):
            with pytest.raises(FramingError):
                response.read(5)
        assert not response.is_reusable


def test_a_head_is_read_once() -> None:
    with closing(answered(OK + HELLO)) as response:
        response.begin()
        assert response.read(-1) == b"hello"


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (OK + b"\r\n", None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", None),
        (OK + HELLO, "5"),
    ],
)
def test_the_length_that_is_said_is_that_of_the_body(head: bytes, length: str | None) -> None:
    with closing(answered(head)) as response:
        assert response.headers.get("Content-Length") == length


@pytest.mark.parametrize("options", [b"close", b"keep-alive, close", b"Close"])
def test_a_connection_that_the_server_closes_is_not_used_again(options: bytes) -> None:
    wire = OK + b"Connection: " + options + b"\r\n" + HELLO
    with closing(answered(wire, stays=True)) as response:
        assert response.read() == b"hello"
        assert not response.is_reusable
