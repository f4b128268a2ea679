"""The progress of a run, and the summary at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from dcmweb.counted import plural
from dcmweb.errors import ExitCode, ItemsFailed
from dcmweb.transfer.outcomes import FailureGroup, Status

if TYPE_CHECKING:
    from dcmweb.transfer.meter import Pause, Phase

NOT_BEGUN = "not begun"  # the end of a run that nobody has begun, or whose records failed before it


def _failed(counts: Mapping[Status, int]) -> int:
    return sum(count for status, count in counts.items() if not status.is_good)


class Progress(NamedTuple):
    """The progress of a run.

    `counts` are the items so far, by status. `bytes` have been moved, those of items under way
    included; `passed_over` are the bytes of items that did not need to be moved. `expected` is how
    many items there will be, and `expected_bytes` how large they are, None while that is not known;
    `is_counting` while it is being found out. `done_bytes` are the bytes of items that have an
    outcome, whatever it is, and of those under way. `workers` is the highest number of requests at
    a time so far. Times are in seconds.

    `phase` counts what is not an item, such as instances that are verified after all was stored; it
    is None while items are done. `later` names the phase that is still to come, "" if none is.
    `pause` is what requests wait for now, and `idle` how long nothing has moved.
    """

    counts: Mapping[Status, int]
    bytes: int = 0
    passed_over: int = 0
    expected: int | None = None
    expected_bytes: int | None = None
    done_bytes: int = 0
    is_counting: bool = False
    retries: int = 0
    workers: int = 1
    seconds: float = 0.0
    phase: Phase | None = None
    later: str = ""
    pause: Pause | None = None
    idle: float = 0.0

    @property
    def items(self) -> int:
        """The number of items that have an outcome."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """The number of items that failed, or whose outcome is unknown."""
        return _failed(self.counts)


class Summary(NamedTuple):
    """The result of a run: `purpose` is the status that its items should have.

    `bytes` were moved in `seconds`, with at most `workers` requests at a time and `retries`.
    `failures` groups the items that failed by reason, with a few of them by name; the groups with
    most items come first. `end` is "" for a run that came to its end, otherwise how it ended:
    "interrupted", "stopped early" or "not begun".
    """

    purpose: Status
    counts: Mapping[Status, int]
    bytes: int
    seconds: float
    workers: int
    retries: int
    failures: tuple[FailureGroup, ...] = ()
    end: str = ""

    @property
    def items(self) -> int:
        """The number of items that have an outcome."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """The number of items that failed, or whose outcome is unknown."""
        return _failed(self.counts)

    @property
    def is_begun(self) -> bool:
        """Whether anybody has begun the run."""
        return self.end != NOT_BEGUN

    @property
    def is_good(self) -> bool:
        """Whether the run came to its end, and every item succeeded."""
        return not self.end and not self.failed

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command line for a run that came to its end."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.OK

    def check(self) -> Summary:
        """Return the summary itself. Raises ItemsFailed unless all is well."""
        if self.is_good:
            return self
        first = self.failures[0] if self.failures else None
        why = f": {first.reason}" if first and first.reason else ""
        what = "are not equal" if self.purpose is Status.EQUAL else "failed"
        raise ItemsFailed(
            f"{self.failed:,} of {plural(self.items, 'item')} {what}{why}", self.end, summary=self
        )
