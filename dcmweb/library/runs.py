"""A run: one call of a transaction, from its first request to its summary."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from threading import Lock, get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from dcmweb.errors import DcmwebError, Interrupted, UsageError
from dcmweb.library.ahead import Ahead
from dcmweb.transfer.engine import Engine
from dcmweb.transfer.meter import Meter
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, Tally, nothing_is_done
from dcmweb.transfer.recording import recorded
from dcmweb.transfer.summary import NOT_BEGUN, Progress, Summary

if TYPE_CHECKING:
    from dcmweb.transfer.manifest import Manifest

T = TypeVar("T")
_Self = TypeVar("_Self", bound="Run[Any]")
OnProgress = Callable[[Progress], None]
OpenManifest = Callable[[], "Manifest"]
PROGRESS_EVERY = 0.1  # seconds between two calls of `on_progress` while outcomes come


class Run(Generic[T]):
    """What a call of a client returns: iterate over it for its results as they come.

    Nothing is sent before that. A loop that is broken off can be taken up again by another loop
    over the same run. A run that is closed, or forgotten, ends what it has in flight, and harms no
    other run. An error ends the run: whoever goes on gets it again. Several threads may take the
    results of one run; each gets some of them.
    """

    def __init__(self, name: str, begin: Callable[[], Iterator[T]]) -> None:
        self.name = name
        self.on_begun: Callable[[], object] = lambda: None
        self.on_close: Callable[[], object] = lambda: None  # cuts off what is in flight
        self._begin = begin
        self._results: Iterator[T] | None = None
        self._error: BaseException | None = None
        self._trace: TracebackType | None = None
        self._lock = Lock()
        self._thread = 0  # the one that waits for a result
        self._process = os.getpid()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: it is something going on, not a value."""
        raise TypeError("a run cannot be pickled; hand over a Work instead")

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self._check_caller()
        with self._lock:
            self._thread = get_ident()
            try:
                return self._take()
            finally:
                self._thread = 0

    def _check_caller(self) -> None:
        if self._thread == get_ident():
            raise UsageError(f"{self.name} waits for a result, and cannot be asked for another")
        if self._process != os.getpid():
            raise UsageError(f"{self.name} was called in another process", "call it again in this")

    def _take(self) -> T:
        if self._error is not None:
            raise self._error.with_traceback(self._trace)
        if self._results is None:
            self.on_begun()
            self._results, self._begin = self._begin(), lambda: iter(())
        try:
            return next(self._results)
        except StopIteration:
            raise
        except BaseException as error:
            self._error, self._trace = error, error.__traceback__
            raise

    def close(self) -> None:
        """End the run where it is; what is in flight is cut off.

        A thread that waits for a result of it gets Interrupted.
        """
        self.on_begun()
        if self._process != os.getpid():
            self._results = iter(())
            return
        if self._thread:
            self.on_close()
        if self._thread == get_ident():  # by a callback: the run ends when that returns
            return
        with self._lock:
            results, self._results = self._results, iter(())
            self._begin = lambda: iter(())
            if results is not None:
                _close(results)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A run that was begun is closed as its generator goes away.
        if getattr(self, "_results", self) is None:
            message = f"{self.name} was called, but nothing was done: iterate over it, or wait()"
            warnings.warn(message, RuntimeWarning, stacklevel=2, source=self)


class Transfer(Run[Outcome]):
    """A run that moves, deletes or waits for items: it yields the outcome of each."""

    def __init__(self, name: str, begin: Callable[[], Outcomes], account: Account) -> None:
        super().__init__(name, begin)
        self._account = account

    def wait(self) -> Summary:
        """Take the outcomes that are left, and return the summary. Raises what ends the run."""
        for _ in self:
            pass
        return self.summary

    @property
    def progress(self) -> Progress:
        """How far the run has come; can be read from any thread."""
        return self._account.progress

    def count_ahead(self) -> None:
        """Begin to find out how much there is to do: `expected` of the progress says it later.

        Folders are walked through, or the server is asked for counts, while the run goes on. It
        stays unknown where that would take as long as the run itself, as for compressed archives.
        """
        self._account.count_ahead()

    @property
    def summary(self) -> Summary:
        """What the run has done so far; its `end` says if it has not come to its end."""
        return self._account.summary


class Account:
    """Keeps count of what a run does.

    It does not know the run itself: a run that is forgotten is closed at once, rather than when
    Python collects objects that know each other.
    """

    def __init__(
        self,
        purpose: Status,
        on_progress: OnProgress | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._ahead = ahead
        self._tally = Tally(purpose)
        self._engine: Engine | None = None
        self._began: float | None = None
        self._seconds: float | None = None  # None until the run has ended
        self._end = NOT_BEGUN
        self._due = 0.0

    def follow(
        self,
        engine: Engine,
        begin: Callable[[IsDone], Iterator[Outcome]],
        open_manifest: OpenManifest | None,
    ) -> Outcomes:
        """Run a transaction: count each outcome, write it to the manifest, then yield it."""
        manifest = open_manifest() if open_manifest else None
        self._engine = engine
        engine.meter.touch()
        self._began = time.monotonic()
        self._end = "stopped early"
        try:
            with ExitStack() as stack:
                if manifest is not None:
                    stack.callback(manifest.close)
                    stack.push(partial(self._note_end, manifest))
                knows_any = manifest is not None and manifest.knows_any
                outcomes = begin(manifest.is_done if manifest and knows_any else nothing_is_done)
                stack.callback(_close, outcomes)
                if manifest is not None:
                    outcomes = recorded(outcomes, manifest, engine)
                for outcome in outcomes:
                    self._tally.add(outcome)
                    engine.meter.touch()
                    yield outcome
                    if time.monotonic() >= self._due:
                        self.report()
            self._end = ""
        except Interrupted:
            self._end = "interrupted"
            raise
        finally:
            self._seconds = time.monotonic() - self._began
            if self._ahead is not None:
                self._ahead.end()

    def count_ahead(self) -> None:
        """Begin to count what there is to do, if that can be known while the run is going on."""
        if self._ahead is not None and self._began is not None and self._seconds is None:
            self._ahead.begin()

    def _note_end(
        self,
        manifest: Manifest,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Write to the manifest how the run ended; where that fails, it is not a complete run."""
        if error is None:
            manifest.end("complete", int(self.summary.exit_code))
        elif isinstance(error, Interrupted):
            manifest.end("interrupted", int(error.exit_code))
        elif isinstance(error, DcmwebError):
            manifest.end("stopped early", int(error.exit_code))

    def report(self) -> None:
        """Call `on_progress`, if there is one."""
        self._due = time.monotonic() + PROGRESS_EVERY
        if self._on_progress is not None:
            self._on_progress(self.progress)

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        meter = self._engine.meter if self._engine else Meter()
        ahead = self._ahead
        expected = meter.expected if meter.expects_all else None
        return Progress(
            counts=dict(self._tally.counts),
            bytes=meter.bytes,
            passed_over=self._tally.passed_over,
            expected=ahead.items if expected is None and ahead else expected,
            expected_bytes=ahead.bytes if ahead else None,
            done_bytes=self._tally.settled + max(0, meter.under_way),
            is_counting=expected is None and ahead is not None and ahead.is_counting,
            retries=meter.retries,
            workers=self._workers,
            seconds=self._elapsed,
            phase=meter.phase,
            later=meter.later,
            pause=meter.pauses.next,
            idle=seconds_idle(meter),
        )

    @property
    def summary(self) -> Summary:
        """What the run has done so far."""
        return Summary(
            purpose=self._tally.purpose,
            counts=dict(self._tally.counts),
            bytes=self._tally.bytes,
            seconds=self._elapsed,
            workers=self._workers,
            retries=self._engine.meter.retries if self._engine else 0,
            failures=tuple(self._tally.problems),
            end=self._end,
        )

    @property
    def _workers(self) -> int:
        return self._engine.concurrency.reached if self._engine else 0

    @property
    def _elapsed(self) -> float:
        if self._seconds is not None:
            return self._seconds
        return time.monotonic() - self._began if self._began is not None else 0.0


def seconds_idle(meter: Meter) -> float:
    """Return for how long nothing has come."""
    return max(0.0, time.monotonic() - meter.moved_at)


def _close(results: object) -> None:
    if isinstance(results, Generator):
        results.close()
