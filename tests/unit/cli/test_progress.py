"""How much of a run is done, and how long the rest will take."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest

from dcmweb.cli.progress import Bar, Census, share_of_items
from dcmweb.cli.text import duration
from dcmweb.errors import LocalError
from dcmweb.transfer.outcomes import Status
from dcmweb.transfer.summary import Progress


def test_a_census_tells_the_share_once_it_has_counted_all() -> None:
    census = Census(iter([300, 500, 200]))
    census.join()
    assert census.share(Progress(counts={}, bytes=300, passed_over=200)) == 0.5


@pytest.mark.parametrize("error", [None, LocalError("cannot be read")])
def test_a_census_that_comes_to_nothing_tells_nothing(error: LocalError | None) -> None:
    def sizes() -> Iterator[int]:
        yield 0
        if error:
            raise error

    census = Census(sizes())
    census.join()
    assert census.share(Progress(counts={})) is None


@pytest.mark.parametrize(("expected", "share"), [(4, 0.25), (None, None), (0, None)])
def test_items_tell_the_share_once_all_are_listed(expected: int | None, share: float) -> None:
    progress = Progress(counts={Status.RETRIEVED: 1}, expected=expected)
    assert share_of_items(progress) == share


@pytest.mark.parametrize(("share", "words"), [(None, "time left not known yet"), (0.5, " left")])
def test_a_bar_says_how_long_it_will_take(
    share: float | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcmweb.cli.progress.PATIENCE", 0.0)
    stream = io.StringIO()
    bar = Bar(stream, lambda _progress: share)
    time.sleep(0.01)
    bar.show(Progress(counts={}))
    shown = stream.getvalue()
    bar.close()
    assert words in shown
    assert "0 files" in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
