"""What a copy does with instances between the source and the destination."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable, Generator, Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from dcmweb.dicom.part10 import Identity, LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted, Truncated
from dcmweb.transactions.copy.intake import CopyIntake, EndedByDestination
from dcmweb.transactions.retrieve.receiving import Received
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transfer.outcomes import Outcome, Status

Deliver = Callable[[Batch], Iterator[Outcome]]
LONG = 20


def resource(number: int) -> Resource:
    return Resource("1.2", "1.2.3", f"1.2.3.{number}")


class Instances:
    """Instances that came, and which of them were let go."""

    def __init__(self) -> None:
        self.let_go: list[int] = []

    def came(self, number: int) -> Received:
        found = resource(number)
        instance = LocalInstance(str(found), 10, 0, Identity("1.2.840.10008.5.1.4.1.1.7", found))
        return Received(found, instance=instance, let_go=lambda: self.let_go.append(number))


def intake(deliver: Deliver, together: int = 2) -> CopyIntake:
    """Make an intake that sends so many instances together."""
    sender = SimpleNamespace(batch_bytes=1000, batch_count=together, deliver=deliver)
    receiver: Any = SimpleNamespace(context=None, sender=sender, in_memory=1000)
    return CopyIntake(receiver)


def stored(batch: Batch) -> Iterator[Outcome]:
    for one in batch:
        yield Outcome.of(one.identity.resource, Status.STORED, one.path)


def keeping(taker: CopyIntake, received: Iterator[Received]) -> Iterator[Outcome]:
    for one in received:
        yield from taker.keep(one)


def all_of(taker: CopyIntake, received: Iterator[Received]) -> list[tuple[str, Status]]:
    outcomes = taker.all_of(keeping(taker, received))
    return [(one.instance, one.status) for one in outcomes]


def take_into(outcomes: list[Outcome], found: Iterator[Outcome]) -> None:
    for one in found:
        outcomes.append(one)


def until(
    error: type[BaseException], taker: CopyIntake, received: Iterator[Received]
) -> list[Outcome]:
    """Return the outcomes that come before an error."""
    outcomes: list[Outcome] = []
    with pytest.raises(error):
        take_into(outcomes, taker.all_of(keeping(taker, received)))
    return outcomes


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_each_instance_has_one_outcome_and_is_let_go(count: int) -> None:
    instances = Instances()
    named = all_of(intake(stored), map(instances.came, range(count)))
    assert named == [(f"1.2.3.{n}", Status.STORED) for n in range(count)]
    assert instances.let_go == list(range(count))


def test_a_batch_is_sent_while_the_next_one_comes() -> None:
    third_came, instances = Event(), Instances()

    def deliver(batch: Batch) -> Iterator[Outcome]:
        assert third_came.wait(LONG)
        yield from stored(batch)

    def received() -> Iterator[Received]:
        yield from map(instances.came, range(2))
        yield instances.came(2)  # which is asked for only if the batch is not waited for
        third_came.set()

    assert len(all_of(intake(deliver), received())) == 3


def test_no_more_than_one_batch_waits() -> None:
    """A source that is faster than the destination waits for it."""
    instances, sent = Instances(), []

    def deliver(batch: Batch) -> Iterator[Outcome]:
        sent.append(len(batch))
        yield from stored(batch)

    taker = intake(deliver)
    for number in range(20):
        list(taker.keep(instances.came(number)))
        assert number + 1 - 2 * len(sent) < 2
        assert len(instances.let_go) >= number + 1 - 4
    list(taker.all_of(iter(())))
    assert instances.let_go == list(range(20))


def test_an_error_of_the_source_comes_after_what_came_was_sent() -> None:
    instances = Instances()

    def received() -> Iterator[Received]:
        yield from map(instances.came, range(5))
        raise Truncated("cut")

    outcomes = until(Truncated, intake(stored), received())
    assert [one.status for one in outcomes] == [Status.STORED] * 5


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_what_was_not_sent_is_named_when_the_destination_ends_the_run(count: int) -> None:
    """Also what was received while the batch before was refused."""
    instances, came = Instances(), []

    def received() -> Iterator[Received]:
        for number in range(count):
            came.append(number)
            yield instances.came(number)

    def deliver(batch: Batch) -> Iterator[Outcome]:
        for one in batch:
            yield Outcome.of(one.identity.resource, Status.FAILED, one.path)
        raise DcmwebError("the disk is full")

    outcomes = until(EndedByDestination, intake(deliver), received())
    assert [one.instance for one in outcomes] == [f"1.2.3.{n}" for n in came]
    assert {one.status for one in outcomes} == {Status.FAILED}
    assert [one.reason for one in outcomes[2:]] == ["not sent: the disk is full"] * (len(came) - 2)
    assert sorted(instances.let_go) == came


def test_an_interrupted_run_names_what_it_sends_and_what_waits() -> None:
    instances = Instances()

    def deliver(batch: Batch) -> Iterator[Outcome]:
        for one in batch:
            yield Outcome.of(one.identity.resource, Status.UNKNOWN, one.path)
        raise Interrupted

    def received() -> Iterator[Received]:
        yield from map(instances.came, range(3))
        raise Interrupted

    outcomes = until(Interrupted, intake(deliver), received())
    assert [one.status for one in outcomes] == [Status.UNKNOWN, Status.UNKNOWN, Status.FAILED]
    assert sorted(instances.let_go) == [0, 1, 2]


def test_a_run_that_is_closed_waits_for_what_it_sends() -> None:
    instances, over = Instances(), []

    def deliver(batch: Batch) -> Iterator[Outcome]:
        yield from stored(batch)
        assert instances.let_go == []
        over.append(len(batch))

    taker = intake(deliver)
    outcomes = taker.all_of(keeping(taker, map(instances.came, range(9))))
    next(outcomes)
    assert isinstance(outcomes, Generator)
    outcomes.close()
    assert over[0] == 2
    assert sorted(instances.let_go) == sorted(set(instances.let_go))


def test_an_error_does_not_keep_the_bytes() -> None:
    class Bytes(io.BytesIO):
        """A weak reference can be made to it."""

    def deliver(_batch: Batch) -> Iterator[Outcome]:
        held = Bytes(b"x")
        refs.append(weakref.ref(held))
        raise DcmwebError(str(len(held.getvalue())))
        yield

    refs: list[weakref.ref[Bytes]] = []
    taker = intake(deliver)
    gc.disable()
    try:
        with pytest.raises(EndedByDestination):
            all_of(taker, map(Instances().came, range(2)))
        assert refs[0]() is None
    finally:
        gc.enable()
