"""Says from time to time how much has been read or listed, before there are outcomes to count."""

from __future__ import annotations

import time
from collections.abc import Callable

from dcmweb.counted import plural

EVERY = 30.0  # seconds between two notes


class SoFar:
    """Counts things of a kind: a noun, and what is said of them."""

    def __init__(self, notify: Callable[[str], None], noun: str, what: str) -> None:
        self._notify = notify
        self._noun, self._what = noun, what
        self._number = 0
        self._due = time.monotonic() + EVERY

    def add(self, number: int = 1) -> None:
        """Count some; say how many there are, if it is time to."""
        self._number += number
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY
            self._notify(f"So far: {plural(self._number, self._noun)} {self._what}")
