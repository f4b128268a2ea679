"""The outcomes of items, and what is counted of them."""

from __future__ import annotations

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import ExitCode, ItemsFailed
from dcmweb.transfer.outcomes import Outcome, Status, Tally
from dcmweb.transfer.summary import Summary


def summary(*outcomes: Outcome, end: str = "") -> Summary:
    tally = Tally(Status.STORED)
    for outcome in outcomes:
        tally.add(outcome)
    return Summary(
        purpose=tally.purpose,
        counts=dict(tally.counts),
        bytes=tally.bytes,
        seconds=1.0,
        workers=1,
        retries=0,
        failures=tuple(tally.problems),
        end=end,
    )


@pytest.mark.parametrize("status", Status)
def test_only_items_that_failed_are_unknown_or_differ_make_a_run_fail(status: Status) -> None:
    found = summary(Outcome(Status.STORED, "a", 1), Outcome(status, "b", 1, "why"))
    bad = (Status.FAILED, Status.UNKNOWN, Status.MISSING, Status.EXTRA, Status.DIFFERENT)
    good = status not in bad
    assert (status.is_good, found.is_good) == (good, good)
    assert found.exit_code is (ExitCode.OK if good else ExitCode.SOME_FAILED)
    if good:
        assert found.check() is found
    else:
        with pytest.raises(ItemsFailed, match="1 of 2 items failed: why") as caught:
            found.check()
        assert caught.value.summary is found


def test_a_run_without_items_is_good() -> None:
    assert summary().exit_code is ExitCode.OK
    assert summary().is_good


@pytest.mark.parametrize("end", ["not begun", "interrupted", "stopped early"])
def test_a_run_that_did_not_come_to_its_end_is_not_good(end: str) -> None:
    found = summary(Outcome(Status.STORED, "a", 1), end=end)
    assert not found.is_good
    with pytest.raises(ItemsFailed, match=end):
        found.check()


def test_an_outcome_that_replaces_another_is_counted_once() -> None:
    gone = Outcome(Status.FAILED, "a", 3, "not listed", replaces=Status.STORED)
    found = summary(Outcome(Status.STORED, "a", 3), gone)
    assert (found.items, found.failed, found.bytes) == (1, 1, 0)


def test_bytes_count_when_they_arrived_or_are_to_be_moved() -> None:
    tally = Tally(Status.STORED)
    for number, status in enumerate(Status):
        tally.add(Outcome(status, "x", 10**number))
    arrived = [Status.STORED, Status.RETRIEVED, Status.PLANNED]
    assert tally.bytes == sum(10 ** list(Status).index(status) for status in arrived)
    assert dict(tally.counts) == dict.fromkeys(Status, 1)


def test_the_outcome_of_a_resource_has_its_uids_and_its_path() -> None:
    resource = Resource("1", "2", "3")
    found = Outcome.of(resource, Status.PLANNED)
    assert (found.item, found.study, found.series, found.instance) == (str(resource), "1", "2", "3")
    assert Outcome.of(resource, Status.STORED, "a.dcm", size=5).item == "a.dcm"


def test_an_outcome_counts_as_the_instances_it_stands_for() -> None:
    found = summary(
        Outcome(Status.EQUAL, "studies/1", instances=10),
        Outcome(Status.MISSING, "studies/2", reason="why", instances=5),
        Outcome(Status.MISSING, "studies/3", reason="why"),
    )
    assert (found.items, found.failed) == (16, 6)
    assert [(group.count, group.outcomes) for group in found.failures] == [(6, 2)]


def test_a_status_is_found_by_its_text() -> None:
    assert {Status.STORED: 1}["stored"] == 1  # type: ignore[index]
    assert "failed" in {Status.FAILED}
