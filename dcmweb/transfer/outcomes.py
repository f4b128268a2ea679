"""What became of an item: values, which the console prints and the exit code is made from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from enum import Enum

from dcmweb.errors import ExitCode


class Status(str, Enum):
    """What became of an item; `is_good` says whether the run can still end with exit code 0."""

    STORED = "stored"
    EXISTS = "already there"
    DONE_BEFORE = "done before"
    PLANNED = "planned"
    RETRIEVED = "retrieved"
    DELETED = "deleted"
    BEGUN = "begun"
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_good(self) -> bool:
        """Whether nothing needs to be done about the item."""
        return self not in (Status.FAILED, Status.UNKNOWN)

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to be done, as by a later run."""
        return self.is_good and self not in (Status.BEGUN, Status.PLANNED)


_MOVED = (Status.STORED, Status.RETRIEVED, Status.PLANNED)


@dataclass(frozen=True)
class Outcome:
    """What became of one item: a file that was to be stored, an instance to be retrieved.

    `size` is in bytes; `place` is where it is now: a URL on the server, a path on this machine.
    `mtime_ns` is when a file was changed last, `attempts` how many requests it was in. It may come
    `replaces` one that was told before.
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
    replaces: Status | None = None


# Those of a run, as they come; whoever does not want all of them closes it, which ends the run.
Outcomes = Generator[Outcome, None, None]


MOST_REASONS, EXAMPLES = 50, 3


@dataclass
class FailureGroup:
    """What several items have in common that did not fare well, with some of them."""

    status: Status
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, item: str) -> None:
        """Count an item."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(item)


class Tally:
    """The count of outcomes of a run; its purpose is the outcome that was hoped for."""

    def __init__(self, purpose: Status) -> None:
        self.purpose = purpose
        self.counts: Counter[Status] = Counter()
        self.bytes = 0
        self.passed_over = 0  # bytes that needed not be moved
        self._problems: dict[tuple[Status, str], FailureGroup] = {}

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; bytes count when they arrived or, in a dry run, are to be moved."""
        self.counts[outcome.status] += 1
        if outcome.status in _MOVED:
            self.bytes += outcome.size
        if outcome.status in (Status.DONE_BEFORE, Status.SKIPPED):
            self.passed_over += outcome.size
        if outcome.replaces:
            self.counts[outcome.replaces] -= 1
            self.bytes -= outcome.size if outcome.replaces in _MOVED else 0
        if not outcome.status.is_good:
            self._problem(outcome.status, outcome.reason).add(outcome.item)

    def _problem(self, status: Status, reason: str) -> FailureGroup:
        """Find the group of a reason; numbers in it, such as UIDs, make no difference."""
        key = status, re.sub(r"[0-9][0-9.]*", "0", reason)
        if key not in self._problems and len(self._problems) >= MOST_REASONS:
            key, reason = (status, ""), "other reasons"
        return self._problems.setdefault(key, FailureGroup(status, reason))

    @property
    def problems(self) -> list[FailureGroup]:
        """What went wrong, by reason; what befell most items comes first."""
        found = [
            # Fewer may be left of those that were unknown at first.
            replace(one, count=min(one.count, self.counts[one.status]))
            for one in self._problems.values()
            if self.counts[one.status] > 0
        ]
        return sorted(found, key=lambda problem: -problem.count)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run that came to its end with these outcomes."""
        bad = any(count for status, count in self.counts.items() if not status.is_good)
        return ExitCode.SOME_FAILED if bad else ExitCode.OK
