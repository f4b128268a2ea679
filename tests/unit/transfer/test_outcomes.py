"""What became of items, and the exit code made from it."""

from __future__ import annotations

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import ExitCode
from dcmweb.transfer.outcomes import Outcome, Status, Tally


@pytest.mark.parametrize("status", Status)
def test_only_failed_and_unknown_items_make_a_run_fail(status: Status) -> None:
    tally = Tally(Status.STORED)
    tally.add(Outcome(Status.STORED, "a", 1))
    tally.add(Outcome(status, "b", 1))
    good = status not in (Status.FAILED, Status.UNKNOWN)
    assert status.is_good is good
    assert tally.exit_code is (ExitCode.OK if good else ExitCode.SOME_FAILED)


def test_a_run_without_items_is_good() -> None:
    assert Tally(Status.DELETED).exit_code is ExitCode.OK


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
