"""When the runs of manifests began and ended, and how much they moved in which time."""

from __future__ import annotations

import calendar
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dcmweb.transfer.manifest import RESOLVED
from dcmweb.transfer.outcomes import Event

MOST_RUNS = 100
_MOST_SLICES = 2000
_TIME = re.compile(
    r"([0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2})(\.[0-9]{1,9})?(?:Z|\+00:00)"
)
NOT_ENDED = "it has not ended"


class Times:
    """Reads the times of events; many events in a row are of the same second."""

    def __init__(self) -> None:
        self._read: tuple[str, int] = ("", 0)

    def seconds(self, text: object) -> float | None:
        """Return a time as seconds since 1970; None for what is not a time in UTC."""
        found = _TIME.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        whole, fraction = found.groups()
        if whole != self._read[0]:
            try:
                parsed = time.strptime(whole, "%Y-%m-%dT%H:%M:%S")
            except ValueError:
                return None
            self._read = whole, calendar.timegm(parsed)
        return self._read[1] + float(fraction or 0)


@dataclass
class PastRun:
    """A run, with times in seconds since 1970, None where a manifest has none."""

    id: str
    file: str
    started: float | None = None
    ended: float | None = None
    how: str = NOT_ENDED
    exit_code: int | None = None
    items: int = 0


class RunHistory:
    """The runs of manifests, in their order; of very many, the last ones."""

    def __init__(self) -> None:
        self.count = 0
        self._past: deque[PastRun] = deque(maxlen=MOST_RUNS)
        self._current: PastRun | None = None

    def take(self, event: Event, file: str, at: float | None, times: Times) -> None:
        """Take an event of a manifest, in its turn."""
        name = event.get("run")
        name = name if isinstance(name, str) else ""
        run = self._current
        if run is None or (run.file, run.id) != (file, name):
            self.end_of_file()
            run = self._current = PastRun(name, file, started=at)
        run.ended = at or run.ended
        if event.get("type") != "end":
            run.items += event.get("type") != RESOLVED
            return
        code = event.get("exit_code")
        run.started = times.seconds(event.get("started")) or (run.started if run.items else None)
        run.how = str(event.get("end"))
        run.exit_code = code if isinstance(code, int) else None
        self.end_of_file()

    def end_of_file(self) -> None:
        """Note that the current run has no further events."""
        if self._current is not None:
            self._past.append(self._current)
            self.count += 1
            self._current = None

    @property
    def runs(self) -> list[PastRun]:
        """The runs, the earliest first."""
        return sorted(self._past, key=lambda run: run.started or run.ended or 0.0)


@dataclass
class Slice:
    """What was moved in a part of the time."""

    items: int = 0
    bytes: int = 0


class Timeline:
    """How much was moved when, in slices of time that grow with the whole."""

    def __init__(self) -> None:
        self.width = 1  # seconds
        self._slices: dict[int, Slice] = {}

    def add(self, at: float, size: int) -> None:
        """Count an item."""
        found = self._slices.setdefault(int(at) // self.width, Slice())
        found.items += 1
        found.bytes += size
        while len(self._slices) > _MOST_SLICES:
            self._widen(2)

    def _widen(self, factor: int) -> None:
        wider: dict[int, Slice] = {}
        for number, one in self._slices.items():
            into = wider.setdefault(number // factor, Slice())
            into.items += one.items
            into.bytes += one.bytes
        self.width *= factor
        self._slices = wider

    def slices(self, most: int) -> Iterator[tuple[float, Slice]]:
        """Yield slices with their begin, none left out, and wider ones if there were more."""
        if not self._slices:
            return
        first, last = min(self._slices), max(self._slices)
        if (factor := -(-(last - first + 1) // (most - 1))) > 1:
            self._widen(factor)
            first, last = min(self._slices), max(self._slices)
        for number in range(first, last + 1):
            yield number * self.width, self._slices.get(number, Slice())
