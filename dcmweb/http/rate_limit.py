"""Limits on requests and bytes per second, which all runs and workers of a client share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Lock

from dcmweb.http.multipart import Body

Sleep = Callable[[float], object]  # a wait that a stop ends

_PIECES = 8  # per second, at least, so that no single wait is long
_SMALLEST_PIECE = 512


class Rate:
    """Gives out amounts at a steady rate: each must wait until what was given before is used up."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._lock = Lock()
        self._free_at = 0.0

    def reserve(self, amount: float) -> float:
        """Take an amount; return the seconds to wait before it is used."""
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._free_at)
            self._free_at = begins + amount / self.per_second
        return begins - now


class RateLimit:
    """The limits of a client; without a limit nothing waits."""

    def __init__(self, requests: float | None, bytes_per_second: int | None) -> None:
        self._requests = Rate(requests) if requests else None
        self._bytes = Rate(bytes_per_second) if bytes_per_second else None

    def change(self, requests: float | None, bytes_per_second: float | None) -> None:
        """Set other limits, where there were some; what was given out before still counts."""
        for rate, per_second in ((self._requests, requests), (self._bytes, bytes_per_second)):
            if rate is not None and per_second is not None:
                rate.per_second = per_second

    @property
    def piece(self) -> int | None:
        """The most bytes to move at a time; None if there is no limit."""
        if self._bytes is None:
            return None
        return max(_SMALLEST_PIECE, int(self._bytes.per_second / _PIECES))

    def before_request(self, sleep: Sleep) -> None:
        """Wait until another request may be sent."""
        if self._requests and (seconds := self._requests.reserve(1)):
            sleep(seconds)

    def moved(self, size: int, sleep: Sleep) -> None:
        """Wait until this many bytes may be moved."""
        if self._bytes and size and (seconds := self._bytes.reserve(size)):
            sleep(seconds)

    def slowed(self, body: Body, sleep: Sleep) -> Body:
        """Return a body that is sent no faster than the limit allows."""
        return body if self._bytes is None else _SlowedBody(body, self, sleep)


class _SlowedBody(Body):
    """A body whose pieces wait for their turn."""

    def __init__(self, body: Body, limit: RateLimit, sleep: Sleep) -> None:
        super().__init__(body._chunks, body.content_type, body.count)
        self._limit, self._sleep = limit, sleep

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in small pieces, each when it may be sent."""
        size = self._limit.piece or len(self)
        for piece in map(b"".join, super().gathered()):
            for start in range(0, len(piece), size):
                part = piece[start : start + size]
                self._limit.moved(len(part), self._sleep)
                yield part

    def gathered(self) -> Iterator[list[bytes]]:
        """Yield the same pieces, each by itself."""
        return ([piece] for piece in self)
