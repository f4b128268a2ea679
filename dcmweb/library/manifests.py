"""Adds up manifests: those of one run after the other, or of the parts of one run."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dcmweb.errors import ExitCode, UsageError
from dcmweb.transfer.manifest import read_events
from dcmweb.transfer.outcomes import FailureGroup, Status
from dcmweb.transfer.shard import Shard

EXAMPLES = 3
_STATUSES = {status.name.lower(): status for status in Status}
_COMPLETE = "complete"
# The last line of a manifest counts; what one says was done is done, whatever another says of it.
_INSERT = (
    "INSERT INTO known VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " status = excluded.status, size = excluded.size, reason = excluded.reason,"
    " good = excluded.good, file = excluded.file"
    " WHERE known.file = excluded.file OR NOT known.good"
)


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


class Manifests:
    """Manifests that were read; their lines are in a temporary database, not in memory."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Read manifests. Raises UsageError for what is not one, LocalError if it is unreadable."""
        self._known = sqlite3.connect("")
        self._known.execute("PRAGMA journal_mode = OFF")
        self._known.execute(
            "CREATE TABLE known (run, item, status, size, reason, good, file,"
            " PRIMARY KEY (run, item))"
            " WITHOUT ROWID"
        )
        self._shards: dict[tuple[str, str], dict[str, str]] = {}
        self._unfinished: dict[tuple[str, str], dict[str, str]] = {}
        for path in paths:
            self._read(path)

    def close(self) -> None:
        """Give the database up."""
        self._known.close()

    def _read(self, path: str) -> None:
        events = read_events(path)
        header = next(events, None)
        if header is None:
            raise UsageError(f"{path} is not a manifest: it is empty", "choose another file")
        run = str(header.get("base_url")), _command(header)
        shards = self._shards.setdefault(run, {})
        shard = str(header.get("shard") or "")
        if shard and shards.get(shard, path) != path:
            raise UsageError(
                f"{path} and {shards[shard]} are both of shard {shard}", "leave one of them out"
            )
        shards[shard] = path
        ended = "it has not ended"

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal ended
            for event in events:
                if event.get("type") == "end":
                    ended = str(event.get("end"))
                elif str(event.get("type")) in _STATUSES:
                    ended = "it has not ended"
                    yield (*_row(run, event), path)

        with self._known:
            self._known.executemany(_INSERT, rows())
        if ended != _COMPLETE:
            self._unfinished.setdefault(run, {})[path] = ended

    def summaries(self) -> list[ManifestSummary]:
        """Add up what was read, for each server and command."""
        return [self._summary(run) for run in self._shards]

    def failed(self) -> Iterator[str]:
        """Yield the items that failed, or are unknown."""
        for item, status in self._known.execute("SELECT item, status FROM known ORDER BY item"):
            if not _STATUSES[status].is_good:
                yield json.loads(item)

    def _summary(self, run: tuple[str, str]) -> ManifestSummary:
        counts: Counter[Status] = Counter()
        size = 0
        query = "SELECT status, count(*), sum(size) FROM known WHERE run = ? GROUP BY status"
        for status, count, total in self._known.execute(query, [_run(run)]):
            counts[_STATUSES[status]] = count
            size += total
        return ManifestSummary(
            base_url=run[0],
            command=run[1],
            counts=dict(counts),
            bytes=size,
            missing=tuple(_missing(self._shards[run])),
            unfinished=self._unfinished.get(run, {}),
            failures=tuple(self._failures(run)),
        )

    def _failures(self, run: tuple[str, str]) -> Iterator[FailureGroup]:
        query = (
            "SELECT status, reason, count(*) FROM known WHERE run = ? AND NOT good"
            " GROUP BY status, reason ORDER BY count(*) DESC LIMIT 20"
        )
        groups = self._known.execute(query, [_run(run)]).fetchall()
        for status, reason, count in groups:
            examples = self._known.execute(
                "SELECT item FROM known WHERE run = ? AND status = ? AND reason = ? LIMIT ?",
                [_run(run), status, reason, EXAMPLES],
            )
            named = [str(json.loads(item)) for (item,) in examples]
            yield FailureGroup(_STATUSES[status], reason, count, named, outcomes=count)


def _command(header: dict[str, Any]) -> str:
    """Return what a manifest is of, with the server that was copied to."""
    command, destination = str(header.get("command")), header.get("destination")
    return f"{command} to {destination}" if destination else command


def _run(run: tuple[str, str]) -> str:
    return "\n".join(run)


def _row(run: tuple[str, str], event: dict[str, Any]) -> tuple[Any, ...]:
    size = event.get("size")
    return (
        _run(run),
        json.dumps(event.get("item")),
        str(event["type"]),
        size if isinstance(size, int) else 0,
        str(event.get("reason") or ""),
        _STATUSES[event["type"]].is_good,
    )


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
