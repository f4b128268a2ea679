"""Says in words how far a run has come: in a line of a log, or in the width of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from dcmweb.cli.activity import Activity
from dcmweb.cli.estimate import ALMOST, Estimate
from dcmweb.cli.text import duration, visible
from dcmweb.counted import plural, size
from dcmweb.transfer.summary import Progress

STALLED = 5.0  # seconds without data that are worth a word
SHORTEST_PAUSE = 1.0  # seconds
NARROWEST_BAR, WIDEST_BAR = 8, 40  # columns
WITH_BAR, WITH_TITLE = 56, 90  # columns of a terminal in which there is room for these


class _Place(IntEnum):
    """Where a part of the line is; what is said first."""

    COUNT = 0
    BYTES = 1
    RATE = 2
    LEFT = 3
    TROUBLE = 4
    FAILED = 5
    RETRIES = 6


# What goes first where there is no room for all.
_IMPORTANCE = (
    _Place.COUNT,
    _Place.TROUBLE,
    _Place.LEFT,
    _Place.FAILED,
    _Place.RATE,
    _Place.BYTES,
    _Place.RETRIES,
)


def heartbeat(activity: Activity, progress: Progress, estimate: Estimate) -> str:
    """Write a line of a log."""
    parts = dict(_parts(activity, progress, estimate))
    words = [long for _, (long, _) in sorted(parts.items())]
    percent = f"{_percent(estimate)} " if estimate.share is not None else ""
    phase = f"{progress.phase.name}: " if progress.phase and progress.phase.name else ""
    return f"So far: {phase}{percent}{', '.join(words)}"


@dataclass(frozen=True)
class Line:
    """A line of a terminal: text, a bar of so many columns if there is room, and more text."""

    left: str
    bar: int
    right: str


def line(activity: Activity, progress: Progress, estimate: Estimate, width: int) -> Line:
    """Fit as much as goes into a width of a terminal, what matters most first."""
    name = progress.phase.name.capitalize() if progress.phase else ""
    left = f"{name or activity.doing} " if width >= WITH_TITLE else ""
    if estimate.share is not None:
        left += f"{_percent(estimate):>4} "
    has_bar = estimate.share is not None and width >= WITH_BAR
    taken = len(left) + (NARROWEST_BAR + len("|| ") if has_bar else 0)
    words = _fitting(dict(_parts(activity, progress, estimate)), width - taken)
    if not has_bar:
        return Line(f"{left}{words}"[:width], 0, "")
    bar = min(WIDEST_BAR, width - len(left) - len(words) - len("|| "))
    return Line(left, bar, f" {words}")


def _fitting(parts: dict[_Place, tuple[str, str]], width: int) -> str:
    """Choose the parts that fit, in their long or their short form."""
    chosen: dict[_Place, str] = {}
    for place in _IMPORTANCE:
        forms: Sequence[str] = parts.get(place, ())
        if place is _Place.COUNT and _Place.TROUBLE in parts:
            forms = forms[1:]  # to have room for words about the trouble
        for form in forms:
            if len(_joined({**chosen, place: form})) <= width:
                chosen[place] = form
                break
    for place, (long, _) in parts.items():  # there may be room for longer forms after all
        if place in chosen and len(_joined({**chosen, place: long})) <= width:
            chosen[place] = long
    return _joined(chosen) or next(iter(parts.values()))[1][:width]


def _joined(chosen: dict[_Place, str]) -> str:
    return ", ".join(chosen[place] for place in sorted(chosen))


def _percent(estimate: Estimate) -> str:
    """Write a share; 100% only for all of it."""
    return f"{int((estimate.share or 0.0) * 100)}%"


def _parts(
    activity: Activity, progress: Progress, estimate: Estimate
) -> Iterator[tuple[_Place, tuple[str, str]]]:
    """Yield the parts of the line, each in a long and a short form."""
    yield _Place.COUNT, _count(activity, progress)
    if progress.phase is None and activity.moves_bytes:
        yield from _bytes(progress, estimate)
    left = list(filter(None, [_left(progress, estimate), _later(progress)]))
    if left:
        yield _Place.LEFT, (", ".join(left), left[0])
    if trouble := _trouble(progress):
        yield _Place.TROUBLE, trouble
    if progress.failed:
        yield _Place.FAILED, (f"{progress.failed:,} failed",) * 2
    if progress.retries:
        yield _Place.RETRIES, (plural(progress.retries, "retry"),) * 2


def _count(activity: Activity, progress: Progress) -> tuple[str, str]:
    phase = progress.phase
    done, expected = progress.items, progress.expected
    noun = activity.noun
    if phase is not None:
        done, expected = phase.done, phase.expected
        noun = phase.noun or activity.noun
    if not expected:
        return plural(done, noun), f"{done:,}"
    return f"{done:,} of {plural(expected, noun)}", f"{done:,}/{expected:,}"


def _bytes(progress: Progress, estimate: Estimate) -> Iterator[tuple[_Place, tuple[str, str]]]:
    moved = size(progress.bytes)
    known = f"{size(progress.done_bytes)} of {size(progress.expected_bytes or 0)}"
    if progress.bytes or progress.expected_bytes:
        yield _Place.BYTES, (known if progress.expected_bytes else moved, moved)
    if estimate.rate >= 1:
        yield _Place.RATE, (f"{size(estimate.rate)}/s",) * 2


def _left(progress: Progress, estimate: Estimate) -> str:
    """Say how long the rest will take, if that is known and long enough to be said."""
    if progress.is_counting:
        return "counting"
    if estimate.left is None or _is_silent(progress):
        return ""
    return f"{duration(estimate.left)} left" if estimate.left >= ALMOST else ""


def _later(progress: Progress) -> str:
    return f"then {progress.later}" if progress.later else ""


def _is_silent(progress: Progress) -> bool:
    return progress.pause is None and progress.idle >= STALLED


def _trouble(progress: Progress) -> tuple[str, str] | None:
    """Say what a run waits for: the end of a pause, or a server that says nothing."""
    pause = progress.pause
    if pause is not None and pause.seconds >= SHORTEST_PAUSE and pause.reason:
        how_many = "waiting" if pause.count == 1 else f"{pause.count} requests waiting"
        seconds = duration(pause.seconds)
        return f"{how_many} {seconds}: {visible(pause.reason)}", f"waiting {seconds}"
    if _is_silent(progress):
        return f"no data for {duration(progress.idle)}", f"silent {duration(progress.idle)}"
    return None
