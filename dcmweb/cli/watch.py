"""Looks at a run from time to time, so that its progress can be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dcmweb.transfer.summary import Progress

PATIENCE = 0.5  # seconds before anything is shown, or imported to be shown


class Display(Protocol):
    """A way to show the progress of a run."""

    every: float  # seconds between two calls of `show`
    counts_after: float  # seconds until it is worth counting how much there is to do

    def show(self, progress: Progress) -> None:
        """Update the display if it is time to."""

    def hide(self) -> None:
        """Clear the display, so that a line can be written."""


class Watch:
    """Looks at a run from time to time, in a thread of its own, and shows how far it has come.

    The lock is held while something is written, so that lines and the bar do not meet.
    """

    def __init__(
        self,
        begin: Callable[[], Sequence[Display]],
        progress: Callable[[], Progress],
        lock: RLock,
        *,
        on_patience: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to watch.

        If the run is not over in a moment, `begin` makes the displays. `on_patience` is called once
        one of them can soon show how much there is to do.
        """
        self._begin = begin
        self._displays: Sequence[Display] = ()
        self._progress = progress
        self._lock = lock
        self._on_patience = on_patience
        self._is_over = Event()
        self._thread = Thread(target=self._look, name="dcmweb progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no longer, and clear the display."""
        self._is_over.set()
        self._thread.join()
        with self._lock, suppress(OSError):
            for display in self._displays:
                display.hide()

    def _look(self) -> None:
        if self._is_over.wait(PATIENCE):
            return
        self._displays = self._begin()
        every = min(display.every for display in self._displays)
        counts_at = time.monotonic() + min(display.counts_after for display in self._displays)
        has_counted = False
        while not self._is_over.is_set():
            if not has_counted and time.monotonic() >= counts_at:
                has_counted = True
                self._on_patience()
            with self._lock, suppress(OSError):  # a terminal that is gone ends no run
                progress = self._progress()
                for display in self._displays:
                    display.show(progress)
            self._is_over.wait(every)
