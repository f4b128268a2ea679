"""Units that are heard of twice, lost, killed, or never heard of: what is said of their items."""

from __future__ import annotations

import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from dcmweb.errors import AuthError, DcmwebError, Interrupted, LocalError, Unreachable
from dcmweb.executors.base import Adapted, Check, ExecutorGone, Sealed, WorkerLost, adapted
from dcmweb.http.transport import Transport
from dcmweb.library import distribution
from dcmweb.library.distribution import Distribution
from dcmweb.library.worker import Order, UnitDone
from dcmweb.settings import Settings
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.options import StoreOptions
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.stop import Stop
from dcmweb.transfer.unit import MOST_LOSSES, Unit

SETTINGS = Settings(base_url="http://server.example/dicomweb")
Work = Callable[[Unit, Settings], UnitDone]


class FakeExecutor:
    """Does each unit in a thread, as `work` says: it returns UnitDone, or raises."""

    is_private = True
    queue = 1

    def __init__(self, work: Work, slots: int = 2) -> None:
        self._work = work
        self.slots = self.most_slots = slots
        self.is_stopped = False
        self.units: list[Unit] = []

    def check_workers(self, check: Check, order: Sealed, notify: object = None) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        order, unit = pickle.loads(args[0].data)
        self.units.append(unit)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        threading.Thread(target=self._do, args=(future, unit, order.settings), daemon=True).start()
        return future

    def _do(self, future: Future[Any], unit: Unit, settings: Settings) -> None:
        try:
            future.set_result(pickle.dumps(self._work(unit, settings)))
        except BaseException as error:
            with suppress(Exception):
                future.set_exception(error)

    def stop(self) -> None:
        self.is_stopped = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def stored(unit: Unit, status: Status = Status.STORED) -> UnitDone:
    """Say of each item of a unit that it was stored."""
    names = unit.names or unit.items
    return UnitDone(worker="w", outcomes=tuple(Outcome(status, one) for one in names))


def files(count: int, prefix: str = "") -> Unit:
    items = tuple(f"{prefix}{number}" for number in range(count))
    return Unit(items=items, names=tuple(f"/data/{item}" for item in items))


def run(
    executor: Any,
    units: Iterable[Unit | Outcome],
    *,
    settings: Settings = SETTINGS,
    stop: Stop | None = None,
) -> tuple[list[Outcome], BaseException | None]:
    """Distribute units; return the outcomes, and the error that ended it."""
    transport = Transport(settings)
    context = RunContext(transport, stop=stop)
    order = Order(run="r", command="store", settings=settings, options=StoreOptions())
    outcomes: list[Outcome] = []
    try:
        for outcome in Distribution(context, executor, order, lambda _: None).run(units):
            outcomes.append(outcome)
    except (DcmwebError, RuntimeError) as error:
        return outcomes, error
    finally:
        transport.close()
    return outcomes, None


def by_status(outcomes: Iterable[Outcome]) -> dict[Status, int]:
    return dict(Counter(outcome.status for outcome in outcomes))


def each_once(outcomes: list[Outcome], *units: Unit) -> bool:
    wanted = sorted(item for unit in units for item in unit.items)
    return sorted(outcome.item for outcome in outcomes) == wanted


def test_items_are_named_as_they_are_called_here() -> None:
    unit = files(3)
    outcomes, error = run(FakeExecutor(lambda one, _: stored(one)), [unit])
    assert error is None
    assert each_once(outcomes, unit)


def test_a_unit_that_is_lost_twice_is_handed_out_again_in_smaller_ones() -> None:
    lost: list[Unit] = []

    def work(unit: Unit, _settings: Settings) -> UnitDone:
        if len(lost) < 2 and unit.items[0] == "a0":
            lost.append(unit)
            raise WorkerLost("w1")
        return stored(unit, Status.EXISTS if unit.is_again else Status.STORED)

    units = [files(100, "a"), files(100, "b")]
    executor = FakeExecutor(work, slots=1)
    outcomes, error = run(executor, units)
    assert error is None
    assert each_once(outcomes, *units)
    assert by_status(outcomes) == {Status.EXISTS: 100, Status.STORED: 100}
    again = [unit for unit in executor.units if unit.is_again]
    assert [len(unit.items) for unit in again] == [100, *[10] * 10]


def test_what_only_waited_at_a_lost_worker_stays_together() -> None:
    seen: list[Unit] = []

    def work(unit: Unit, _settings: Settings) -> UnitDone:
        seen.append(unit)
        if len(seen) == 1:
            raise WorkerLost("w1", was_running=False)
        return stored(unit)

    unit = files(100)
    outcomes, _ = run(FakeExecutor(work), [unit])
    assert each_once(outcomes, unit)
    assert [len(one.items) for one in seen] == [100, 100]
    assert seen[1].is_again


def test_an_item_that_ends_workers_is_named_and_takes_no_other_with_it() -> None:
    killed = []

    def work(unit: Unit, _settings: Settings) -> UnitDone:
        if "a77" in unit.items:
            killed.append(unit)
            raise WorkerLost(f"w{len(killed)}")
        return stored(unit)

    units = [files(256, "a"), files(256, "b")]
    outcomes, error = run(FakeExecutor(work), units)
    assert error is None
    assert each_once(outcomes, *units)
    assert [one.item for one in outcomes if one.status is not Status.STORED] == ["a77"]
    (bad,) = (one for one in outcomes if one.item == "a77")
    assert bad.status is Status.UNKNOWN
    assert f"{len(killed)} workers were lost" in bad.reason
    assert len(killed) == 2 + 1 + MOST_LOSSES - 1


def test_an_answer_that_is_heard_of_twice_counts_once() -> None:
    class Repeating(FakeExecutor):
        def _do(self, future: Future[Any], unit: Unit, settings: Settings) -> None:
            super()._do(future, unit, settings)
            super()._do(future, unit, settings)

    unit = files(10)
    outcomes, _ = run(Repeating(lambda one, _: stored(one)), [unit])
    assert each_once(outcomes, unit)


def test_what_a_worker_does_not_name_is_unknown() -> None:
    def work(unit: Unit, _settings: Settings) -> UnitDone:
        done = stored(unit)
        return replace(done, outcomes=done.outcomes[:-1])

    outcomes, _ = run(FakeExecutor(work), [files(3)])
    assert by_status(outcomes) == {Status.STORED: 2, Status.UNKNOWN: 1}


def test_an_error_names_its_worker_and_what_was_not_begun() -> None:
    def work(unit: Unit, _settings: Settings) -> UnitDone:
        first = Outcome(Status.FAILED, unit.names[0], reason="no password")
        begun = frozenset(unit.names[:2])
        error = AuthError("no password")
        return UnitDone(worker="w9", outcomes=(first,), error=error, begun=begun)

    outcomes, error = run(FakeExecutor(work), [files(4)])
    assert isinstance(error, AuthError)
    assert error.message == "worker w9: no password"
    assert by_status(outcomes) == {Status.FAILED: 3, Status.UNKNOWN: 1}


def test_the_end_of_the_executor_ends_the_run_in_order() -> None:
    ready = threading.Event()

    def work(unit: Unit, _settings: Settings) -> UnitDone:
        if unit.items[0].startswith("a"):
            return stored(unit)
        ready.wait(5)
        raise ExecutorGone("the scheduler is gone")

    timer = threading.Timer(0.3, ready.set)
    timer.start()
    units = [files(10, "a"), files(10, "b"), files(10, "c"), files(10, "d")]
    outcomes, error = run(FakeExecutor(work), units)
    timer.join()
    assert isinstance(error, Unreachable)
    assert int(error.exit_code) == 6
    assert "the scheduler is gone" in error.message
    assert by_status(outcomes)[Status.STORED] == 10
    assert {one.status for one in outcomes if one.item[0] != "a"} == {Status.UNKNOWN}
    assert all(count == 1 for count in Counter(one.item for one in outcomes).values())


def test_a_unit_that_was_never_handed_out_is_not_named() -> None:
    class Closed(FakeExecutor):
        def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
            raise ExecutorGone("there are no workers")

    outcomes, error = run(Closed(lambda one, _: stored(one)), [files(10)])
    assert outcomes == []
    assert isinstance(error, Unreachable)


def test_what_was_not_heard_of_when_a_run_is_interrupted_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distribution, "AFTER_SIGNAL", 0.5)
    stop = Stop()
    never = threading.Event()

    def work(unit: Unit, _settings: Settings) -> UnitDone:
        if unit.items[0].startswith("b"):
            stop.request(Interrupted(2))
            never.wait(20)
        return stored(unit)

    executor = FakeExecutor(work, slots=1)
    outcomes, error = run(executor, [files(5, "a"), files(5, "b")], stop=stop)
    never.set()
    assert isinstance(error, Interrupted)
    assert executor.is_stopped
    assert by_status(outcomes) == {Status.STORED: 5, Status.UNKNOWN: 5}


def test_a_defect_in_a_worker_names_all_and_is_raised() -> None:
    def work(unit: Unit, _settings: Settings) -> UnitDone:
        return UnitDone(worker="w", outcomes=(), defect="TypeError: oh")

    outcomes, error = run(FakeExecutor(work), [files(3)])
    assert isinstance(error, RuntimeError)
    assert by_status(outcomes) == {Status.UNKNOWN: 3}


def test_what_needs_no_worker_goes_to_none() -> None:
    done = [Outcome(Status.DONE_BEFORE, str(number)) for number in range(1000)]
    executor = FakeExecutor(lambda one, _: stored(one))
    outcomes, error = run(executor, [*done, files(1, "x")])
    assert error is None
    assert len(outcomes) == 1001
    assert len(executor.units) == 1


@pytest.mark.parametrize(
    ("workers", "slots", "each"), [(8, 4, 2), (2, 4, 1), (10, 4, 2), (1, 3, 1)]
)
def test_the_number_of_requests_is_that_of_all_workers(workers: int, slots: int, each: int) -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def work(unit: Unit, settings: Settings) -> UnitDone:
        nonlocal running, most
        assert settings.workers == each
        with lock:
            running += settings.workers
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= settings.workers
        return stored(unit)

    settings = replace(SETTINGS, workers=workers, limits_all=True)
    units = [files(2, f"{number}-") for number in range(20)]
    outcomes, _ = run(FakeExecutor(work, slots), units, settings=settings)
    assert each_once(outcomes, *units)
    assert most <= workers


def test_rates_are_shared_and_never_more_than_the_whole_as_workers_come() -> None:
    lock = threading.Lock()
    given: list[float] = []
    most = 0.0

    def work(unit: Unit, settings: Settings) -> UnitDone:
        nonlocal most
        assert settings.requests_per_second is not None
        assert settings.rate_limit is not None
        with lock:
            given.append(settings.requests_per_second)
            most = max(most, sum(given))
            executor.slots = min(8, executor.slots + 1)
        time.sleep(0.02)
        with lock:
            given.remove(settings.requests_per_second)
        return stored(unit)

    executor = FakeExecutor(work, slots=2)
    executor.most_slots = 8
    settings = replace(SETTINGS, requests_per_second=10, rate_limit=100_000)
    units = [files(2, f"{number}-") for number in range(40)]
    outcomes, _ = run(executor, units, settings=settings)
    assert each_once(outcomes, *units)
    assert most <= 10 + 1e-6
    assert len(executor.units) == 40


def test_an_executor_of_pep_3148_is_enough() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        executor = adapted(pool)
        assert isinstance(executor, Adapted)
        assert executor.slots == 2
        assert not executor.is_private
        assert executor.submit(sum, [1, 2]).result() == 3
        with pytest.raises(WorkerLost):
            executor.submit(int, "x").result()
    with pytest.raises(ExecutorGone):
        executor.submit(sum, [1]).result()


def test_seals_show_no_bytes() -> None:
    assert "hunter2" not in repr(Sealed(b"hunter2"))


def test_a_local_error_of_a_worker_is_not_that_of_another() -> None:
    def work(unit: Unit, _settings: Settings) -> UnitDone:
        return UnitDone(worker="w", outcomes=(), error=LocalError("disk full", fatal=True))

    _, error = run(FakeExecutor(work), [files(1)])
    assert isinstance(error, LocalError)
    assert error.message == "worker w: disk full"
