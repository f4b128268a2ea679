"""The time that lines on stderr begin with, as the logging module writes it."""

from __future__ import annotations

import time


class LineTime:
    """Writes the time in the time zone of this machine; makes its text once in a second."""

    def __init__(self) -> None:
        self._last = (-1, "")  # together, as several threads write lines

    def now(self) -> str:
        """Return the time to the millisecond: `2026-11-01 18:00:00,123`."""
        now = time.time()
        second = int(now)
        last, text = self._last
        if last != second:
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
            self._last = second, text
        return f"{text},{int((now - second) * 1000):03d}"
