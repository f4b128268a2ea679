"""How slow a peer may be: one that moves a byte now and then has stalled as well.

A socket's own timeout counts from the last byte. Here waiting adds up while little is moved. What
does not count: the time before the first byte of an answer, for which the timeout itself is, and
time that we need, for a disk or for another server.

Tools that have such a limit of speed and time are curl and git (off by default), Google's client
for storage (1 byte a second), and servers towards their clients (Apache: 500, Kestrel: 240).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from dcmweb.counted import plural

LOWEST_SPEED = 10  # bytes a second, on average over the timeout


class TooSlow(TimeoutError):
    """A peer that neither stops nor gets on."""


class Pace:
    """Watches what is moved in one direction; asks for the time only where that is little."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `seconds` of waiting for what takes so long at the lowest speed."""
        self._clock = clock
        self._seconds = math.inf if seconds is None else seconds
        self._least = 0 if seconds is None else max(1, math.ceil(LOWEST_SPEED * seconds))
        self.renew()

    def renew(self) -> None:
        """Begin anew: enough was moved, or a peer said that it is at work."""
        self.is_watched = False
        self.waited = 0.0  # seconds
        self._moved = 0

    def move(self, move: Callable[[Any], int | None], data: Any) -> int | None:
        """Read into `data`, or write of it. Raises TooSlow, a TimeoutError."""
        if not self.is_watched:
            moved = move(data)
            if moved and moved < self._least:
                self.is_watched, self._moved = True, moved
            return moved
        if self.waited > self._seconds:
            raise TooSlow(f"only {plural(self._moved, 'byte')} moved in {self.waited:.3g} s")
        began = self._clock()
        moved = move(data)
        self.waited += self._clock() - began
        self._moved += moved or 0
        if self._moved >= self._least:
            self.renew()
        return moved


def send_all(sock: Any, data: Any, pace: Pace) -> None:
    """Send all of it, with the timeout of the socket for each step.

    `sendall` has it for the whole, so that a slow link would never take a large piece.
    """
    sent = pace.move(sock.send, data) or 0
    if sent < len(data):
        rest = memoryview(data)
        while rest := rest[sent:]:
            sent = pace.move(sock.send, rest) or 0
