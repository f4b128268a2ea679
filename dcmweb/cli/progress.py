"""How progress is shown: as a bar in a terminal, elsewhere as a line from time to time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TextIO

from dcmweb.cli import progress_words
from dcmweb.cli.activity import Activity
from dcmweb.cli.estimate import Estimator
from dcmweb.transfer.summary import Progress

REFRESH = 0.1  # seconds between two drawings of the bar
HEARTBEAT = 30.0  # seconds between two lines of a log
_LOOK = 1.0  # seconds between two looks at a run whose progress goes to a log
_USUAL_WIDTH = 80  # columns of a terminal that does not say


class Bar:
    """One line at the bottom of a terminal, drawn over again."""

    def __init__(
        self,
        stream: TextIO,
        activity: Activity,
        may_draw: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a bar; `may_draw` says whether the cursor is at the beginning of a line."""
        self.every, self.counts_after = REFRESH, 0.0
        self._stream = stream
        self._may_draw = may_draw
        self._activity = activity
        self._estimator = Estimator(clock)
        self._drawn = 0  # columns

    def show(self, progress: Progress) -> None:
        """Draw the bar."""
        estimate = self._estimator.look(progress)
        if not self._may_draw():
            return
        width = _width_of(self._stream) - 1  # in the last column, some terminals begin a line
        line = progress_words.line(self._activity, progress, estimate, width)
        text = line.left
        if line.bar:
            text += f"|{_blocks(self._stream, estimate.share or 0.0, line.bar)}|{line.right}"
        self._write(text.ljust(min(self._drawn, width)))
        self._drawn = len(text)

    def hide(self) -> None:
        """Clear the line of the bar; the next drawing restores it."""
        if self._drawn:
            self._write(" " * min(self._drawn, _width_of(self._stream) - 1))
            self._stream.write("\r")
            self._stream.flush()
            self._drawn = 0

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text}")
        self._stream.flush()


def _width_of(stream: TextIO) -> int:
    """Return the columns of a terminal, which change when a window is resized."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def _blocks(stream: TextIO, share: float, columns: int) -> str:
    """Draw a bar of so many columns; of ASCII characters where a terminal has no others."""
    from tqdm import tqdm

    is_ascii = "utf" not in (stream.encoding or "").lower()
    form = f"{{bar:{columns}}}"
    return str(tqdm.format_meter(share, 1.0, 0.0, bar_format=form, ascii=is_ascii or None))


class Heartbeat:
    """A line every half minute, so that a log shows that the run is alive."""

    def __init__(
        self,
        write: Callable[[str], None],
        activity: Activity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every, self.counts_after = min(_LOOK, HEARTBEAT), HEARTBEAT / 2
        self._write = write
        self._activity = activity
        self._clock = clock
        self._estimator = Estimator(clock)
        self._next = clock() + HEARTBEAT

    def show(self, progress: Progress) -> None:
        """Write a line if it is time to."""
        estimate = self._estimator.look(progress)
        if self._clock() >= self._next:
            self._next = self._clock() + HEARTBEAT
            self._write(progress_words.heartbeat(self._activity, progress, estimate))

    def hide(self) -> None:
        """Do nothing: lines do not disturb each other."""
