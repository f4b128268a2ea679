"""Adds up manifests: those of one run after the other, or of the parts of one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dcmweb.errors import ExitCode, UsageError
from dcmweb.library.known_items import STATUSES, KnownItems, Row, as_text, row_of
from dcmweb.library.run_history import NOT_ENDED, RunHistory, Timeline, Times
from dcmweb.transfer.manifest import COMPLETE, RESOLVED, read_events
from dcmweb.transfer.outcomes import Event, FailureGroup, Status
from dcmweb.transfer.shard import Shard

EXAMPLES = 3
_MOST_GROUPS = 20
_END = "end"
_MOVED = (Status.STORED, Status.RETRIEVED)


@dataclass(frozen=True, kw_only=True)
class ManifestSummary:
    """What manifests say together of one server and command.

    `counts` are items by their last status, `bytes` those of the items. `missing` are parts, as
    I/N, that have no manifest; `unfinished` are manifests whose last run did not come to its end,
    with how it ended. `failures` groups what failed by reason, the largest group first.
    """

    base_url: str
    command: str
    counts: dict[Status, int] = field(default_factory=dict)
    bytes: int = 0
    missing: tuple[str, ...] = ()
    unfinished: dict[str, str] = field(default_factory=dict)
    failures: tuple[FailureGroup, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether every part came to its end, and no item failed."""
        failed = any(n for status, n in self.counts.items() if not status.is_good)
        return not (failed or self.missing or self.unfinished)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the whole."""
        return ExitCode.OK if self.is_good else ExitCode.SOME_FAILED


@dataclass
class Whole:
    """What belongs together: the manifests of one server and command."""

    base_url: str
    command: str
    shards: dict[str, str] = field(default_factory=dict)  # the manifest of each
    unfinished: dict[str, str] = field(default_factory=dict)
    history: RunHistory = field(default_factory=RunHistory)
    timeline: Timeline = field(default_factory=Timeline)
    key: str = ""  # what it is known by

    def __post_init__(self) -> None:
        self.key = as_text(f"{self.base_url}\n{self.command}")


class Manifests:
    """Manifests that were read; their lines are in a temporary database, not in memory."""

    def __init__(self, paths: Iterable[str] = (), *, with_history: bool = False) -> None:
        """Read manifests. Raises UsageError for what is not one, LocalError if it is unreadable.

        `with_history` reads times as well.
        """
        self.known = KnownItems()
        self._wholes: dict[tuple[str, str], Whole] = {}
        self._times = Times()
        self._with_history = with_history
        for path in paths:
            self._read(path)

    def close(self) -> None:
        """Give the database up."""
        self.known.close()

    def _read(self, path: str) -> None:
        events = read_events(path)
        header = next(events, None)
        if header is None:
            raise UsageError(f"{path} is not a manifest: it is empty", "choose another file")
        whole = self.begin(header, path)

        def rows() -> Iterator[Row]:
            for number, event in enumerate(events, start=2):
                if row := self.row(whole, event, path, number):
                    yield row

        self.known.add(rows())
        whole.history.end_of_file()

    def begin(self, header: Event, path: str) -> Whole:
        """Begin a manifest. Raises UsageError if it does not go with those before it."""
        run = str(header.get("base_url")), _command(header)
        whole = self._wholes.setdefault(run, Whole(*run))
        shard = str(header.get("shard") or "")
        if shard and whole.shards.get(shard, path) != path:
            raise UsageError(
                f"{path} and {whole.shards[shard]} are both of shard {shard}",
                "leave one of them out",
            )
        whole.shards[shard] = path
        whole.unfinished[path] = NOT_ENDED
        return whole

    def row(self, whole: Whole, event: Event, path: str, line: int) -> Row | None:
        """Take an event; return the row for its item, if it is about one."""
        kind = event.get("type")
        status = STATUSES.get(str(kind))
        if status is None and kind not in (_END, RESOLVED):
            return None
        if self._with_history:
            self._note_time(whole, event, path, status)
        if kind != _END:
            whole.unfinished[path] = NOT_ENDED
            return row_of(whole.key, event, as_text(path), line)
        if event.get("end") == COMPLETE:
            whole.unfinished.pop(path, None)
        else:
            whole.unfinished[path] = str(event.get("end"))
        return None

    def _note_time(self, whole: Whole, event: Event, path: str, status: Status | None) -> None:
        at = self._times.seconds(event.get("time"))
        whole.history.take(event, path, at, self._times)
        if status and status.is_good and at is not None:
            size = event.get("size") if status in _MOVED else 0
            whole.timeline.add(at, size if isinstance(size, int) else 0)

    @property
    def wholes(self) -> list[Whole]:
        """What belongs together, for each server and command."""
        return list(self._wholes.values())

    def summaries(self) -> list[ManifestSummary]:
        """Add up what was read, for each server and command."""
        return [self.summary(whole) for whole in self.wholes]

    def failed(self) -> Iterator[str]:
        """Yield the items that failed, or are unknown."""
        return self.known.failed()

    def summary(self, whole: Whole) -> ManifestSummary:
        """Add up what belongs together."""
        totals = list(self.known.totals(whole.key))
        return ManifestSummary(
            base_url=whole.base_url,
            command=whole.command,
            counts={status: count for status, count, _ in totals},
            bytes=sum(size for _, _, size in totals),
            missing=tuple(_missing(whole.shards)),
            unfinished=whole.unfinished,
            failures=tuple(self._failures(whole)),
        )

    def _failures(self, whole: Whole) -> Iterator[FailureGroup]:
        for group in self.known.groups(whole.key, _MOST_GROUPS, failed_only=True):
            examples = [one.item for one in self.known.items(whole.key, group, EXAMPLES)]
            yield FailureGroup(
                group.status, group.reason, group.count, examples, outcomes=group.count
            )


def _command(header: dict[str, Any]) -> str:
    """Return what a manifest is of, with the server that was copied to."""
    command, destination = str(header.get("command")), header.get("destination")
    return f"{command} to {destination}" if destination else command


def _missing(shards: dict[str, str]) -> Iterator[str]:
    """Yield the parts that are not there. Raises UsageError for parts that do not go together."""
    known = [shard for text in shards if (shard := Shard.parse(text))]
    counts = {shard.count for shard in known}
    if len(counts) > 1 or (known and "" in shards):
        first, *others = shards.values()
        raise UsageError(
            f"{first} and {others[0]} are not parts of the same whole",
            "add up manifests of the same number of shards",
        )
    there = {shard.index for shard in known}
    for count in counts:
        yield from (str(Shard(index, count)) for index in range(1, count + 1) if index not in there)
