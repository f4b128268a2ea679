"""The number of jobs at a time, found by trying."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from dcmweb.transfer.concurrency import (
    BUSY_REST,
    FIRST,
    GLANCE,
    LONGEST_REST,
    REST,
    WINDOW,
    ConcurrencyLimit,
)

MOST = 20


class Line:
    """A line of a certain width: the rate grows with the jobs until it is full.

    `share` is how much of its time the process computes.
    """

    def __init__(self, width: float, share: float = 0.0) -> None:
        self.width = width
        self.now = 0.0
        self.bytes = 0
        self.pace = ConcurrencyLimit(
            MOST,
            adapts=True,
            moved=lambda: self.bytes,
            clock=lambda: self.now,
            cpu=lambda: self.now * share,
        )

    def run(self, seconds: float) -> None:
        """Keep as many jobs running as may be."""
        end = self.now + seconds
        while self.now < end:
            with ExitStack() as running:
                for _ in range(self.pace.limit):
                    assert running.enter_context(self.pace.turn(lambda: False))
                self.now += WINDOW
                self.bytes += int(1_000_000 * min(self.pace.limit, self.width) * WINDOW)


def test_it_begins_with_one_and_goes_on_with_a_few_where_that_one_waits() -> None:
    line = Line(8)
    assert line.pace.limit == 1
    with line.pace.turn(lambda: False):
        line.now += GLANCE / 10
    assert line.pace.limit == FIRST


def test_a_long_first_job_does_not_keep_others_waiting() -> None:
    line = Line(8)
    with line.pace.turn(lambda: False):
        line.now += GLANCE
        with line.pace.turn(lambda: False) as is_on:
            assert is_on
    assert line.pace.limit == FIRST


def test_a_process_that_computes_all_the_time_stays_with_one() -> None:
    line = Line(1.2, share=0.9)
    line.run(BUSY_REST)
    assert line.pace.reached == 1
    line.run(LONGEST_REST * 4)
    assert line.pace.limit == 1
    assert line.pace.reached == 2  # more were tried now and then


def test_a_process_that_computes_gets_more_where_they_make_it_faster() -> None:
    line = Line(4, share=0.9)  # as on several processors, with TLS
    line.run(BUSY_REST + 2)
    assert line.pace.limit == 4


def test_it_grows_as_long_as_that_makes_the_run_faster() -> None:
    line = Line(100)
    line.run(3)
    assert line.pace.limit == line.pace.reached == MOST


def test_it_does_not_grow_where_that_does_no_good() -> None:
    line = Line(4)
    line.run(4)
    assert line.pace.limit == FIRST
    assert line.pace.reached <= 2 * FIRST


def test_it_settles_near_the_width_of_the_line() -> None:
    line = Line(10)
    line.run(60)
    assert 8 <= line.pace.limit <= 12


def test_it_goes_back_to_half_when_the_server_has_too_much_and_tries_more_after_a_rest() -> None:
    line = Line(100)
    line.run(3)
    line.pace.back_off()
    assert line.pace.limit == MOST // 2
    line.run(REST / 2)
    assert line.pace.limit == MOST // 2
    line.run(REST)
    assert line.pace.limit > MOST // 2


def test_it_never_goes_below_one() -> None:
    line = Line(100)
    for _ in range(10):
        line.pace.back_off()
    assert line.pace.limit == 1
    line.run(REST * 2)
    assert line.pace.limit > 1


def test_a_number_that_is_given_stays() -> None:
    pace = ConcurrencyLimit(3)
    pace.back_off()
    assert pace.limit == pace.reached == 3


def test_no_more_jobs_than_the_limit_run_at_a_time() -> None:
    pace, most, running = ConcurrencyLimit(2), [0], [0]
    lock = threading.Lock()

    def work() -> None:
        for _ in range(50):
            with pace.turn(lambda: False):
                with lock:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                with lock:
                    running[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 2


def test_nobody_waits_for_a_turn_when_it_is_over() -> None:
    pace = ConcurrencyLimit(1)
    with pace.turn(lambda: False), pace.turn(lambda: True) as is_on:
        assert not is_on
