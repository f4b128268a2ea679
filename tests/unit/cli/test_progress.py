"""The bar, the lines of a log, and the thread that looks at a run."""

from __future__ import annotations

import io
import time
from threading import Event, RLock

import pytest

from dcmweb.cli import watch as module
from dcmweb.cli.activity import Activity
from dcmweb.cli.progress import Bar, Heartbeat
from dcmweb.cli.text import duration, some_of
from dcmweb.cli.watch import Watch
from dcmweb.transfer.outcomes import Status
from dcmweb.transfer.summary import Progress

STORING = Activity("Storing", "file")
HALF = Progress(counts={Status.STORED: 5}, expected=10)
LONG = 20.0  # seconds in which anything here should have happened


def test_a_bar_takes_one_line_and_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    bar = Bar(stream, STORING)
    bar.show(HALF)
    bar.show(Progress(counts={}))  # shorter: the rest is covered
    first, second = stream.getvalue().split("\r")[1:]
    assert first.startswith(" 50% |###")
    assert first.endswith(" 5 of 10 files")
    assert len(first) == len(second)
    assert second.rstrip() == "0 files"
    bar.hide()
    assert stream.getvalue().endswith(f"\r{' ' * len(second.rstrip())}\r")
    drawn = stream.getvalue()
    bar.hide()
    assert stream.getvalue() == drawn


def test_a_terminal_with_unicode_has_finer_blocks() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    Bar(stream, STORING).show(HALF)
    assert isinstance(stream.buffer, io.BytesIO)
    assert "|█" in stream.buffer.getvalue().decode()


def test_a_bar_is_not_drawn_in_the_middle_of_a_line_of_data() -> None:
    stream = io.StringIO()
    bar = Bar(stream, STORING, lambda: False)
    bar.show(HALF)
    bar.hide()
    assert stream.getvalue() == ""


def test_a_log_has_a_line_every_half_minute() -> None:
    now = 0.0
    lines: list[str] = []
    heart = Heartbeat(lines.append, STORING, lambda: now)
    for second in range(100):
        now = float(second)
        heart.show(HALF)
    assert len(lines) == 3
    assert lines[0].startswith("So far: 50% 5 of 10 files")


class Seen:
    """A display that takes down what it is shown."""

    every = 0.01
    counts_after = 0.0

    def __init__(self) -> None:
        self.shown: list[Progress] = []
        self.hidden = 0
        self.was_shown = Event()

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)
        if len(self.shown) > 1:
            self.was_shown.set()
            raise OSError("the terminal is gone")

    def hide(self) -> None:
        self.hidden += 1


def test_a_run_is_looked_at_until_it_is_over_even_if_the_terminal_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    seen, counted = Seen(), Event()
    watch = Watch(lambda: [seen], lambda: HALF, RLock(), on_patience=counted.set)
    assert seen.was_shown.wait(LONG)
    assert counted.is_set()
    watch.close()
    assert seen.hidden == 1
    shown = len(seen.shown)
    time.sleep(0.05)
    assert len(seen.shown) == shown


def test_nothing_is_counted_before_a_display_can_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    late, soon, counted = Seen(), Seen(), Event()
    late.counts_after = LONG
    watch = Watch(lambda: [late], lambda: HALF, RLock(), on_patience=counted.set)
    assert late.was_shown.wait(LONG)
    watch.close()
    assert not counted.is_set()
    watch = Watch(lambda: [soon, late], lambda: HALF, RLock(), on_patience=counted.set)
    assert soon.was_shown.wait(LONG)
    watch.close()
    assert counted.is_set()
    assert Heartbeat(print, STORING).counts_after > 0


def test_a_short_run_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", LONG)
    seen, counted = Seen(), Event()
    Watch(lambda: [seen], lambda: HALF, RLock(), on_patience=counted.set).close()
    assert (seen.shown, counted.is_set()) == ([], False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("names", "words"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (list("abcde"), "a, b, c and 2 others")],
)
def test_of_many_names_the_first_are_given(names: list[str], words: str) -> None:
    assert some_of(names) == words
