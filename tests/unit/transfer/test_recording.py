"""Outcomes in the manifest: there before anybody sees them, also of a group that was cut short."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dcmweb.errors import Interrupted, LocalError
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.recording import recorded
from dcmweb.transfer.stop import Stop

ALL = [Outcome(Status.STORED, name) for name in "abcdefg"]


class Record:
    def __init__(self, fails_at: int = 99) -> None:
        self.groups: list[list[Outcome]] = []
        self.fails_at = fails_at
        self.tries = 0

    def record(self, *outcomes: Outcome) -> None:
        self.tries += 1
        if self.tries == self.fails_at + 1:
            raise LocalError("disk full", fatal=True)
        self.groups.append(list(outcomes))


def coming(engine: Any, *sizes: int, error: BaseException | None = None) -> Iterator[Outcome]:
    """Yield outcomes as an engine does, in groups of these sizes; then raise the error."""
    rest = deque(ALL)
    for size in sizes:
        engine.waiting = waiting = deque(rest.popleft() for _ in range(size))
        while waiting:
            yield waiting.popleft()
    if error is not None:
        raise error


def test_a_group_is_recorded_before_its_first_outcome_is_seen() -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record()
    seen = 0
    for outcome in recorded(coming(engine, 3, 1, 2), record, engine):
        assert outcome in [one for group in record.groups for one in group]
        assert outcome == ALL[seen]
        seen += 1
    assert seen == 6
    assert [len(group) for group in record.groups if group] == [3, 1, 2]


def test_an_outcome_does_not_wait_for_those_that_have_not_come() -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record()
    outcomes = recorded(coming(engine, 1, 1), record, engine)
    assert next(outcomes) == ALL[0]
    assert record.groups == [[ALL[0]]]


@pytest.mark.parametrize("error", [Interrupted(), ValueError("a defect"), KeyboardInterrupt()])
def test_what_came_before_an_error_is_recorded_and_seen(error: BaseException) -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record()
    seen: list[Outcome] = []
    with pytest.raises(type(error)):
        seen.extend(recorded(coming(engine, 2, 2, error=error), record, engine))
    outcomes = recorded(coming(engine, 2, 2, error=error), record, engine)
    assert [next(outcomes) for _ in range(4)] == ALL[:4]
    assert [one for group in record.groups for one in group] == [*ALL[:4], *ALL[:4]]


def test_what_cannot_be_recorded_is_seen_all_the_same() -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record(fails_at=1)
    outcomes = recorded(coming(engine, 2, 3, 2), record, engine)
    assert [next(outcomes) for _ in range(7)] == ALL
    assert engine.stop.is_set()
    with pytest.raises(LocalError, match="disk full"):
        next(outcomes)
    assert record.tries == 2  # nothing is written behind a line that may be torn


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyboardInterrupt()])
def test_a_defect_is_not_hidden_by_a_record_that_cannot_be_written(error: BaseException) -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record(fails_at=0)
    with pytest.raises(type(error)):
        list(recorded(coming(engine, 2, error=error), record, engine))


def test_a_run_that_is_closed_records_no_more() -> None:
    engine: Any = SimpleNamespace(waiting=deque(), stop=Stop())
    record: Any = Record()
    outcomes: Any = recorded(coming(engine, 3, 4), record, engine)
    next(outcomes)
    outcomes.close()
    assert record.groups == [ALL[:3]]
