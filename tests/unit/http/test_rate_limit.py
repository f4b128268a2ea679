"""Limits of requests and bytes per second, with waits that are added up rather than waited for."""

from __future__ import annotations

import pytest

from dcmweb.http import rate_limit
from dcmweb.http.multipart import Body
from dcmweb.http.rate_limit import RateLimit


class Clock:
    """A time that moves on by waiting only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    return clock


def test_requests_are_as_far_apart_as_the_limit_says(clock: Clock) -> None:
    limit = RateLimit(4, None)
    for _ in range(9):
        limit.before_request(clock.sleep)
    assert clock.now - 1000 == pytest.approx(2.0)


def test_time_that_passes_otherwise_is_not_waited_for_again(clock: Clock) -> None:
    limit = RateLimit(4, None)
    limit.before_request(clock.sleep)
    clock.now += 10
    limit.before_request(clock.sleep)
    assert clock.waits == []


def test_without_limits_nothing_waits(clock: Clock) -> None:
    limit = RateLimit(None, None)
    body = Body([b"x" * 100], "text/plain")
    assert limit.slowed(body, clock.sleep) is body
    limit.before_request(clock.sleep)
    limit.moved(10**9, clock.sleep)
    assert (clock.waits, limit.piece) == ([], None)


def test_a_body_is_sent_whole_in_small_pieces_and_again(clock: Clock) -> None:
    limit = RateLimit(None, 10_000)
    content = bytes(range(256)) * 200
    body = limit.slowed(Body([content], "text/plain"), clock.sleep)
    assert (len(body), body.content_type) == (len(content), "text/plain")
    for _ in range(2):
        assert b"".join(body) == content
    assert clock.now - 1000 == pytest.approx(2 * len(content) / 10_000, rel=0.05)
    assert max(clock.waits) <= 0.2


def test_what_is_sent_and_received_adds_up(clock: Clock) -> None:
    limit = RateLimit(None, 1000)
    limit.moved(500, clock.sleep)
    limit.moved(500, clock.sleep)
    limit.moved(1, clock.sleep)
    assert clock.now - 1000 == pytest.approx(1.0)


def test_no_piece_is_empty_however_low_the_rate() -> None:
    assert RateLimit(None, 1).piece == 512
    assert RateLimit(None, 80_000).piece == 10_000
