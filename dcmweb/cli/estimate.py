"""Estimates how fast a run is, how much of it is done, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dcmweb.transfer.summary import Progress

WINDOW = 30.0  # seconds that a rate is measured over
FEW_STEPS = 5  # within the window; with fewer, the whole run is measured
HELD = 1.0  # seconds for which a share stays, while bytes that arrived have no outcome yet
NOT_ALL = 0.99  # the share while there is something that has no outcome
ALMOST = 1.0  # seconds below which nothing is said about the time left


@dataclass(frozen=True)
class Estimate:
    """What is known of a run: the share that is done, seconds left, bytes per second.

    None is unknown.
    """

    share: float | None = None
    left: float | None = None
    rate: float = 0.0


@dataclass(frozen=True)
class _Sample:
    at: float
    bytes: int
    share: float | None
    steps: int


def share_of(progress: Progress) -> float | None:
    """Return the share of a run, or of its current phase, that is done; None if unknown.

    That is the share of bytes where these are known beforehand, otherwise that of items.
    """
    most = 1.0
    if progress.phase is not None:
        done, expected = progress.phase.done, progress.phase.expected
    elif progress.expected_bytes:
        done, expected = progress.done_bytes, progress.expected_bytes
        if progress.items < (progress.expected or 0):  # sent, and not answered for
            most = NOT_ALL
    else:
        done, expected = progress.items, progress.expected
    return min(most, max(0, done) / expected) if expected else None


class Estimator:
    """Watches the progress of a run, and estimates by what has happened of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[_Sample] = deque()
        self._phase: str | None = ""
        self._first: _Sample | None = None  # of the current phase
        self._highest = 0.0
        self._rose_at = 0.0

    def look(self, progress: Progress) -> Estimate:
        """Take a look at the progress; return what can be said of it."""
        now = self._clock()
        phase = progress.phase.name if progress.phase else None
        if self._first is None or phase != self._phase:
            self._begin(phase)
        share = self._held(share_of(progress), now)
        steps = progress.phase.done if progress.phase else progress.items
        sample = _Sample(now, progress.bytes, share, steps)
        if self._first is None or (self._first.share is None and share is not None):
            self._first = sample
        self._samples.append(sample)
        while now - self._samples[0].at > WINDOW:
            self._samples.popleft()
        return Estimate(share, self._left(sample), self._rate(sample))

    def _begin(self, phase: str | None) -> None:
        self._phase = phase
        self._samples.clear()
        self._first = None
        self._highest = 0.0

    def _held(self, share: float | None, now: float) -> float | None:
        """Keep a share from falling for a moment, as it does between an answer and its outcomes."""
        if share is None:
            return None
        if share >= self._highest or now - self._rose_at > HELD:
            self._highest, self._rose_at = share, now
        return self._highest

    def _rate(self, last: _Sample) -> float:
        first = self._samples[0]
        seconds = last.at - first.at
        return max(0, last.bytes - first.bytes) / seconds if seconds > 0 else 0.0

    def _left(self, last: _Sample) -> float | None:
        """Return the seconds left by the speed of late, or of the whole phase if that was jerky."""
        if last.share is None or self._first is None:
            return None
        first = next((one for one in self._samples if one.share is not None), last)
        if last.steps - first.steps < FEW_STEPS:
            first = self._first
        seconds, gain = last.at - first.at, last.share - (first.share or 0.0)
        if seconds <= 0 or gain <= 0:
            return None
        return (1 - last.share) * seconds / gain
