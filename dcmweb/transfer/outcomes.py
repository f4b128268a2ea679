"""What became of an item: values, which the console prints and the exit code is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum

from dcmweb.errors import ExitCode


class Status(str, Enum):
    """What became of an item; `is_good` says whether the run can still end with exit code 0."""

    STORED = "stored"
    EXISTS = "already there"
    DONE_BEFORE = "done before"
    RETRIEVED = "retrieved"
    DELETED = "deleted"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_good(self) -> bool:
        """Whether nothing needs to be done about the item."""
        return self not in (Status.FAILED, Status.UNKNOWN)


@dataclass(frozen=True)
class Outcome:
    """What became of one item: a file that was to be stored, an instance to be retrieved.

    `size` is in bytes; `place` is where it is now: a URL on the server, a path on this machine.
    `mtime_ns` is when a file was changed last, `attempts` how many requests it was in.
    """

    status: Status
    item: str
    size: int = 0
    reason: str = ""
    place: str = ""
    mtime_ns: int = 0
    study: str = ""
    series: str = ""
    instance: str = ""
    attempts: int = 0


# Those of a run, as they come; whoever does not want all of them closes it, which ends the run.
Outcomes = Generator[Outcome, None, None]


class Tally:
    """The count of outcomes of a run; its purpose is the outcome that was hoped for."""

    def __init__(self, purpose: Status) -> None:
        self.purpose = purpose
        self.counts: Counter[Status] = Counter()
        self.bytes = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; bytes count when they arrived."""
        self.counts[outcome.status] += 1
        if outcome.status in (Status.STORED, Status.RETRIEVED):
            self.bytes += outcome.size

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run that came to its end with these outcomes."""
        bad = any(count for status, count in self.counts.items() if not status.is_good)
        return ExitCode.SOME_FAILED if bad else ExitCode.OK
