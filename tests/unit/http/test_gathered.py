"""Bodies whose pieces are sent together: all of the bytes, whatever the socket takes at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmweb.http import multipart
from dcmweb.http.adapter import _send_all
from dcmweb.http.lowest_speed import Pace
from dcmweb.http.multipart import MOST_TOGETHER, Body
from dcmweb.http.part_stream import PIECE
from dcmweb.http.rate_limit import RateLimit

needs_sendmsg = pytest.mark.skipif(
    not hasattr(socket.socket, "sendmsg"), reason="pieces are joined on this system"
)


@dataclass(frozen=True)
class Pieces:
    given: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.given))

    def pieces(self) -> Iterator[bytes]:
        return iter(self.given)


def sent(pieces: list[bytes], timeout: float | None) -> bytes:
    """Return what comes of pieces at the other end, which takes its time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(timeout)
        for one, option in ((ours, socket.SO_SNDBUF), (theirs, socket.SO_RCVBUF)):
            one.setsockopt(socket.SOL_SOCKET, option, 4096)
        came: list[bytes] = []

        def take() -> None:
            while data := theirs.recv(1000):
                came.append(data)

        taker = threading.Thread(target=take)
        taker.start()
        _send_all(ours, pieces, Pace(None))
        ours.shutdown(socket.SHUT_WR)
        taker.join()
    return b"".join(came)


@needs_sendmsg
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9000), max_size=40), st.sampled_from([None, 30.0]))
def test_all_pieces_arrive_in_their_order(sizes: list[int], timeout: float | None) -> None:
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    assert sent(pieces, timeout) == b"".join(pieces)


class Taking:
    """Stands in for a socket that takes so many bytes at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.came = b""

    def sendmsg(self, pieces: Any) -> int:
        taken = b"".join(pieces)[: self.most]
        self.came += taken
        assert len(self.came) < 100, "something is sent again and again"
        return len(taken)


@given(st.lists(st.binary(max_size=6), max_size=8), st.integers(1, 9))
def test_what_a_socket_does_not_take_at_once_is_sent_later(pieces: list[bytes], most: int) -> None:
    taking: Any = Taking(most)
    _send_all(taking, pieces, Pace(None))
    assert taking.came == b"".join(pieces)


@needs_sendmsg
def test_a_peer_that_is_gone_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(OSError, match=r"pipe|reset"):
            _send_all(ours, [b"a", b"b"], Pace(None))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0, 1, 300, PIECE - 1, PIECE, PIECE + 1]), max_size=4)),
    st.sampled_from([2, 3, MOST_TOGETHER]),
)
def test_a_body_gathers_what_it_has_and_counts_what_is_of_sources(
    sizes: list[list[int]], together: int
) -> None:
    sources = [Pieces(tuple(map(bytes, one))) for one in sizes]
    counts: list[int] = []
    body = Body.related(sources, "a/b", counts.append)
    multipart.MOST_TOGETHER, kept = together, multipart.MOST_TOGETHER
    try:
        groups = list(body.gathered())
    finally:
        multipart.MOST_TOGETHER = kept
    assert sum(counts) == sum(one.size for one in sources)
    assert len(counts) == len(groups)
    assert max(map(len, groups)) <= together
    assert max(sum(map(len, group)) for group in groups) < 2 * PIECE + 200
    whole = b"".join(map(b"".join, groups))
    assert whole == b"".join(body) == b"".join(body.pieces_uncounted())
    assert len(whole) == len(body)


def test_bytes_are_counted_no_earlier_than_they_are_taken() -> None:
    counts: list[int] = []
    body = Body.related([Pieces((bytes(PIECE),))] * 3, "a/b", counts.append)
    groups = body.gathered()
    assert counts == []
    next(groups)
    assert counts == [PIECE]
    assert list(body.pieces_uncounted())
    assert counts == [PIECE]


def test_a_limited_rate_holds_for_gathered_pieces_as_well() -> None:
    waits: list[float] = []
    counts: list[int] = []
    body = Body.single(Pieces((bytes(5000),) * 4), "a/b", counts.append)
    slowed = RateLimit(None, 8000).slowed(body, waits.append)
    groups = list(slowed.gathered())
    assert all(len(group) == 1 and len(group[0]) <= 1000 for group in groups)
    assert b"".join(map(b"".join, groups)) == bytes(20_000)
    assert sum(counts) == 20_000
    assert len(waits) >= 19
