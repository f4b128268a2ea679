"""Hands units of work to worker processes until each of their items has an outcome.

What a worker said counts, once. A unit that was lost with its worker is handed out again, and the
server asked what it has of it. What was not heard of in the end is unknown, never done.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from dcmweb.errors import (
    AuthError,
    DcmwebError,
    Interrupted,
    LocalError,
    NetworkError,
    Unreachable,
)
from dcmweb.executors.base import Executor, ExecutorGone, Sealed, WorkerLost
from dcmweb.library.shares import Shares
from dcmweb.library.worker import Order, UnitDone, do_unit, is_interrupted
from dcmweb.transactions.context import RunContext
from dcmweb.transfer.engine import Engine, Job
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.unit import Unit

TICK = 0.2  # seconds between looks for a stop while a worker is at it
AFTER_SIGNAL, AFTER_ERROR = 3.0, 10.0  # seconds to hear of units in flight when a run stops
MOST_THREADS = 256  # each waits for one unit
TOGETHER = 256  # outcomes of items that need no worker

_OF_WORKER = (AuthError, LocalError, NetworkError)  # errors that may be those of one worker


Steps = Generator[Outcome, None, list[Unit]]  # returns the units that are to follow


class NotHeardOf(Exception):
    """A unit had not come back when the time after a stop was over."""


class Distribution:
    """The units of one run."""

    def __init__(
        self,
        context: RunContext,
        executor: Executor,
        order: Order,
        before_first: Callable[[Unit], object],
    ) -> None:
        self._context = context
        self._executor = executor
        self._order = order
        self._before_first = before_first
        self._stop = context.stop
        self.shares = Shares(
            order.settings,
            lambda: executor.slots,
            queue=executor.queue,
            others=int(order.command == "retrieve"),
        )
        self._stop.on_set(executor.stop)

    def run(self, units: Iterable[Unit | Outcome]) -> Iterator[Outcome]:
        """Yield outcomes as they come. Raises what ends the run."""
        threads = min(MOST_THREADS, 2 * max(1, self._executor.most_slots))
        engine = Engine(
            workers=threads,
            policy=self._context.engine.policy,
            stop=self._stop,
            tick=self._tick,
        )
        self._engine = engine
        engine.meter = self._context.engine.meter
        engine.concurrency.allow(self.shares.in_flight)
        yield from engine.run(self._jobs(units))

    def _tick(self) -> None:
        self._adjust()
        self._context.tick()

    def _adjust(self) -> None:
        """Follow the workers that come and go."""
        self._engine.concurrency.allow(self.shares.in_flight)
        self._context.transport.limit.change(*self.shares.own_rates())
        reached = self._context.engine.concurrency
        share = 1 / self.shares.running
        each = max(1, int(self._order.settings.workers * share))
        reached.reached = max(reached.reached, self.shares.running * each)

    def _jobs(self, units: Iterable[Unit | Outcome]) -> Iterator[Job[Outcome]]:
        is_first = True
        outcomes: list[Outcome] = []
        for unit in units:
            if isinstance(unit, Outcome):
                outcomes.append(unit)
                if len(outcomes) >= TOGETHER:
                    yield partial(iter, outcomes)
                    outcomes = []
                continue
            if is_first:
                self._before_first(unit)
                is_first = False
                self._adjust()
            yield partial(self._do, unit)
        yield partial(iter, outcomes)

    def _do(self, unit: Unit) -> Iterator[Outcome]:
        """Do a unit, in smaller ones if workers are lost with it."""
        waiting = [unit]
        try:
            while waiting:
                one = waiting[0]
                # Until it has an outcome, it is named as what it may be by whatever ends this.
                again = yield from self._once(one)
                waiting[:1] = again
        except (DcmwebError, RuntimeError) as error:
            for left in waiting[1:]:
                if left.is_again:
                    yield from _unknown(left, f"its worker was lost, and the run ended: {error}")
            raise

    def _once(self, unit: Unit) -> Steps:
        """Hand a unit out; yield outcomes, and return what is to be handed out after it."""
        self._adjust()
        with ExitStack() as stack:
            try:
                self._stop.check()
                settings = stack.enter_context(self.shares.one(self._stop.check))
                order = replace(self._order, settings=settings)
                sealed = Sealed(pickle.dumps((order, unit)))
                future = self._executor.submit(do_unit, sealed)
            except Interrupted:
                if unit.is_again:
                    yield from _unknown(unit, "interrupted after its worker was lost")
                raise
            except ExecutorGone as gone:
                if unit.is_again:
                    yield from _unknown(unit, f"its worker was lost, and then {gone}")
                raise _as_error(gone) from None
            return (yield from self._outcome_of(unit, future))

    def _outcome_of(self, unit: Unit, future: Future[Any]) -> Steps:
        try:
            done: UnitDone = pickle.loads(self._result(future))  # noqa: S301 - of a worker
        except CancelledError:
            if unit.is_again:
                yield from _unknown(unit, "interrupted after its worker was lost")
            self._stop.check()
            raise Interrupted from None
        except NotHeardOf:
            yield from _unknown(unit, "interrupted before its worker answered")
            self._stop.check()
            raise Interrupted from None
        except ExecutorGone as gone:
            yield from _unknown(unit, f"it was handed to a worker, and then {gone}")
            raise _as_error(gone) from None
        except WorkerLost as lost:
            return (yield from self._after_loss(unit, lost))
        except Exception as error:
            yield from _unknown(unit, f"a defect of dcmweb, or of the cluster: {error}")
            raise
        return (yield from self._heard(unit, done))

    def _result(self, future: Future[Any]) -> bytes:
        """Wait for what a worker says; after a stop, for a while only."""
        deadline = 0.0
        with ExitStack() as held:
            while True:
                try:
                    return bytes(future.result(timeout=TICK))
                except FutureTimeout:
                    if future.done():
                        raise
                if self._stop.is_set() and not deadline:
                    if future.cancel():
                        raise CancelledError
                    held.enter_context(self._stop.holding())
                    grace = AFTER_SIGNAL if self._stop.cause else AFTER_ERROR
                    deadline = time.monotonic() + grace
                if deadline and time.monotonic() > deadline:
                    raise NotHeardOf

    def _after_loss(self, unit: Unit, lost: WorkerLost) -> Steps:
        """Return what to hand out after a worker was lost; name what was lost too often."""
        if self._stop.is_set():
            yield from _unknown(unit, f"worker {lost.worker} was lost, and the run ended")
            self._stop.check()
        self._context.engine.meter.retry()
        again = list(unit.after_loss(was_running=lost.was_running))
        if not again:
            count = unit.tries + 1
            words = f"{count} workers were lost while they had it, the last one {lost.worker}"
            yield from _unknown(unit, words)
        return again

    def _heard(self, unit: Unit, done: UnitDone) -> Steps:
        """Yield what a worker said of a unit, once; return the rest, if it was ended early."""
        self._context.engine.meter.add(done.bytes)
        for _ in range(done.retries):
            self._context.engine.meter.retry()
        for note in done.notes:
            self._context.notify_once(note)
        here = dict(zip(unit.names, unit.items, strict=True)) if unit.names else {}
        left = dict.fromkeys(unit.items)
        refused = ""
        for outcome in done.outcomes:
            name = here.get(outcome.item, outcome.item)
            left.pop(name, None)
            if unit.items and name == unit.target and not outcome.status.is_good:
                refused = outcome.reason
                continue
            yield outcome._replace(item=name) if name != outcome.item else outcome
        if is_interrupted(done) and not self._stop.is_set():
            return list(unit.only(tuple(left)).after_loss(was_running=False)) if left else []
        yield from self._left(unit, done, left, refused)
        if done.defect:
            raise RuntimeError(f"worker {done.worker}: {done.defect}")
        if is_interrupted(done):
            self._stop.check()
        if done.error is not None:
            if isinstance(done.error, _OF_WORKER):
                done.error.message = f"worker {done.worker}: {done.error.message}"
            raise done.error
        return []

    def _left(
        self, unit: Unit, done: UnitDone, left: Iterable[str], refused: str
    ) -> Iterator[Outcome]:
        """Name the items of which the worker said nothing."""
        names = dict(zip(unit.items, unit.names, strict=True)) if unit.names else {}
        for item in left:
            if done.defect:
                yield Outcome(Status.UNKNOWN, item, reason=f"a defect of dcmweb: {done.defect}")
            elif done.error is not None and names.get(item) not in done.begun:
                words = done.error.message
                yield Outcome(Status.FAILED, item, reason=refused or f"not done: {words}")
            elif self._order.command == "retrieve":
                yield Outcome(Status.FAILED, item, reason=refused or "it was listed, but not sent")
            else:
                yield Outcome(Status.UNKNOWN, item, reason="its worker did not name it")


def _unknown(unit: Unit, words: str) -> Iterator[Outcome]:
    for item in unit.accounts_for:
        yield Outcome(Status.UNKNOWN, item, reason=words)


def _as_error(gone: ExecutorGone) -> Unreachable:
    return Unreachable(str(gone), "run it again with the same manifest", retryable=False)
