"""How much of a run is done, and how long the rest will take."""

from __future__ import annotations

import pytest

from dcmweb.cli.estimate import Estimate, Estimator, share_of
from dcmweb.transfer.meter import Phase
from dcmweb.transfer.outcomes import Status
from dcmweb.transfer.summary import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def items(count: int, expected: int | None = 100, size: int = 0) -> Progress:
    return Progress(counts={Status.RETRIEVED: count}, expected=expected, bytes=size)


def watched(*looks: tuple[float, Progress]) -> Estimate:
    """What is estimated after looks at these times."""
    clock = Clock()
    estimator = Estimator(clock)
    found = Estimate()
    for at, progress in looks:
        clock.now = 100.0 + at
        found = estimator.look(progress)
    return found


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        (items(25), 0.25),
        (items(25, None), None),
        (items(25, 0), None),
        (items(120), 1.0),
        (Progress(counts={Status.STORED: 1}, expected=2, expected_bytes=100, done_bytes=10), 0.1),
        (Progress(counts={Status.STORED: 1}, expected=2, expected_bytes=9, done_bytes=9), 0.99),
        (Progress(counts={Status.STORED: 2}, expected=2, expected_bytes=9, done_bytes=9), 1.0),
        (Progress(counts={}, expected_bytes=100, done_bytes=-5), 0.0),
        (Progress(counts={Status.STORED: 9}, expected=9, phase=Phase("x", "y", 1, 4)), 0.25),
        (Progress(counts={Status.STORED: 9}, expected=9, phase=Phase("x", "y", 1)), None),
    ],
)
def test_the_share_that_is_done(progress: Progress, share: float | None) -> None:
    assert share_of(progress) == share


def test_the_time_left_is_that_of_the_speed_of_late() -> None:
    assert watched((0, items(0)), (10, items(50)), (20, items(90))).left == pytest.approx(20 / 9)
    # What was skipped at first does not count for long.
    looks = [(0, items(0)), (1, items(50))] + [(float(n), items(50 + n)) for n in range(2, 41)]
    assert watched(*looks).left == pytest.approx(10)


def test_few_steps_are_measured_over_the_whole_run() -> None:
    looks = [(0.0, items(0, 4)), (60.0, items(1, 4)), (100.0, items(2, 4)), (120.0, items(3, 4))]
    assert watched(*looks).left == pytest.approx(40)


@pytest.mark.parametrize(
    "looks",
    [[(0, items(0))], [(0, items(5)), (9, items(5))], [(0, items(1, None)), (9, items(9, None))]],
)
def test_nothing_is_said_where_nothing_is_known(looks: list[tuple[float, Progress]]) -> None:
    assert watched(*looks).left is None


def test_another_phase_is_estimated_anew() -> None:
    verifying = [(float(n), Progress(counts={}, phase=Phase("v", "i", n, 100))) for n in range(9)]
    found = watched((0, items(0)), (0.5, items(100)), *[(at + 10, one) for at, one in verifying])
    assert found.share == pytest.approx(0.08)
    assert found.left == pytest.approx(92)


def test_the_rate_is_that_of_late() -> None:
    found = watched((0, items(0)), (1, items(1, size=5000)), (40, items(2, size=8000)))
    assert found.rate == 0  # of one look
    found = watched((0, items(0)), (30, items(1, size=5000)), (40, items(2, size=8000)))
    assert found.rate == 300


def test_the_share_does_not_fall_for_a_moment_only() -> None:
    looks = [(0.0, items(0)), (1.0, items(50)), (1.2, items(40))]
    assert watched(*looks).share == 0.5
    assert watched(*looks, (3.0, items(40))).share == 0.4
