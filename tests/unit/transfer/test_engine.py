"""The engine: results as they come, retries, and coming to an end."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import partial

import pytest

from dcmweb.errors import (
    DcmwebError,
    ExitCode,
    Interrupted,
    LocalError,
    NetworkError,
    Refused,
    Stalled,
    Unreachable,
)
from dcmweb.transfer import engine as module
from dcmweb.transfer.engine import (
    EARLY_RETRIES,
    LONGEST_DELAY,
    MOST_IN_A_ROW,
    Engine,
    Job,
    RetryPolicy,
)
from dcmweb.transfer.meter import Meter
from dcmweb.transfer.stop import Stop

BUSY = partial(Refused, "busy", status=503, retryable=True)
PATIENCE = 10.0  # seconds that a test waits for what should happen at once


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0)
    monkeypatch.setattr(module, "TICK", 0.01)


def make(workers: int = 1, retries: int = 0, time: float = 300, stop: Stop | None = None) -> Engine:
    return Engine(workers=workers, policy=RetryPolicy(retries, time), stop=stop or Stop())


def job(*results: int, then: Exception | None = None) -> Job[int]:
    def run() -> Iterator[int]:
        yield from results
        if then is not None:
            raise then

    return run


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_job_runs_once(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESULTS_WAITING", 2)
    jobs = [job(*range(start, start + 5)) for start in range(0, 500, 5)]
    results = list(make(workers).run(jobs))
    assert sorted(results) == list(range(500))
    if workers == 1:
        assert results == list(range(500))


def test_no_jobs_have_no_results() -> None:
    assert list(make(3).run([])) == []
    assert list(make(3).run([job(), job()])) == []


def test_results_come_before_their_job_is_done() -> None:
    seen = threading.Event()

    def run() -> Iterator[int]:
        yield 1
        assert seen.wait(PATIENCE)
        yield 2

    results = make().run([run])
    assert next(results) == 1
    seen.set()
    assert list(results) == [2]


def test_jobs_are_taken_only_as_workers_are_free() -> None:
    workers = 3
    most_ahead = 2 * workers + 1  # at work, found, and in the hand of who finds them
    taken: list[int] = []
    finished: list[int] = []
    all_run, go = threading.Barrier(workers + 1), threading.Event()

    def run(number: int) -> Iterator[int]:
        if number < workers:
            all_run.wait(PATIENCE)
            assert go.wait(PATIENCE)
        yield number
        finished.append(number)

    def jobs() -> Iterator[Job[int]]:
        for number in range(50):
            taken.append(number)
            assert len(taken) - len(finished) <= most_ahead
            yield partial(run, number)

    results = make(workers).run(jobs())
    assert taken == []
    rest: list[int] = []
    consumer = threading.Thread(target=lambda: rest.extend(results))
    consumer.start()
    all_run.wait(PATIENCE)
    assert workers <= len(taken) <= most_ahead
    go.set()
    consumer.join(PATIENCE)
    assert sorted(rest) == list(range(50))


def test_results_that_nobody_takes_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESULTS_WAITING", 2)
    monkeypatch.setattr(module, "RESULTS_TOGETHER", 10)
    monkeypatch.setattr(module, "GATHERING", PATIENCE)
    made: list[int] = []

    def run() -> Iterator[int]:
        for number in range(200):
            made.append(number)
            yield number
            if number == 60:
                waited.set()

    waited = threading.Event()
    results = make().run([run])
    assert next(results) == 0
    assert not waited.wait(0.1)
    assert len(made) <= 1 + 3 * 10  # the first, those that wait, and those that are put
    assert list(results) == list(range(1, 200))


def test_workers_that_wait_for_a_job_end_when_there_are_no_more() -> None:
    stop = Stop()
    idle = [threading.Event(), threading.Event()]

    def jobs() -> Iterator[Job[int]]:
        for event in idle:
            yield lambda event=event: [event.set()]  # type: ignore[misc]
        for event in idle:
            assert event.wait(PATIENCE)
        time.sleep(0.05)  # by now, both have asked for another one

    too_late = threading.Timer(PATIENCE, stop.set)
    too_late.start()
    assert len(list(make(workers=2, stop=stop).run(jobs()))) == 2
    too_late.cancel()


def test_workers_run_side_by_side() -> None:
    meeting = threading.Barrier(4)

    def run() -> Iterator[int]:
        yield meeting.wait(PATIENCE)

    assert sorted(make(4).run([run] * 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "error", [BUSY(), LocalError("disk full", fatal=True), ValueError("defect")]
)
def test_an_error_of_a_job_ends_the_run_after_the_results_before_it(error: Exception) -> None:
    begun: list[int] = []

    def later() -> Iterator[int]:
        begun.append(1)
        yield 4

    got, raised = collect(make().run([job(1, 2), job(3, then=error), later]))
    assert (got, raised, begun) == ([1, 2, 3], error, [])


def collect(results: Iterator[int]) -> tuple[list[int], BaseException | None]:
    got: list[int] = []
    try:
        for result in results:
            got.append(result)
    except BaseException as error:
        return got, error
    return got, None


def test_an_error_of_a_job_stops_the_others() -> None:
    stop = Stop()
    waiting = threading.Event()

    def long() -> Iterator[int]:
        yield 1
        waiting.set()
        stop.sleep(PATIENCE * 10)
        yield 2

    def broken() -> Iterator[int]:
        assert waiting.wait(PATIENCE)
        raise LocalError("disk full")
        yield 3

    got, error = collect(make(2, stop=stop).run([long, broken]))
    assert got == [1]
    assert isinstance(error, LocalError)
    assert stop.is_set()


def test_an_error_in_finding_the_jobs_ends_the_run() -> None:
    def jobs() -> Iterator[Job[int]]:
        yield job(1, 2)
        raise LocalError("folder gone")

    got, error = collect(make(2).run(jobs()))
    assert got == [1, 2]
    assert isinstance(error, LocalError)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_ends_the_run_even_if_a_job_hangs(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hangs:
        monkeypatch.setattr(module, "GRACE", 0.05)
    stop, release = Stop(), threading.Event()

    def run() -> Iterator[int]:
        yield 1
        if hangs:
            release.wait(PATIENCE * 10)
        else:
            stop.sleep(PATIENCE * 10)
        yield 2

    results = make(2, stop=stop).run([run, run])
    got = [next(results), next(results)]
    stop.request(Interrupted(15))
    more, error = collect(results)
    assert (got, more) == ([1, 1], [])
    assert isinstance(error, Interrupted)
    assert error.exit_code is ExitCode.SIGTERM
    assert stop.is_set()
    assert not stop.is_watched
    release.set()


@pytest.mark.parametrize("grace", [1.0, -1.0], ids=["in time", "late"])
def test_what_was_finished_before_a_stop_is_told(
    grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it takes longer than the workers have: it was done, and must be accounted for."""
    monkeypatch.setattr(module, "GRACE", grace)
    stop, finished = Stop(), threading.Event()

    def run() -> Iterator[int]:
        yield from range(5)
        finished.set()

    results = make(stop=stop).run([run])
    assert next(results) == 0
    assert finished.wait(PATIENCE)
    stop.request(Interrupted())
    got, error = collect(results)
    assert got == [1, 2, 3, 4]
    assert isinstance(error, Interrupted)


def test_no_job_begins_after_a_stop() -> None:
    stop = Stop()
    begun: list[int] = []

    def run(number: int) -> Iterator[int]:
        begun.append(number)
        yield number
        with suppress(Interrupted):
            stop.sleep(PATIENCE)

    results = make(stop=stop).run(partial(run, number) for number in itertools.count())
    assert next(results) == 0
    stop.request(Interrupted())
    assert isinstance(collect(results)[1], Interrupted)
    assert begun == [0]


def test_a_run_that_is_given_up_ends_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESULTS_WAITING", 1)
    monkeypatch.setattr(module, "GRACE", 0.05)
    stop = Stop()
    before = set(threading.enumerate())
    results = make(3, stop=stop).run(job(1) for _ in itertools.count())
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert stop.is_set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("holds", [False, True])
def test_what_must_not_be_left_half_done_has_more_time_but_not_for_ever(
    holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    monkeypatch.setattr(module, "LONGEST_HOLD", 0.5)
    stop, over, late = Stop(), threading.Event(), threading.Event()
    too_late = threading.Timer(PATIENCE, over.set)
    too_late.start()

    def run() -> Iterator[int]:
        yield 1
        with stop.holding() if holds else nullcontext():
            late.wait(0.05)
            yield 2
            over.wait()

    results = make(stop=stop).run([run])
    seen = [next(results)]
    stop.set()
    with pytest.raises(Interrupted):
        seen.extend(results)
    assert not over.is_set()
    over.set()
    too_late.cancel()
    assert seen == [1, 2] or not holds


def test_a_run_that_a_program_has_left_open_ends_with_it() -> None:
    stop, cleaned = Stop(), threading.Event()

    def run() -> Iterator[int]:
        try:
            yield 1
            stop.sleep(PATIENCE)
        finally:
            cleaned.set()

    results = make(stop=stop).run([run])
    assert next(results) == 1
    module._end_all()
    assert cleaned.wait(PATIENCE)
    with pytest.raises(Interrupted):
        list(results)


def test_a_run_may_be_forgotten_in_a_worker_of_its_own() -> None:
    """As by the garbage collector, which runs in any thread."""
    ended = threading.Event()
    runs: list[Iterator[int]] = []

    def run() -> Iterator[int]:
        yield 1
        assert go.wait(PATIENCE)
        runs.clear()
        ended.set()

    go = threading.Event()
    runs.append(make().run([run]))
    assert next(runs[0]) == 1
    go.set()
    assert ended.wait(PATIENCE)  # and no thread waited for itself, which would be an error


def test_the_clock_ticks_while_nothing_comes() -> None:
    ticked = threading.Event()

    def run() -> Iterator[int]:
        assert ticked.wait(PATIENCE)
        yield 1

    engine = Engine(workers=1, policy=RetryPolicy(0, 0), stop=Stop(), tick=ticked.set)
    assert list(engine.run([run])) == [1]


class Failing:
    """An action that fails so many times, and counts how often it was tried."""

    def __init__(self, error: Callable[[], Exception], times: int = 10**9) -> None:
        self.error = error
        self.times = times
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.times:
            raise self.error()
        return "done"


@pytest.mark.parametrize("times", [0, 1, 3])
def test_what_fails_for_a_while_is_tried_again(times: int) -> None:
    engine, action = make(retries=3), Failing(BUSY, times)
    assert engine.attempt(action) == "done"
    assert action.tries == times + 1
    assert engine.meter.retries == times


@pytest.mark.parametrize(
    ("error", "retries", "tries"),
    [
        (BUSY, 0, 1),
        (BUSY, 4, 5),
        (partial(NetworkError, "broke"), 4, 5),
        (partial(Refused, "no", status=400), 4, 1),
        (partial(LocalError, "gone"), 4, 1),
        (partial(ValueError, "defect"), 4, 1),
        (partial(Unreachable, "refused"), 9, EARLY_RETRIES + 1),
        (partial(Unreachable, "refused"), 1, 2),
        (partial(Unreachable, "untrusted", retryable=False), 9, 1),
    ],
)
def test_how_often_it_is_tried(error: Callable[[], Exception], retries: int, tries: int) -> None:
    engine, action = make(retries=retries), Failing(error)
    with pytest.raises(type(error())):
        engine.attempt(action)
    assert action.tries == tries
    assert engine.meter.retries == tries - 1


def test_a_server_that_was_reached_before_is_tried_for_longer() -> None:
    engine, action = make(retries=9), Failing(partial(Unreachable, "refused"))
    assert engine.attempt(lambda: 1) == 1
    with pytest.raises(Unreachable):
        engine.attempt(action)
    assert action.tries == 10


def test_an_answer_that_came_beside_the_run_counts() -> None:
    engine, action = make(retries=9), Failing(partial(Unreachable, "refused"))
    engine.note_answer()
    with pytest.raises(Unreachable):
        engine.attempt(action)
    assert action.tries == 10


def test_some_errors_can_be_left_to_the_caller_at_once() -> None:
    engine, action = make(retries=9), Failing(BUSY)
    with pytest.raises(Refused):
        engine.attempt(action, fail_fast=lambda error: isinstance(error, Refused))
    assert action.tries == 1


def test_errors_that_are_not_counted_do_not_end_a_run() -> None:
    engine = make()
    for _ in range(MOST_IN_A_ROW):
        with pytest.raises(Refused):
            engine.attempt(Failing(BUSY), not_counted=lambda error: isinstance(error, Refused))
    assert not engine.gives_up(BUSY())


@pytest.mark.parametrize(
    ("error", "fewer"),
    [
        (partial(Refused, "slow down", status=429, retryable=True), True),
        (BUSY, True),
        (partial(Stalled, "nothing moves"), True),
        (partial(Refused, "a fault", status=500, retryable=True), False),
        (partial(NetworkError, "broke"), False),
    ],
)
def test_an_overloaded_server_gets_fewer_requests_at_a_time(
    error: Callable[[], Exception], fewer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make()
    backed_off: list[None] = []
    monkeypatch.setattr(engine.concurrency, "back_off", lambda: backed_off.append(None))
    with pytest.raises(DcmwebError):
        engine.attempt(Failing(error))
    assert bool(backed_off) is fewer


def test_no_attempt_begins_after_the_time_for_it() -> None:
    action = Failing(partial(BUSY, retry_after=5.0))
    with pytest.raises(Refused):
        make(retries=9, time=4.0).attempt(action)
    assert action.tries == 1


class Sleepless(Stop):
    """A stop that is never waited for, and tells how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the longest delays drawn that can be."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)


def test_delays_double_up_to_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.5)
    longest(monkeypatch)
    stop = Sleepless()
    with pytest.raises(Refused):
        make(retries=9, stop=stop).attempt(Failing(BUSY))
    assert stop.slept == [0.5, 1, 2, 4, 8, 16, *[LONGEST_DELAY] * 3]


def test_delays_are_drawn_from_nothing_to_that_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.5)
    policy = RetryPolicy(5, 300)
    drawn = [policy.delay(3, BUSY()) for _ in range(200)]
    assert 0 <= min(drawn) < 1
    assert 3 < max(drawn) <= 4


def test_a_server_that_says_when_is_not_asked_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.5)
    stop = Sleepless()
    error = partial(BUSY, retry_after=7.0)
    assert make(retries=2, stop=stop).attempt(Failing(error, 2)) == "done"
    assert [7 <= seconds <= 8 for seconds in stop.slept] == [True, True]


def test_any_number_of_attempts_has_a_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.5)
    assert RetryPolicy(5000, 1e9).delay(4999, BUSY()) <= LONGEST_DELAY


def test_no_attempt_begins_after_a_stop() -> None:
    stop = Stop()

    def action() -> None:
        stop.set()
        raise BUSY()  # noqa: RSE102 - a partial is no exception

    engine = make(retries=9, stop=stop)
    with pytest.raises(Interrupted):
        engine.attempt(action)
    with pytest.raises(Interrupted):
        engine.attempt(lambda: pytest.fail("it was begun"))


def test_a_run_that_somebody_stopped_does_not_pass_for_done() -> None:
    """As when one thread closes a run that another waits for."""
    stop = Stop()

    def job() -> Iterator[int]:
        yield 1
        stop.set()

    with pytest.raises(Interrupted):
        list(make(stop=stop).run([job, job]))


@pytest.mark.parametrize("how", ["break", "error", "end"])
def test_an_iterator_of_jobs_is_closed_with_its_run(how: str) -> None:
    """At once, not when Python collects it."""
    closed = threading.Event()

    def jobs() -> Iterator[Callable[[], list[int]]]:
        try:
            yield lambda: [1]
            while how == "break":
                yield lambda: [1]
            if how == "error":
                raise KeyError
        finally:
            closed.set()

    found = jobs()  # which somebody may still know
    gc.disable()
    try:
        for _ in make(workers=2).run(found):
            if how == "break":
                break
    except KeyError:
        assert how == "error"
    finally:
        gc.enable()
    assert closed.is_set()


def test_an_item_is_tried_again_as_often_as_the_policy_says() -> None:
    engine = make(retries=2)
    assert [engine.delay(attempt, BUSY()) is None for attempt in range(4)] == [
        False, False, True, True,
    ]  # fmt: skip


def fail(engine: Engine, error: DcmwebError) -> None:
    with pytest.raises(type(error)):
        engine.attempt(Failing(lambda: error))


def test_nobody_waits_longer_than_a_run_may_take() -> None:
    assert make(retries=2, time=5).delay(0, BUSY(retry_after=3.0)) == 3.0
    assert make(retries=2, time=5).delay(0, BUSY(retry_after=6.0)) is None


def test_a_run_is_given_up_after_failures_in_a_row() -> None:
    engine = make()
    for _ in range(MOST_IN_A_ROW - 1):
        fail(engine, BUSY())
    assert not engine.gives_up(BUSY())
    fail(engine, BUSY())
    assert engine.gives_up(BUSY())
    assert not engine.gives_up(Refused("no", status=400))


@pytest.mark.parametrize("between", [None, Refused("no", status=400)])
def test_an_answer_between_failures_counts_anew(between: DcmwebError | None) -> None:
    engine = make()
    for _ in range(MOST_IN_A_ROW - 1):
        fail(engine, BUSY())
    if between is None:
        engine.attempt(lambda: None)
    else:
        fail(engine, between)
    fail(engine, BUSY())
    assert not engine.gives_up(BUSY())


def test_a_fatal_error_ends_a_run_at_once() -> None:
    assert make().gives_up(Unreachable("x"))
    assert not make().gives_up(BUSY())


def test_a_server_that_never_answered_is_the_error_of_the_run() -> None:
    engine = make()
    list(engine.run([]))
    fail(engine, NetworkError("first"))
    fail(engine, NetworkError("second"))
    with pytest.raises(NetworkError, match="second"):
        list(engine.run([]))
    engine.attempt(lambda: None)
    list(engine.run([]))


def test_an_interruption_is_no_answer_of_the_server() -> None:
    engine = make()
    fail(engine, NetworkError("broke"))
    fail(engine, Interrupted())
    with pytest.raises(NetworkError):
        list(engine.run([]))


def test_the_meter_counts_for_many_threads() -> None:
    meter = Meter()

    def count() -> None:
        for _ in range(1000):
            meter.add(3)
            meter.add(-1)
            meter.retry()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (meter.bytes, meter.retries) == (16_000, 8000)


def test_a_stop_acts_once_and_wakes_sleepers() -> None:
    stop = Stop()
    acted: list[int] = []
    stop.on_set(lambda: acted.append(1))
    stop.check()
    stop.sleep(0)
    assert not stop.is_set()
    caught: list[BaseException] = []

    def sleeper() -> None:
        try:
            stop.sleep(PATIENCE * 10)
        except Interrupted as error:
            caught.append(error)

    thread = threading.Thread(target=sleeper)
    thread.start()
    stop.set()
    stop.set()
    thread.join(PATIENCE)
    assert (acted, len(caught)) == ([1], 1)
    with pytest.raises(Interrupted):
        stop.check()


def test_a_stop_is_held_as_long_as_something_must_not_be_left_half_done() -> None:
    stop = Stop()
    assert not stop.is_held
    with stop.holding():
        with suppress(ValueError), stop.holding():
            raise ValueError
        assert stop.is_held
    assert not stop.is_held


def test_a_signal_is_raised_unless_the_main_thread_will_see_it() -> None:
    stop, cause = Stop(), Interrupted(15)
    with pytest.raises(Interrupted) as caught:
        stop.request(cause)
    assert caught.value is cause
    assert not stop.is_set()
    watched = Stop()
    watched.is_watched = True
    watched.request(cause)
    watched.set()
    with pytest.raises(Interrupted) as caught:
        watched.check()
    assert caught.value is cause
