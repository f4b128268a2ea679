"""The number of jobs that run at a time: fixed, or adapted to the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

log = logging.getLogger(__name__)

FIRST = 4  # jobs at a time to begin with, once it is known that one job waits
GLANCE = 0.03  # seconds after which that is known at the latest
BUSY = 0.6  # of the time; a process that computes for so much of it gains nothing by more jobs
WINDOW = 0.25  # seconds for which a number of jobs is measured, at least
REST = 5.0  # seconds before a higher number is tried again
BUSY_REST, LONGEST_REST = 2.0, 30.0  # likewise for a busy process: the first time, at most
SHARE = 0.5  # of the gain that more jobs would bring without a limit; with less, go back
TICK = 0.2  # seconds between checks for a stop


class ConcurrencyLimit:
    """Limits how many jobs run at a time.

    If it adapts, it starts with one job. Where that one waits for the server most of the time, it
    goes on with a few, adds more while that makes the run faster, and halves the number when the
    server is overloaded. Otherwise Python itself is the limit, and more jobs would only take turns
    on one processor. `moved` returns the number of bytes moved so far, `cpu` the seconds that the
    process has computed.
    """

    def __init__(
        self,
        most: int,
        *,
        adapts: bool = False,
        moved: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self.limit = 1 if adapts else most
        self.reached = self.limit  # the highest limit so far
        self._most = most
        self._adapts = adapts
        self._moved = moved
        self._clock = clock
        self._cpu = cpu
        self._has_glanced = not adapts
        self._busy_rest = BUSY_REST
        self._condition = Condition()
        self._running = 0
        self._done = 0
        self._best = 0.0  # the highest rate so far, and with how many jobs
        self._best_limit = self.limit
        self._doubles = True
        self._rests_until = 0.0
        self._begin_window()

    @contextmanager
    def turn(self, is_over: Callable[[], bool]) -> Iterator[bool]:
        """Wait for a turn, and hold it for a block. Yields False if the run is over before."""
        with self._condition:
            while not (over := is_over()) and self._running >= self.limit:
                self._condition.wait(TICK if self._has_glanced else GLANCE)
                self._review()
            self._running += 1
        try:
            yield not over
        finally:
            with self._condition:
                self._running -= 1
                self._done += 1
                self._review()
                # No more than can run; at the end of a run, each wakes the next.
                self._condition.notify(max(1, self.limit - self._running))

    def allow(self, limit: int) -> None:
        """Set how many jobs may run at a time, as worker processes come and go."""
        limit = max(1, min(limit, self._most))
        if limit != self.limit:
            with self._condition:
                self._set(limit)

    def back_off(self) -> None:
        """Halve the limit for a while, since the server is overloaded."""
        if not self._adapts:
            return
        with self._condition:
            self._set(max(1, self.limit // 2))
            self._best, self._best_limit = 0.0, self.limit
            self._settle()

    def _review(self) -> None:
        """At the end of a window, change the limit by the rate that was measured."""
        now = self._clock()
        seconds = now - self._window_began
        if not self._has_glanced and seconds > 0 and (self._done or seconds >= GLANCE):
            self._glance(seconds)
            return
        full = self._running + 1 >= self.limit  # otherwise there was not enough work
        if not self._adapts or seconds < WINDOW or not full or now < self._rests_until:
            return
        rate = self._rate(seconds)
        more = self.limit / self._best_limit - 1
        if rate > self._best * (1 + SHARE * more) and (more or not self._best):
            self._best, self._best_limit = rate, self.limit
            self._set(min(self._most, self.limit * 2 if self._doubles else self.limit + 1))
        elif self.limit > self._best_limit:
            self._set(self._best_limit)
            self._settle(self._next_rest())
        else:
            # The run became slower without a change: the best rate is out of date.
            self._best = rate
            self._set(min(self._most, self.limit + 1))
        self._begin_window()

    def _glance(self, seconds: float) -> None:
        """Start with a few jobs, unless the first one is computing rather than waiting."""
        self._has_glanced = True
        if (self._cpu() - self._cpu_before) / seconds < BUSY:
            self._set(min(FIRST, self._most))
            self._best_limit = self.limit
            self._begin_window()
        else:
            self._settle(self._next_rest())

    def _next_rest(self) -> float:
        """Return the seconds until more jobs are tried: ever more for a busy process."""
        if self.limit > 1:
            return REST
        rest = self._busy_rest
        self._busy_rest = min(LONGEST_REST, 2 * rest)
        return rest

    def _rate(self, seconds: float) -> float:
        """Return bytes per second or, if no bytes are counted, jobs per second."""
        moved = self._moved() - self._moved_before
        return (moved if moved > 0 else self._done - self._done_before) / seconds

    def _set(self, limit: int) -> None:
        if limit != self.limit:
            log.info("%d requests at a time", limit)
        self.limit = limit
        self.reached = max(self.reached, limit)
        self._condition.notify_all()

    def _settle(self, rest: float = REST) -> None:
        self._doubles = False
        self._rests_until = self._clock() + rest
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_began = self._clock()
        self._moved_before = self._moved()
        self._done_before = self._done
        self._cpu_before = self._cpu()
