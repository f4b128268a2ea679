"""How slow a peer may be, and that asking costs nothing where data flows."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from dcmweb.http.framing import MOST_BLANKS, _Incoming
from dcmweb.http.lowest_speed import LOWEST_SPEED, Pace, TooSlow, send_all

LEAST = LOWEST_SPEED * 10  # bytes in ten seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


class Peer:
    """Moves so many bytes, after so many seconds."""

    def __init__(self, clock: Clock, *moves: tuple[float, int]) -> None:
        self._clock = clock
        self._moves = list(moves)

    def __call__(self, data: object) -> int:
        seconds, moved = self._moves.pop(0)
        self._clock.now += seconds
        return moved

    readinto = __call__

    def close(self) -> None:
        pass


def count_until_too_slow(move: Callable[[], object]) -> int:
    for moves in range(10_000):
        try:
            move()
        except TooSlow:
            return moves
    raise AssertionError("it is never too slow")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(10, clock)


@pytest.mark.parametrize("size", [LEAST, 10 * LEAST])
def test_the_time_is_not_asked_for_while_data_flows(clock: Clock, pace: Pace, size: int) -> None:
    peer = Peer(clock, *[(1, size)] * 100)
    for _ in range(100):
        assert pace.move(peer, b"") == size
    assert clock.asked == 0


@pytest.mark.parametrize("moved", [1, LOWEST_SPEED // 2])
def test_a_peer_below_the_speed_is_too_slow(clock: Clock, pace: Pace, moved: int) -> None:
    peer = Peer(clock, *[(1, moved)] * 100)
    assert count_until_too_slow(lambda: pace.move(peer, b"")) == 12


def test_a_peer_at_the_speed_is_not(clock: Clock, pace: Pace) -> None:
    peer = Peer(clock, *[(1, LOWEST_SPEED)] * 100)
    for _ in range(100):
        pace.move(peer, b"")


def test_the_wait_for_the_first_byte_does_not_count(clock: Clock, pace: Pace) -> None:
    peer = Peer(clock, (9, 1), (9, 1), (0, LEAST), (9, 1), (9, 1))
    for _ in range(5):
        pace.move(peer, b"")


def test_time_that_we_need_does_not_count(clock: Clock, pace: Pace) -> None:
    peer = Peer(clock, *[(0.1, 1)] * 90)
    for _ in range(90):
        pace.move(peer, b"")
        clock.now += 1000


def test_the_end_is_not_too_slow(clock: Clock, pace: Pace) -> None:
    peer = Peer(clock, (1, 1), (9, 1), (0.5, 0))
    assert [pace.move(peer, b"") for _ in range(3)] == [1, 1, 0]


def test_without_a_timeout_nothing_is_too_slow(clock: Clock) -> None:
    pace = Pace(None, clock)
    peer = Peer(clock, *[(1000, 1)] * 100)
    for _ in range(100):
        pace.move(peer, b"")
    assert clock.asked == 0


def test_only_so_much_white_space_is_a_sign_of_life(clock: Clock, pace: Pace) -> None:
    incoming = _Incoming(Peer(clock, *[(9, 1)] * 2000), pace)
    incoming.is_body = True
    read = count_until_too_slow(lambda: incoming.readinto(bytearray(b" ")))
    assert MOST_BLANKS <= read <= MOST_BLANKS + LEAST


def test_a_large_piece_has_the_timeout_for_each_step() -> None:
    ours, theirs = socket.socketpair()
    data = bytes(range(256)) * 1000
    taken = bytearray()

    def take() -> None:
        while piece := theirs.recv(16 * 1024):
            taken.extend(piece)
            time.sleep(0.1)

    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.settimeout(0.8)  # of more than a second for all
        thread = threading.Thread(target=take)
        thread.start()
        send_all(ours, data, Pace(0.8))
        ours.shutdown(socket.SHUT_WR)
        thread.join()
    assert bytes(taken) == data


def test_white_space_among_other_bytes_is_not_one(clock: Clock, pace: Pace) -> None:
    """What drips is cut, though there is white space in it."""
    incoming = _Incoming(Peer(clock, *[(1, 1)] * 100), pace)
    incoming.is_body = True
    text = iter(b'{"a": 1, "b": 2, "c": 3}' * 4)
    assert count_until_too_slow(lambda: incoming.readinto(bytearray([next(text)]))) < LEAST
