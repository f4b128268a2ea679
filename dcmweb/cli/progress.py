"""Shows progress: a bar in a terminal, elsewhere a plain line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import Protocol, TextIO

from dcmweb.cli.text import duration, plural, size
from dcmweb.errors import DcmwebError
from dcmweb.transfer.summary import Progress

PATIENCE = 0.5  # seconds before a bar is shown at all
REFRESH = 0.1  # seconds between two drawings of the bar
PLAIN_EVERY = 30.0  # seconds between two plain lines


# Returns the share of a run that is done, from 0 to 1; None while the total is unknown.
Share = Callable[[Progress], float | None]


def share_of_items(progress: Progress) -> float | None:
    """Return the share of the items that the server lists."""
    return progress.items / progress.expected if progress.expected else None


class Census(Thread):
    """Adds up the sizes of files while they are being stored, to know the total."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self._sizes = sizes
        self._total = 0
        self._is_complete = False
        self.start()

    def run(self) -> None:
        """Add up the sizes."""
        with suppress(DcmwebError):  # the run itself reports it
            for count in self._sizes:
                self._total += count
            self._is_complete = True

    def share(self, progress: Progress) -> float | None:
        """Return the share of bytes that were sent or skipped."""
        if not self._is_complete or not self._total:
            return None
        return (progress.bytes + progress.passed_over) / self._total


class Display(Protocol):
    """A way to show the progress of a run."""

    def show(self, progress: Progress) -> None:
        """Update the display if it is time to."""

    def hide(self) -> None:
        """Clear the display, so that a line can be written."""

    def close(self) -> None:
        """Remove the display."""


class Bar:
    """A tqdm bar in bytes, with the time left once the total is known."""

    def __init__(self, stream: TextIO, share: Share) -> None:
        from tqdm import tqdm

        self._share = share
        self._next = time.monotonic() + PATIENCE
        self._bar = tqdm(
            file=stream,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            leave=False,
            delay=PATIENCE,  # otherwise tqdm draws it at once
            dynamic_ncols=True,
        )

    def show(self, progress: Progress) -> None:
        """Draw the bar."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH
        words = f"{_counts(progress)}, {self._estimate(progress)}"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.n = progress.bytes
        self._bar.refresh()

    def _estimate(self, progress: Progress) -> str:
        share = self._share(progress)
        if not share:
            return "time left not known yet"
        left = progress.seconds * (1 - min(share, 1.0)) / share
        return f"about {duration(left)} left"

    def hide(self) -> None:
        """Clear the line of the bar; the next drawing restores it."""
        self._bar.clear()

    def close(self) -> None:
        """Clear the bar for good."""
        self._bar.clear()  # tqdm itself would leave a bar that was drawn before the delay
        self._bar.close()


class PlainLines:
    """A line every half minute, so that a log shows that the run is alive."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._next = time.monotonic() + PLAIN_EVERY

    def show(self, progress: Progress) -> None:
        """Write a line if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_EVERY
        self._write(f"So far: {size(progress.bytes)}, {_counts(progress)}")

    def hide(self) -> None:
        """Do nothing: lines do not disturb each other."""

    def close(self) -> None:
        """Do nothing: there is nothing to remove."""


def _counts(progress: Progress) -> str:
    done = plural(progress.items, "file")
    return f"{done}, {progress.failed:,} failed" if progress.failed else done
