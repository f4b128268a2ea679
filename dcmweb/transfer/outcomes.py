"""The outcome of an item, as a value: the console prints it, and the exit code depends on it.

As events, outcomes are the lines of the manifest and of `--json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from dcmweb.values import quickly_made


class Status(str, Enum):
    """The outcome of an item in a word; with one that is not `is_good`, the exit code is not 0."""

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
    EQUAL = "equal"  # these four are of a comparison
    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"

    __hash__ = str.__hash__  # it is equal to that text; and several are looked up for each item

    @property
    def is_good(self) -> bool:
        """Whether nothing needs to be done about the item."""
        return self not in _BAD

    @property
    def is_final(self) -> bool:
        """Whether a later run need not do the item again."""
        return self.is_good and self not in (Status.BEGUN, Status.PLANNED)


_BAD = frozenset([Status.FAILED, Status.UNKNOWN, Status.MISSING, Status.EXTRA, Status.DIFFERENT])
_MOVED = (Status.STORED, Status.RETRIEVED, Status.PLANNED)


class Named(Protocol):
    """An object with the UIDs of a study, series or instance; "" for those it lacks."""

    @property
    def study(self) -> str:
        """The Study Instance UID."""

    @property
    def series(self) -> str:
        """The Series Instance UID."""

    @property
    def instance(self) -> str:
        """The SOP Instance UID."""


@quickly_made
@dataclass(frozen=True)
class Outcome:
    """The outcome of one item, such as a file to store or an instance to retrieve.

    `size` is in bytes; `place` is where it is now: a URL on the server, a path on this machine.
    `mtime_ns` is when a file was changed last, `attempts` how many requests it was in.
    `replaces` is the status of an earlier outcome of the item that this one replaces.
    `instances` is how many instances the outcome of a comparison stands for; 0 if that is unknown,
    or if the item is not a study, series or instance. `is_left_over` if nothing happened to the
    item itself, but the run ended before its turn, or before it was answered for.
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
    instances: int = 0
    is_left_over: bool = False

    @property
    def weight(self) -> int:
        """How many items it counts as."""
        return self.instances or 1

    @classmethod
    def of(
        cls,
        resource: Named,
        status: Status,
        item: str = "",
        *,
        size: int = 0,
        place: str = "",
        mtime_ns: int = 0,
    ) -> Outcome:
        """Make the outcome of a study, series or instance; `item` is its path unless given."""
        return cls(
            status,
            item or str(resource),
            size,
            place=place,
            mtime_ns=mtime_ns,
            study=resource.study,
            series=resource.series,
            instance=resource.instance,
        )


# The outcomes of a run, as they come. Closing the generator ends the run.
Outcomes = Generator[Outcome, None, None]

# Returns True if an earlier run has done an item, by its name, its size in bytes, and the time when
# its file was last changed, in nanoseconds.
IsDone = Callable[[str, int, int], bool]
ANY_SIZE = -1  # bytes, for an item whose size is not known


def nothing_is_done(_item: str, _size: int, _mtime_ns: int) -> bool:
    """Return False for every item: nothing was done before."""
    return False


Event = dict[str, Any]
_LAST_FIELDS = ("instances", "place", "reason", "attempts")
MOST_EXACT = 2**53  # above it, jq before 1.7 and JavaScript round whole numbers


def as_event(outcome: Outcome) -> Event:
    """Convert an outcome to an event; unknown values are left out.

    `type` is the status; `item` a path on this machine or a resource of the server; `size` is in
    bytes, `mtime_ns` in nanoseconds; `place` is where the item is now. `mtime_ns` is text, since it
    is above 2^53 for all but the oldest files, and a size is text if it is above that.
    """
    event: Event = {"type": outcome.status.name.lower(), "item": outcome.item}
    for name in ("size", "mtime_ns", "study", "series", "instance", *_LAST_FIELDS):
        if value := getattr(outcome, name):
            event[name] = value
    if outcome.mtime_ns:
        event["mtime_ns"] = str(outcome.mtime_ns)
    if outcome.size > MOST_EXACT:
        event["size"] = exact(outcome.size)
    return event


def exact(number: int) -> int | str:
    """Return a number as text if jq or JavaScript would round it."""
    return number if number <= MOST_EXACT else str(number)


MOST_REASONS, EXAMPLES = 50, 3


@dataclass
class FailureGroup:
    """Items that failed for the same reason: their number, and some of them by name."""

    status: Status
    reason: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    outcomes: int = 0  # fewer than `count` if one stands for several items

    def add(self, item: str, weight: int = 1) -> None:
        """Count an item, or something that stands for several."""
        self.count += weight
        self.outcomes += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(item)


def kind_of(reason: str) -> str:
    """Return what reasons that differ in numbers alone, such as UIDs, have in common."""
    return re.sub(r"[0-9][0-9.]*", "0", reason)


class Tally:
    """Counts the outcomes of a run; its purpose is the outcome that items should have."""

    def __init__(self, purpose: Status) -> None:
        self.purpose = purpose
        self.counts: Counter[Status] = Counter()
        self.bytes = 0
        self.passed_over = 0  # bytes that did not need to be moved
        self.settled = 0  # bytes of items that have an outcome, whatever it is
        self._problems: dict[tuple[Status, str], FailureGroup] = {}

    def add(self, outcome: Outcome) -> None:
        """Count an outcome. Bytes count if they were moved or, in a dry run, would be."""
        self.counts[outcome.status] += outcome.weight
        if outcome.status in _MOVED:
            self.bytes += outcome.size
        if outcome.status in (Status.DONE_BEFORE, Status.SKIPPED):
            self.passed_over += outcome.size
        if not outcome.replaces:
            self.settled += outcome.size
        if outcome.replaces:
            self.counts[outcome.replaces] -= 1
            self.bytes -= outcome.size if outcome.replaces in _MOVED else 0
        if not outcome.status.is_good:
            self._problem(outcome.status, outcome.reason).add(outcome.item, outcome.weight)

    def _problem(self, status: Status, reason: str) -> FailureGroup:
        """Find the group of a reason; numbers in it, such as UIDs, are ignored."""
        key = status, kind_of(reason)
        if key not in self._problems and len(self._problems) >= MOST_REASONS:
            key, reason = (status, ""), "other reasons"
        return self._problems.setdefault(key, FailureGroup(status, reason))

    @property
    def problems(self) -> list[FailureGroup]:
        """The failures by reason; the reason of most items comes first."""
        found = [
            # Fewer may be left of those that were unknown at first.
            replace(one, count=min(one.count, self.counts[one.status]))
            for one in self._problems.values()
            if self.counts[one.status] > 0
        ]
        return sorted(found, key=lambda problem: -problem.count)
