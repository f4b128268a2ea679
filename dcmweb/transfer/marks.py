"""Marks events with the time, and with the run that they are of."""

from __future__ import annotations

import os
import time

from dcmweb.transfer.outcomes import Event


def new_run_id() -> str:
    """Return a name for a run that no other run has."""
    return os.urandom(6).hex()


class Marks:
    """Adds the time in UTC (ISO 8601) and the id of a run to its events.

    Of a time only the milliseconds are written anew for each event: there are thousands of them in
    a second.
    """

    def __init__(self, run: str = "") -> None:
        self.run = run or new_run_id()
        self._written = (-1, "")  # a second, and its text

    def now(self) -> str:
        """Return the time, as 2026-11-26T14:00:00.123Z."""
        now = time.time()
        second, text = self._written
        if int(now) != second:
            second = int(now)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._written = second, text
        return f"{text}.{int((now - second) * 1000):03d}Z"

    def members(self) -> str:
        """Return both as members of an object in JSON."""
        from json.encoder import encode_basestring_ascii as quoted

        return f'"time": "{self.now()}", "run": {quoted(self.run)}'

    def on(self, event: Event) -> Event:
        """Return an event with both."""
        return {**event, "time": self.now(), "run": self.run}
