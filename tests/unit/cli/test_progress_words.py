"""What is said of a run in a line, whatever the width of the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.cli.activity import Activity
from dcmweb.cli.estimate import Estimate
from dcmweb.cli.progress_words import heartbeat, line
from dcmweb.transfer.meter import Pause, Phase
from dcmweb.transfer.outcomes import Status
from dcmweb.transfer.summary import Progress

STORING = Activity("Storing", "file")
DELETING = Activity("Deleting", "resource", moves_bytes=False)
HALF = Progress(
    counts={Status.STORED: 1_234},
    bytes=1_200_000_000,
    expected=20_000,
    expected_bytes=20_000_000_000,
    done_bytes=1_300_000_000,
)
KNOWN = Estimate(0.065, 720.0, 36_000_000.0)
BUSY = HALF._replace(pause=Pause(8.2, "server busy (503)"), retries=3)


def shown(progress: Progress, estimate: Estimate, width: int) -> str:
    """The line, with the bar as signs of equality."""
    found = line(STORING, progress, estimate, width)
    return f"{found.left}|{'=' * found.bar}|{found.right}" if found.bar else found.left


@pytest.mark.parametrize("width", range(1, 260))
@pytest.mark.parametrize("progress", [HALF, BUSY, Progress(counts={})])
def test_the_line_fits_into_any_width(progress: Progress, width: int) -> None:
    for estimate in (KNOWN, Estimate()):
        assert len(shown(progress, estimate, width)) <= width


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (19, "  6% 1,234/20,000"),
        (39, "  6% 1,234 of 20,000 files, 12 min left"),
        (62, "  6% |========| 1,234 of 20,000 files, 34.3 MiB/s, 12 min left"),
    ],
)
def test_what_matters_most_goes_first(width: int, words: str) -> None:
    assert shown(HALF, KNOWN, width) == words


def test_all_of_it_goes_into_a_wide_terminal() -> None:
    text = shown(BUSY._replace(later="verifying"), KNOWN, 199)
    assert text == (
        f"Storing   6% |{'=' * 40}| 1,234 of 20,000 files, 1.2 GiB of 18.6 GiB, 34.3 MiB/s, "
        "12 min left, then verifying, waiting 8 s: server busy (503), 3 retries"
    )


@pytest.mark.parametrize(
    ("width", "words"), [(40, "waiting 8 s"), (60, "waiting 8 s: server busy (503)")]
)
def test_a_pause_is_said_before_anything_else(width: int, words: str) -> None:
    assert words in shown(BUSY, KNOWN, width)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"idle": 12.0}, "no data for 12 s"),
        ({"idle": 12.0, "pause": Pause(3.0, "")}, ""),  # a limit that the user has set
        ({"idle": 2.0}, ""),
        (
            {"pause": Pause(9.0, "server busy (429)", 4)},
            "4 requests waiting 9 s: server busy (429)",
        ),
        ({"pause": Pause(0.4, "server busy (429)")}, ""),
        ({"pause": Pause(9.0, "\x1b[31mred")}, "waiting 9 s: \\x1b[31mred"),
    ],
)
def test_what_a_run_waits_for_is_said(changes: dict[str, Any], words: str) -> None:
    text = shown(HALF._replace(**changes), KNOWN, 199)
    assert words in text
    assert ("waiting" in text or "no data" in text) == bool(words)


def test_a_silent_server_has_no_time_left() -> None:
    assert "left" not in shown(HALF._replace(idle=12.0), KNOWN, 199)


@pytest.mark.parametrize("left", [0.0, 0.4, 0.99])
def test_it_is_never_said_that_no_time_is_left(left: float) -> None:
    later = HALF._replace(later="verifying")
    for progress in (HALF, later, HALF._replace(phase=Phase("verifying", "instance", 1, 2))):
        text = shown(progress, Estimate(0.999, left), 199)
        assert "left" not in text
        assert " 99% " in text
    assert "then verifying" in shown(later, Estimate(1.0, left), 199)


def test_it_says_that_it_is_counting() -> None:
    counting = Progress(counts={Status.STORED: 7}, bytes=700, is_counting=True)
    assert shown(counting, Estimate(None, None, 70.0), 79) == "7 files, 700 B, 70 B/s, counting"


def test_items_without_bytes() -> None:
    progress = Progress(counts={Status.DELETED: 1, Status.FAILED: 1}, expected=3)
    found = line(DELETING, progress, Estimate(2 / 3), 79)
    assert (found.left, found.right) == (" 66% ", " 2 of 3 resources, 1 failed")


def test_a_phase_counts_its_own_things() -> None:
    progress = HALF._replace(phase=Phase("verifying", "instance", 30, 40))
    found = line(STORING, progress, Estimate(0.75), 99)
    assert (found.left, found.right) == ("Verifying  75% ", " 30 of 40 instances")


def test_a_line_of_a_log() -> None:
    assert heartbeat(
        STORING, BUSY._replace(counts={Status.STORED: 7, Status.FAILED: 2}), KNOWN
    ) == (
        "So far: 6% 9 of 20,000 files, 1.2 GiB of 18.6 GiB, 34.3 MiB/s, 12 min left, "
        "waiting 8 s: server busy (503), 2 failed, 3 retries"
    )
    progress = HALF._replace(phase=Phase("listing studies", "study", 30), later="comparing")
    words = heartbeat(STORING, progress, Estimate())
    assert words == "So far: listing studies: 30 studies, then comparing"
