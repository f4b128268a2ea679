"""Progress: one bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Protocol, TextIO

from dcmweb.cli.text import duration, plural, size
from dcmweb.errors import DcmwebError
from dcmweb.transfer.outcomes import Status, Tally

if TYPE_CHECKING:
    from dcmweb.transfer.engine import Meter

PATIENCE = 0.5  # seconds before a bar is shown at all
REFRESH = 0.1  # seconds between two looks of the bar
PLAIN_EVERY = 30.0  # seconds between two plain lines


# Tells how much of a run is done, from 0 to 1; None while it is not known how much there is.
Share = Callable[[Tally, "Meter"], float | None]


def share_of_items(tally: Tally, meter: Meter) -> float | None:
    """Tell the share by the number of items that a server lists."""
    if not meter.expected or not meter.expects_all:
        return None
    return sum(tally.counts.values()) / meter.expected


class Census(Thread):
    """Adds up the sizes of files while they are being stored, to know how much there is."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self._sizes = sizes
        self._total = 0
        self._is_complete = False
        self.start()

    def run(self) -> None:
        """Add them up."""
        with suppress(DcmwebError):  # the run itself meets it as well
            for count in self._sizes:
                self._total += count
            self._is_complete = True

    def share(self, tally: Tally, meter: Meter) -> float | None:
        """Tell the share of bytes that were sent or passed over."""
        if not self._is_complete or not self._total:
            return None
        return (meter.bytes + tally.passed_over) / self._total


class Progress(Protocol):
    """A way to show how far a run has come."""

    def show(self) -> None:
        """Bring what is shown up to date, if it is time to."""

    def hide(self) -> None:
        """Make room for a line."""

    def close(self) -> None:
        """Take it away."""


class Bar:
    """A tqdm bar in bytes, and how long it will take, as soon as it is known how much there is."""

    def __init__(self, stream: TextIO, tally: Tally, meter: Meter, share: Share) -> None:
        from tqdm import tqdm

        self._share = share
        self._began = time.monotonic()
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
        words = f"{_counts(self._tally)}, {self._estimate()}"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.n = self._meter.bytes
        self._bar.refresh()

    def _estimate(self) -> str:
        share = self._share(self._tally, self._meter)
        if not share:
            return "time left not known yet"
        left = (time.monotonic() - self._began) * (1 - min(share, 1.0)) / share
        return f"about {duration(left)} left"

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
