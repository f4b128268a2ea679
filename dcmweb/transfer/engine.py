"""The engine runs jobs on a bounded number of workers, retries them, and stops on request.

It does not know what it moves. A job is a callable that yields results. Jobs are taken from
their iterator one by one, at most one ahead for each worker, so that memory does not grow.
"""

from __future__ import annotations

import atexit
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Lock, Thread, current_thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from dcmweb.errors import DcmwebError, Interrupted, Refused, Stalled
from dcmweb.transfer.concurrency import ConcurrencyLimit
from dcmweb.transfer.meter import Meter, reason_to_wait
from dcmweb.transfer.stop import Stop

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[], Iterable[T]]

RESULTS_WAITING = 16  # groups of results, each of no more than RESULTS_TOGETHER
RESULTS_TOGETHER, GATHERING = 256, 0.05  # results of a job are grouped: how many, how long
TICK = 0.2  # seconds between looks at the clock while no result arrives
GRACE = 1.0  # seconds in which workers should end after a stop
LONGEST_HOLD = 30.0  # seconds more for what must not be left half done
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a retry: upper bounds, doubled each time
MOST_DOUBLINGS = 16
EARLY_RETRIES = 2  # while the server has not answered yet
MOST_IN_A_ROW = 5  # consecutive failures, retries used up, before the run stops


def _is_too_much(error: DcmwebError) -> bool:
    return isinstance(error, Refused) and error.status in (429, 503)


def _never(_error: DcmwebError) -> bool:
    return False


@dataclass(frozen=True)
class RetryPolicy:
    """How many retries to make, and for how long; delays have full jitter."""

    retries: int
    time: float  # seconds after the first attempt in which a new one may begin

    def delay(self, attempt: int, error: DcmwebError) -> float:
        """Return the seconds to wait after this attempt, counted from 0."""
        asked = error.retry_after if isinstance(error, Refused) else None
        doubled = FIRST_DELAY * 2 ** min(attempt, MOST_DOUBLINGS)
        drawn = random.uniform(0, min(LONGEST_DELAY, doubled))  # noqa: S311
        return drawn if asked is None else asked + drawn


class Engine:
    """Workers, retries and stopping of one run; `tick` is called while it waits for results."""

    def __init__(
        self,
        *,
        workers: int,
        policy: RetryPolicy,
        stop: Stop,
        adapts: bool = False,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.workers = workers
        self.stop = stop
        self.meter = Meter()
        self.waiting: deque[Any] = deque()  # results that have come, and were not taken yet
        self.concurrency = ConcurrencyLimit(workers, adapts=adapts, moved=lambda: self.meter.bytes)
        self.policy = policy
        self._tick = tick
        self._lock = Lock()
        self._failed_in_a_row = 0
        self._ever_answered = False
        self._last_error: DcmwebError | None = None

    def attempt(
        self,
        action: Callable[[], T],
        *,
        fail_fast: Callable[[DcmwebError], bool] = _never,
        not_counted: Callable[[DcmwebError], bool] = _never,
    ) -> T:
        """Run an action, and retry it while its error is retryable and the policy allows.

        `fail_fast(error)`: raise it without a retry. `not_counted(error)`: leave it out of
        the limit of consecutive failures, since a smaller request will be tried.
        """
        began = time.monotonic()
        attempt = 0
        while True:
            self.stop.check()
            try:
                result = action()
            except DcmwebError as error:
                if isinstance(error, Stalled) or _is_too_much(error):
                    self.concurrency.back_off()
                delay = self.policy.delay(attempt, error)
                late = time.monotonic() + delay > began + self.policy.time
                if not error.retryable or fail_fast(error) or late or attempt >= self._most(error):
                    if not not_counted(error):
                        self._note(error)
                    raise
                last = error
            else:
                self._note(None)
                return result
            what = f"{last.attempted}: {last.message}" if last.attempted else last.message
            log.info("attempt %d: %s; again in %.1f s", attempt + 1, what, delay)
            self.pause(delay, last)
            attempt += 1

    def _most(self, error: DcmwebError) -> int:
        """Return the number of retries: few for an unreachable server that never answered."""
        early = error.fatal and not self._ever_answered
        return min(self.policy.retries, EARLY_RETRIES) if early else self.policy.retries

    def pause(self, delay: float, error: DcmwebError) -> None:
        """Wait before a retry, and count it; `error` is what the first attempt ended with."""
        self.meter.retry()
        self.sleep(delay, reason_to_wait(error))

    def sleep(self, seconds: float, reason: str = "") -> None:
        """Wait, and let the progress say why. Raises Interrupted at a stop."""
        with self.meter.pauses.during(seconds, reason):
            self.stop.sleep(seconds)

    def delay(self, attempt: int, error: DcmwebError) -> float | None:
        """Return how long to wait before trying an item again.

        None when it was tried enough, or when the server asks for more time than a run may take.
        """
        delay = self.policy.delay(attempt, error)
        return delay if attempt < self.policy.retries and delay <= self.policy.time else None

    def gives_up(self, error: DcmwebError) -> bool:
        """Return True if an error should end the run, since other items would fail as well."""
        return error.fatal or (error.retryable and self._failed_in_a_row >= MOST_IN_A_ROW)

    def _raise_if_never_connected(self) -> None:
        """At the end of a run, raise the last error if the server never answered."""
        if self._last_error is not None and not self._ever_answered:
            raise self._last_error

    def note_answer(self) -> None:
        """Note that the server can be reached, as an exchange beside those of the run shows."""
        self._ever_answered = True

    def _note(self, error: DcmwebError | None) -> None:
        with self._lock:
            if error is not None and error.retryable:
                self._failed_in_a_row += 1
                self._last_error = error
            elif not isinstance(error, Interrupted):
                self._failed_in_a_row = 0
                self._ever_answered = True

    def run(self, jobs: Iterable[Job[T]]) -> Iterator[T]:
        """Run the jobs and yield their results as they come.

        An error of a job, or a stop, ends all jobs. The results that are finished by then are
        yielded, then the error is raised. If the server never answered, the last error is raised
        at the end.
        """
        self.stop.is_watched = True  # before any worker starts
        crew: _Crew[T] = _Crew(jobs, self.workers, self.concurrency, self.stop)
        try:
            for results in crew.results(self._tick):
                self.waiting = waiting = deque(results)
                while waiting:
                    yield waiting.popleft()
            self._raise_if_never_connected()
        finally:
            self.stop.is_watched = False
            crew.end()


class _End:
    """Marks the end of a queue: of the jobs, or of the results of one worker."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Crew(Generic[T]):
    """The workers of one run, and a thread that finds jobs ahead of them.

    Finding a job can take long: it walks folders, requests pages of a search, waits before a
    retry. Workers that have a job do not wait for that.
    """

    def __init__(
        self, jobs: Iterable[Job[T]], workers: int, limit: ConcurrencyLimit, stop: Stop
    ) -> None:
        self._limit = limit
        self._stop = stop
        self._jobs: Queue[Job[T] | _End] = Queue(workers)
        self._results: Queue[list[T] | _End] = Queue(RESULTS_WAITING)
        self._working = workers
        self._stopped_at: float | None = None
        self._held_until = 0.0
        self._ended = False  # there are no further jobs
        # Daemons: a thread that hangs in a call must not keep the process alive.
        self._threads = [
            Thread(target=self._find, args=(iter(jobs),), name="dcmweb finder", daemon=True)
        ]
        self._threads += [
            Thread(target=self._work, name="dcmweb worker", daemon=True) for _ in range(workers)
        ]
        _crews.add(self)
        for thread in self._threads:
            thread.start()

    def _find(self, jobs: Iterator[Job[T]]) -> None:
        """Put jobs into their queue until there are no more, or the run stops."""
        # No variable keeps an error: with its traceback, it would keep all that it passed through.
        try:
            for job in jobs:
                self._offer(job)
                if self._stop.is_set():
                    return
            self._offer(_End())
        except BaseException as error:
            self._offer(_End(error))
        finally:
            if isinstance(jobs, Generator):
                jobs.close()  # here, rather than when Python collects it

    def _offer(self, job: Job[T] | _End) -> None:
        while not self._stop.is_set():
            with suppress(Full):
                self._jobs.put(job, timeout=TICK)
                return

    def _work(self) -> None:
        try:
            while self._one_job():
                pass
        except BaseException as error:
            self._put(_End(error))
        else:
            self._put(_End())

    def _one_job(self) -> bool:
        """Do a job when it is this worker's turn; return False if there is none."""
        with self._limit.turn(lambda: self._stop.is_set() or self._ended) as is_on:
            job = self._next() if is_on else None
            if job is None:
                self._ended = True
                return False
            self._do(job)
        return True

    def _next(self) -> Job[T] | None:
        """Take a job; None at the end. Raises the error that finding jobs ended with."""
        while not self._stop.is_set():
            with suppress(Empty):
                job = self._jobs.get(timeout=TICK)
                if not isinstance(job, _End):
                    return job
                self._jobs.put(_End())  # for the next worker; the finder puts nothing after it
                if job.error is not None:
                    raise job.error
                return None
        return None

    def _do(self, job: Job[T]) -> None:
        """Put what a job yields, grouped, since waking the consumer for each result is slow."""
        results: list[T] = []
        due = 0.0
        try:
            for result in job():
                results.append(result)
                if len(results) >= RESULTS_TOGETHER or time.monotonic() >= due:
                    self._put(results)
                    results = []
                    due = time.monotonic() + GATHERING
        finally:
            if results:
                self._put(results)

    def _put(self, results: list[T] | _End) -> None:
        while not self._is_over():
            with suppress(Full):
                self._results.put(results, timeout=TICK)
                return

    def results(self, tick: Callable[[], None]) -> Iterator[list[T]]:
        """Yield results, in groups, until all workers have ended or their time is over."""
        error: BaseException | None = None
        results: list[T] | _End = []
        while self._working and not self._is_over():
            try:
                results = self._results.get(timeout=TICK)
            except Empty:
                tick()
                continue
            if not isinstance(results, _End):
                yield results
                continue
            self._working -= 1
            error = error or results.error
            if error is not None:
                self._stop.set()
        yield from self._left_over()
        if self._stop.cause is not None:
            raise self._stop.cause
        if error is None and self._stop.is_set():
            error = Interrupted()  # somebody closed the run, while another thread waits for it
        try:
            if error is not None:
                raise error
        finally:
            del error, results

    def _left_over(self) -> Iterator[list[T]]:
        """Yield results that came too late for the loop."""
        with suppress(Empty):
            while True:
                results = self._results.get_nowait()
                if not isinstance(results, _End):
                    yield results

    def _is_over(self) -> bool:
        """Return True if the workers' time after a stop is over; pass a signal on to them."""
        if self._stop.cause is not None:
            self._stop.set()
        if not self._stop.is_set():
            return False
        now = time.monotonic()
        self._stopped_at = self._stopped_at or now
        if self._stop.is_held and now < self._stopped_at + LONGEST_HOLD:
            self._held_until = now
        return now > max(self._stopped_at, self._held_until) + GRACE

    def end(self) -> None:
        """Stop what is still at work, and wait for that a little."""
        if self._working:
            self._stop.set()
        deadline = time.monotonic() + (LONGEST_HOLD if self._stop.is_held else GRACE)
        for thread in self._threads:
            if thread is not current_thread():  # the garbage collector may run in a worker
                thread.join(max(0.0, deadline - time.monotonic()))
        _crews.discard(self)


_crews: WeakSet[_Crew[Any]] = WeakSet()


@atexit.register
def _end_all() -> None:
    """End the runs that a program has left open, so that they remove what they had half written."""
    for crew in list(_crews):
        crew.end()
