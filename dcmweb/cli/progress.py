"""Progress: one bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from dcmweb.cli.text import plural, size
from dcmweb.transfer.outcomes import Status, Tally

if TYPE_CHECKING:
    from dcmweb.transfer.engine import Meter

PATIENCE = 0.5  # seconds before a bar is shown at all
REFRESH = 0.1  # seconds between two looks of the bar
PLAIN_EVERY = 30.0  # seconds between two plain lines


class Progress(Protocol):
    """A way to show how far a run has come."""

    def show(self) -> None:
        """Bring what is shown up to date, if it is time to."""

    def hide(self) -> None:
        """Make room for a line."""

    def close(self) -> None:
        """Take it away."""


class Bar:
    """A tqdm bar in bytes; how many there will be is not known."""

    def __init__(self, stream: TextIO, tally: Tally, meter: Meter) -> None:
        from tqdm import tqdm

        self._tally = tally
        self._meter = meter
        self._next = time.monotonic() + PATIENCE
        self._bar = tqdm(
            file=stream,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            leave=False,
            delay=PATIENCE,  # else tqdm draws it at once
            dynamic_ncols=True,
        )

    def show(self) -> None:
        """Draw the bar anew."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH
        self._bar.set_postfix_str(_counts(self._tally), refresh=False)
        self._bar.n = self._meter.bytes
        self._bar.refresh()

    def hide(self) -> None:
        """Clear the line the bar is in; it comes again when it is shown."""
        self._bar.clear()

    def close(self) -> None:
        """Clear the bar for good."""
        self._bar.clear()  # tqdm itself would leave a bar that was drawn before the delay
        self._bar.close()


class PlainLines:
    """A line every half minute, so that a log shows that the run is alive."""

    def __init__(self, write: Callable[[str], None], tally: Tally, meter: Meter) -> None:
        self._write = write
        self._tally = tally
        self._meter = meter
        self._next = time.monotonic() + PLAIN_EVERY

    def show(self) -> None:
        """Write a line if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_EVERY
        self._write(f"So far: {size(self._meter.bytes)}, {_counts(self._tally)}")

    def hide(self) -> None:
        """Nothing is in the way of other lines."""

    def close(self) -> None:
        """Nothing is left behind."""


def _counts(tally: Tally) -> str:
    done = sum(tally.counts.values())
    failed = tally.counts[Status.FAILED] + tally.counts[Status.UNKNOWN]
    return f"{plural(done, 'file')}, {failed:,} failed" if failed else plural(done, "file")
