"""What is counted and noted while a run goes on."""

from __future__ import annotations

import pytest

from dcmweb.errors import DcmwebError, NetworkError, Refused, Stalled, Unreachable
from dcmweb.transfer.meter import Meter, Pause, Pauses, Phase, reason_to_wait


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused("busy", status=503), "server busy (503)"),
        (Refused("slow down", status=429), "server busy (429)"),
        (Refused("oops", status=500), "the server answered 500"),
        (Stalled("nothing"), "the server stalled"),
        (Unreachable("refused"), "the server cannot be reached"),
        (NetworkError("the connection broke"), "the connection broke"),
        (DcmwebError("x" * 99), "x" * 57 + "..."),
    ],
)
def test_why_a_request_waits(error: DcmwebError, words: str) -> None:
    assert reason_to_wait(error) == words


def test_the_pause_that_ends_first_is_shown_of_those_with_a_reason() -> None:
    pauses = Pauses()
    assert pauses.next is None
    with pauses.during(0.0, ""), pauses.during(100.0, "a"), pauses.during(50.0, "b"):
        found = pauses.next
        assert found
        assert (found.reason, found.count) == ("b", 2)
        assert 0 < found.seconds <= 50
    with pauses.during(-1.0, ""):
        assert pauses.next == Pause(0.0, "")
    assert pauses.next is None


def test_bytes_under_way_are_those_without_an_outcome() -> None:
    meter = Meter()
    meter.send(100)
    meter.send(50)
    meter.arrive(100)
    assert (meter.bytes, meter.under_way) == (150, 50)
    meter.send(-50)
    assert (meter.bytes, meter.under_way) == (100, 0)


def state(meter: Meter) -> tuple[Phase | None, str]:
    return meter.phase, meter.later


def test_a_phase_counts_what_items_do_not() -> None:
    meter = Meter()
    meter.advance()
    assert state(meter) == (None, "")
    meter.begin("listing", "study", later="comparing")
    meter.advance(3)
    assert state(meter) == (Phase("listing", "study", 3), "comparing")
    meter.begin_items()
    meter.advance()
    assert state(meter) == (None, "")


def test_once_all_are_expected_no_part_changes_that() -> None:
    meter = Meter()
    meter.expect(3)
    meter.expects_all = True
    meter.expect(None)
    meter.expect(5)
    assert meter.expected == 3
