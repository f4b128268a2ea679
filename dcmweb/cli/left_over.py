"""What an interrupted run leaves over: few items are named one by one, many are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcmweb.counted import plural

if TYPE_CHECKING:
    from dcmweb.transfer.outcomes import Outcome
    from dcmweb.transfer.summary import Progress

FEW = 10  # items that have a line each


class LeftOver:
    """Items that were in a batch when the run ended. Records name each of them."""

    def __init__(self) -> None:
        self._first: list[Outcome] = []
        self._count = 0

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of one of them."""
        self._count += 1
        if self._count <= FEW:
            self._first.append(outcome)

    @property
    def few(self) -> list[Outcome]:
        """All of them if they are few, otherwise none."""
        return self._first if self._count <= FEW else []

    def words(self, progress: Progress, noun: str) -> str:
        """Say how much of a run is left, to be put after what ended it; "" if that is unknown."""
        done = progress.items - progress.failed
        if progress.expected is not None and progress.expected > done:
            return f" with {progress.expected - done:,} of {plural(progress.expected, noun)} left"
        return f" with {plural(self._count, noun)} under way" if self._count else ""


def way_on(options: Mapping[str, Any]) -> str:
    """Say how to go on with a command that was interrupted, by the options it has and was given."""
    if options.get("dry_run"):
        return ""
    if manifest := options.get("manifest"):
        return f"run the same command again to go on: {manifest} knows what is done"
    if options.get("skip_existing"):
        return "run the same command again to go on: it skips the files that are there"
    if "skip_existing" in options:
        return "run the same command with --skip-existing to go on"
    if "manifest" in options:
        return "run it with --manifest FILE, and it can go on where it was stopped"
    return ""
