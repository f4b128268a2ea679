"""What is counted beside a run ends with it, whoever comes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from dcmweb.errors import LocalError
from dcmweb.library.ahead import Ahead
from dcmweb.transfer.stop import Stop

LONG = 20.0  # seconds in which anything here should have happened


def counted(*numbers: tuple[int, int | None] | None) -> Ahead:
    ahead = Ahead(lambda _stop: iter(numbers))
    ahead.begin()
    while ahead.is_counting:
        pass
    return ahead


def test_numbers_are_added_up() -> None:
    ahead = counted((1, 300), (2, 500))
    assert (ahead.items, ahead.bytes) == (3, 800)
    ahead = counted((1, 300), (2, None))
    assert (ahead.items, ahead.bytes) == (3, None)
    assert counted().items == 0


def test_what_cannot_be_counted_is_unknown() -> None:
    assert counted((1, 300), None).items is None

    def fails(_stop: Stop) -> Iterator[tuple[int, int]]:
        yield 1, 1
        raise LocalError("it cannot be read")

    ahead = Ahead(fails)
    ahead.begin()
    while ahead.is_counting:
        pass
    assert (ahead.items, ahead.bytes) == (None, None)


def test_a_count_ends_with_the_run() -> None:
    began, stops = threading.Event(), []

    def count(stop: Stop) -> Iterator[tuple[int, int]]:
        stops.append(stop)
        while True:
            began.set()
            yield 1, 1

    ahead = Ahead(count)
    ahead.begin()
    ahead.begin()  # once is enough
    assert began.wait(LONG)
    assert (ahead.is_counting, ahead.items) == (True, None)
    ahead.end()
    assert (ahead.is_counting, ahead.items, len(stops)) == (False, None, 1)


def test_nothing_is_counted_once_the_run_is_over() -> None:
    ahead = Ahead(lambda _stop: iter([(1, 1)]))
    ahead.end()
    ahead.begin()
    assert (ahead.is_counting, ahead.items) == (False, None)
