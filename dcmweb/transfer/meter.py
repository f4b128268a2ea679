"""Counts what a run moves, and notes what it waits for, so that its progress can be shown."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from dcmweb.errors import DcmwebError, Refused, Stalled, Unreachable

_LONGEST_REASON = 60  # characters


class Phase(NamedTuple):
    """A part of a run that counts its own things, rather than items that have an outcome.

    `name` says what is done, as "verifying"; `noun` what is counted, in the singular. `expected`
    is None while it is not known how many there are.
    """

    name: str
    noun: str
    done: int = 0
    expected: int | None = None


@dataclass(frozen=True)
class Pause:
    """What requests wait for: the seconds until the next of them goes on, and how many wait.

    `reason` is "" for a wait that is nobody's fault, such as that of a limit the user has set.
    """

    seconds: float
    reason: str
    count: int = 1


def reason_to_wait(error: DcmwebError) -> str:
    """Say in a few words why a request is tried again later."""
    if isinstance(error, Refused):
        is_busy = error.status in (429, 503)
        return f"server busy ({error.status})" if is_busy else f"the server answered {error.status}"
    if isinstance(error, Stalled):
        return "the server stalled"
    if isinstance(error, Unreachable):
        return "the server cannot be reached"
    words = error.message
    return words if len(words) <= _LONGEST_REASON else f"{words[: _LONGEST_REASON - 3]}..."


class Pauses:
    """The waits of all workers."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = itertools.count()
        self._running: dict[int, tuple[float, str]] = {}  # when each ends, and its reason

    @contextmanager
    def during(self, seconds: float, reason: str) -> Iterator[None]:
        """Note a wait for the time of a block."""
        with self._lock:
            number = next(self._numbers)
            self._running[number] = time.monotonic() + seconds, reason
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]

    @property
    def next(self) -> Pause | None:
        """The wait that ends first, of those with a reason if there are any."""
        with self._lock:
            running = list(self._running.values())
        shown = [one for one in running if one[1]] or running
        if not shown:
            return None
        until, reason = min(shown)
        return Pause(max(0.0, until - time.monotonic()), reason, len(shown))


class Meter:
    """Counts bytes, retries and the steps of phases. Workers update it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.bytes = 0
        self.under_way = 0  # of these, bytes of items that have no outcome yet
        self.retries = 0
        self.expected: int | None = 0  # number of items, as far as it is known
        self.expects_all = False
        self.phase: Phase | None = None  # None while items are being done
        self.later = ""  # the phase that is still to come
        self.pauses = Pauses()
        self.moved_at = time.monotonic()  # when something happened last

    def expect(self, items: int | None) -> None:
        """Add to the number of expected items; None if it is not known.

        Once all are expected, what a part of the run says of itself does not count.
        """
        with self._lock:
            if self.expects_all:
                return
            known = self.expected is not None and items is not None
            self.expected = (self.expected or 0) + (items or 0) if known else None

    def add(self, size: int) -> None:
        """Count bytes moved; a negative number when a transfer starts again."""
        with self._lock:
            self.bytes += size
        self.touch()

    def send(self, size: int) -> None:
        """Count bytes that are sent; they are under way until `arrive` is called."""
        with self._lock:
            self.under_way += size
        self.add(size)

    def arrive(self, size: int) -> None:
        """Note that bytes which were under way have been answered for, or are sent again."""
        with self._lock:
            self.under_way -= size

    def retry(self) -> None:
        """Count a retry."""
        with self._lock:
            self.retries += 1

    def begin(self, name: str, noun: str, expected: int | None = None, later: str = "") -> None:
        """Begin a phase that counts its own things; `later` is the one that follows it."""
        with self._lock:
            self.phase = Phase(name, noun, 0, expected)
            self.later = later
        self.touch()

    def begin_items(self, later: str = "") -> None:
        """Begin the phase in which items are done."""
        with self._lock:
            self.phase = None
            self.later = later

    def advance(self, number: int = 1) -> None:
        """Count things of the current phase, if it counts any."""
        with self._lock:
            if self.phase is not None:
                self.phase = self.phase._replace(done=self.phase.done + number)
        self.touch()

    def touch(self) -> None:
        """Note that something happens."""
        self.moved_at = time.monotonic()
