"""What manifests say of each item, in a temporary database: memory does not grow with them."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dcmweb.temporary import using_temporary_database
from dcmweb.transfer.manifest import RESOLVED
from dcmweb.transfer.outcomes import Event, Status, kind_of

STATUSES = {status.name.lower(): status for status in Status}
_LONGEST_REASON = 2000
_UID = re.compile(r"[0-9.]{1,64}")
_LEVELS = (("studies", "study"), ("series", "series"), ("instances", "instance"))
_COLUMNS = "run, item, status, size, reason, kind, good, file, line, resource"
# The last line of a manifest counts; what one says was done is done, whatever another says of it.
_INSERT = (
    f"INSERT INTO known ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET status = excluded.status, size = excluded.size, reason = excluded.reason,"
    " kind = excluded.kind, good = excluded.good, file = excluded.file, line = excluded.line,"
    " resource = excluded.resource WHERE known.file = excluded.file OR NOT known.good"
)

Row = tuple[str, str, str, int, str, str, bool, str, int, str]


@dataclass(frozen=True)
class Group:
    """Items with the same status and the same reason, numbers in it aside."""

    status: Status
    reason: str  # of one of them
    kind: str
    count: int


@dataclass(frozen=True)
class KnownItem:
    """An item, and where it is from: `line` of the manifest `file`.

    `resource` is the path of the instance, as far as its UIDs are known.
    """

    item: str
    resource: str
    file: str
    line: int


class KnownItems:
    """The items of runs; each counts once, with the last that is said of it."""

    def __init__(self) -> None:
        self._known = sqlite3.connect("")
        self._known.execute("PRAGMA journal_mode = OFF")
        self._known.execute(
            f"CREATE TABLE known ({_COLUMNS}, PRIMARY KEY (run, item)) WITHOUT ROWID"
        )
        self._is_indexed = False

    def close(self) -> None:
        """Give the database up."""
        self._known.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Take up items. Raises LocalError if there is no room for them."""
        with using_temporary_database(), self._known:
            self._known.executemany(_INSERT, rows)

    def totals(self, run: str) -> Iterator[tuple[Status, int, int]]:
        """Yield each status, in their order, with its number of items and of bytes.

        What is resolved has no status, and does not count.
        """
        query = "SELECT status, count(*), sum(size) FROM known WHERE run = ? GROUP BY status"
        found = {name: others for name, *others in self._known.execute(query, [run])}
        for name in filter(found.__contains__, STATUSES):
            count, size = found[name]
            yield STATUSES[name], count, size

    def groups(self, run: str, most: int, *, failed_only: bool) -> list[Group]:
        """Return groups of what failed, or of all that there is a reason for; the largest first."""
        which = "NOT good" if failed_only else "(kind != '' OR NOT good)"
        query = (
            "SELECT status, min(reason), kind, count(*) FROM known WHERE run = ? AND "
            f"{which} GROUP BY status, kind ORDER BY good, count(*) DESC LIMIT ?"
        )
        found = self._known.execute(query, [run, most])
        return [Group(STATUSES[status], *others) for status, *others in found]

    def number_with_reason(self, run: str) -> int:
        """Return how many items are in all groups together."""
        query = "SELECT count(*) FROM known WHERE run = ? AND (kind != '' OR NOT good)"
        return int(self._known.execute(query, [run]).fetchone()[0])

    def items(self, run: str, group: Group, most: int) -> Iterator[KnownItem]:
        """Yield some items of a group, by their names."""
        if not self._is_indexed:
            self._known.execute("CREATE INDEX reasons ON known (run, status, kind)")
            self._is_indexed = True
        query = (
            "SELECT item, resource, file, line FROM known"
            " WHERE run = ? AND status = ? AND kind = ? ORDER BY item LIMIT ?"
        )
        status = group.status.name.lower()
        for item, *others in self._known.execute(query, [run, status, group.kind, most]):
            yield KnownItem(str(json.loads(item)), *others)

    def failed(self) -> Iterator[str]:
        """Yield the items that failed, or are unknown."""
        query = "SELECT item FROM known WHERE NOT good ORDER BY item"
        for (item,) in self._known.execute(query):
            yield json.loads(item)


def row_of(run: str, event: Event, file: str, line: int) -> Row:
    """Make the row of an item from what a manifest says of it; `run` and `file` as SQLite can."""
    size, item = event.get("size"), event.get("item")
    status = str(event["type"])
    is_good = status == RESOLVED or STATUSES[status].is_good
    reason = kind = resource = ""
    if given := event.get("reason"):
        reason = as_text(without_name(str(given), str(item))[:_LONGEST_REASON])
        kind = kind_of(reason)
    if reason or not is_good:  # others are only counted
        resource = _resource(event)
    moved = size if isinstance(size, int) else 0
    return run, json.dumps(item), status, moved, reason, kind, is_good, file, line, resource


def as_text(text: str) -> str:
    """Escape what SQLite cannot hold: bytes of names that are not UTF-8, halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def without_name(reason: str, item: str) -> str:
    """Take the name of a file out of a reason, however much of its path is there.

    The reason is then the same for all files, and says nothing that a file name would.
    """
    parts = item.replace(os.sep, "/").split("/")
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if len(name) > 2 and name in reason:
            return re.sub(rf"(?:\./)?{re.escape(name)}", "the file", reason)
    return reason


def _resource(event: Event) -> str:
    """Return the path of the instance that an item is, as far as its UIDs are known."""
    path = []
    for name, key in _LEVELS:
        uid = event.get(key)
        if not isinstance(uid, str) or not _UID.fullmatch(uid):
            break
        path.append(f"{name}/{uid}")
    return "/".join(path)
