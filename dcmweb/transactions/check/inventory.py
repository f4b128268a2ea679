"""What the two sides of a comparison have, in a temporary database.

Memory does not grow with the number of instances: SQLite keeps the database in a temporary file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock

from dcmweb.dicom.resources import Resource
from dcmweb.temporary import using_temporary_database

UNCOUNTED = -1  # of a study that is there, in a number that is not known
_CACHE = -8000  # KiB of the database that are held in memory
_LARGE = 10_000  # instances of a study
_TOGETHER = 500  # rows that are read at a time

_SCHEMA = """
CREATE TABLE study (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, here INTEGER, there INTEGER
);
CREATE TABLE instance (
    study INTEGER, series TEXT, uid TEXT, side INTEGER, path BLOB,
    alias TEXT NOT NULL, verdict TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (study, series, uid, side, path)
) WITHOUT ROWID;
CREATE TABLE lone (
    study INTEGER, uid TEXT, side INTEGER, series TEXT, PRIMARY KEY (study, uid, side, series)
) WITHOUT ROWID;
"""

# The instances of a study, each with where it is, and with the worst verdict on its files.
_INSTANCES = """
SELECT series, uid,
    CASE WHEN MIN(side) < MAX(side) THEN 'b' WHEN MAX(side) THEN 'h' ELSE 't' END
    || MAX(verdict) AS state
FROM instance WHERE study = :study {more} GROUP BY series, uid
"""


class Side(IntEnum):
    """The sides: the server at BASE_URL, and what it is compared with."""

    THERE = 0
    HERE = 1


@dataclass(frozen=True)
class Study:
    """A study with the number of its instances; None for a side that does not have it."""

    key: int
    uid: str
    here: int | None
    there: int | None

    @property
    def resource(self) -> Resource:
        """The study as a resource."""
        return Resource(self.uid)


@dataclass(frozen=True)
class Entry:
    """An instance in a file. `alias` is another UID that a server may know it by.

    `digest` is that of its contents, where these cannot be read later.
    """

    resource: Resource
    path: str = ""
    alias: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Group:
    """A series or an instance, and what is known of it.

    `state` is where it is (`b`oth, `h`ere, `t`here) and what a comparison of contents found; it is
    "" if the instances of a series do not share it.
    """

    series: str
    instance: str
    state: str
    count: int


class Inventory:
    """The studies and instances of both sides; can be used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_restricted = False
        with using_temporary_database():
            self._db = sqlite3.connect("", check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = OFF")
            self._db.execute(f"PRAGMA cache_size = {_CACHE}")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the database, once nobody is using it."""
        with self._lock:
            self._db.close()

    def restrict(self, studies: Iterable[str]) -> None:
        """Take up only these studies."""
        self._is_restricted = True
        self._many("INSERT OR IGNORE INTO study (uid) VALUES (?)", ((uid,) for uid in studies))

    def add_files(self, entries: Iterable[Entry]) -> None:
        """Take up instances that are here, in files."""
        entries = list(entries)
        if not self._is_restricted:
            uids = dict.fromkeys(one.resource.study for one in entries)
            self._many("INSERT OR IGNORE INTO study (uid) VALUES (?)", ((uid,) for uid in uids))
        rows = (
            (
                one.resource.series,
                one.resource.instance,
                one.path.encode("utf-8", "surrogateescape"),
                one.alias,
                one.digest,
                one.resource.study,
            )
            for one in entries
        )
        self._many(
            "INSERT OR REPLACE INTO instance (study, series, uid, side, path, alias, digest) "
            "SELECT id, ?, ?, 1, ?, ?, ? FROM study WHERE uid = ?",
            rows,
        )

    def count_files(self) -> int:
        """Count the instances of each study that are here; return how many there are in all."""
        counted = (
            "(SELECT COUNT(*) FROM (SELECT DISTINCT series, uid FROM instance WHERE study=id))"
        )
        self._run(f"UPDATE study SET here = NULLIF({counted}, 0)")
        return int(self._one("SELECT TOTAL(here) FROM study")[0])

    def add_studies(self, side: Side, studies: Iterable[tuple[str, int | None]]) -> None:
        """Take up studies that a server lists, with its counts."""
        column = side.name.lower()
        self._many(
            f"INSERT INTO study (uid, {column}) VALUES (?, ?) "
            f"ON CONFLICT (uid) DO UPDATE SET {column} = excluded.{column}",
            ((uid, UNCOUNTED if count is None else count) for uid, count in studies),
        )

    def add_listed(self, study: Study, side: Side, found: Iterable[Resource]) -> None:
        """Take up instances that a server lists."""
        self._many(
            "INSERT OR REPLACE INTO instance (study, series, uid, side, path, alias) "
            "VALUES (?, ?, ?, ?, x'', '')",
            ((study.key, one.series, one.instance, int(side)) for one in found),
        )

    def studies(self, condition: str = "1") -> Iterator[Study]:
        """Yield the studies that meet a condition, by their UIDs."""
        last = ""
        while True:
            rows = self._all(
                "SELECT id, uid, here, there FROM study "
                f"WHERE uid > ? AND ({condition}) ORDER BY uid LIMIT {_TOGETHER}",
                (last,),
            )
            for row in rows:
                yield Study(*row)
            if len(rows) < _TOGETHER:
                return
            last = rows[-1][1]

    def number(self, condition: str = "1") -> int:
        """Return how many studies meet a condition."""
        return int(self._one(f"SELECT COUNT(*) FROM study WHERE {condition}")[0])

    def expected(self) -> int:
        """Return how many instances there are about, by the counts of both sides."""
        larger = "MAX(1, COALESCE(here, 0), COALESCE(there, 0))"
        return int(self._one(f"SELECT TOTAL({larger}) FROM study")[0])

    def some(self, condition: str) -> list[Study]:
        """Return a small, a middle and a large one of the studies that meet a condition.

        A very large one would cost more than it shows.
        """
        count = self.number(f"({condition}) AND here <= {_LARGE}") or min(1, self.number(condition))
        places = sorted({0, count // 2, count - 1}) if count else []
        rows = [
            self._one(
                f"SELECT id, uid, here, there FROM study WHERE {condition} "
                f"ORDER BY here, uid LIMIT 1 OFFSET {place}"
            )
            for place in places
        ]
        return [Study(*row) for row in rows]

    def forget(self, study: Study, *sides: Side) -> None:
        """Drop the instances of a study that sides have listed."""
        for side in sides:
            self._run("DELETE FROM instance WHERE study = ? AND side = ?", (study.key, int(side)))

    # One study.

    def state(self, study: Study) -> tuple[str, int]:
        """Return what all instances of a study share, "" if they differ, and their number."""
        low, high, count = self._one(
            f"SELECT MIN(state), MAX(state), COUNT(*) FROM ({_instances()})",
            {"study": study.key},
        )
        return (low if low == high else "") or "", count

    def count(self, study: Study, where: str) -> int:
        """Return how many instances of a study are in a place: (b)oth, (h)ere or (t)here."""
        return int(
            self._one(
                f"SELECT COUNT(*) FROM ({_instances()}) WHERE state GLOB :glob",
                {"study": study.key, "glob": f"{where}*"},
            )[0]
        )

    def series(self, study: Study) -> Iterator[Group]:
        """Yield the series of a study."""
        last = ""
        while True:
            # Each page begins behind the last series of the one before.
            rows = self._all(
                "SELECT series, MIN(state), MAX(state), COUNT(*) "
                f"FROM ({_instances('AND series > :last')}) GROUP BY series ORDER BY series "
                f"LIMIT {_TOGETHER}",
                {"study": study.key, "last": last},
            )
            for series, low, high, count in rows:
                yield Group(series, "", low if low == high else "", count)
            if len(rows) < _TOGETHER:
                return
            last = rows[-1][0]

    def instances(self, study: Study, series: str) -> Iterator[Group]:
        """Yield the instances of a series."""
        last = ""
        while True:
            rows = self._all(
                f"{_instances('AND series = :series AND uid > :last')} "
                f"ORDER BY uid LIMIT {_TOGETHER}",
                {"study": study.key, "series": series, "last": last},
            )
            for _, uid, state in rows:
                yield Group(series, uid, state, 1)
            if len(rows) < _TOGETHER:
                return
            last = rows[-1][1]

    def path(self, study: Study, series: str, instance: str) -> str:
        """Return the file of an instance; of several, the one with the worst verdict."""
        row = self._first(
            "SELECT path FROM instance WHERE (study, series, uid, side) = (?, ?, ?, 1) "
            "ORDER BY verdict DESC, path LIMIT 1",
            (study.key, series, instance),
        )
        return bytes(row[0]).decode("utf-8", "surrogateescape") if row else ""

    def match_aliases(self, study: Study) -> None:
        """Give instances that are here the UID by which the server lists them.

        The UID in the file meta information can differ from that of the data set, and some servers
        go by it.
        """
        there = (
            "EXISTS (SELECT 1 FROM instance t WHERE t.study = instance.study "
            "AND t.series = instance.series AND t.side = 0 AND t.uid = {})"
        )
        self._run(
            "UPDATE OR IGNORE instance SET uid = alias, alias = uid "
            "WHERE study = ? AND side = 1 AND alias != '' "
            f"AND {there.format('instance.alias')} AND NOT {there.format('instance.uid')}",
            (study.key,),
        )

    def match_moved(self, study: Study, verdict: str) -> None:
        """Put instances that are here into the series that the server has them in.

        `verdict` is what is then said of them; {} stands for the series that they are in here.
        """
        key = (study.key,)
        self._run(
            "INSERT OR IGNORE INTO lone SELECT study, uid, MAX(side), series FROM instance "
            "WHERE study = ? GROUP BY series, uid HAVING MIN(side) = MAX(side)",
            key,
        )
        while rows := self._all(
            "SELECT h.series, h.uid, MIN(t.series) FROM lone h JOIN lone t "
            "ON (t.study, t.uid, t.side) = (h.study, h.uid, 0) "
            f"WHERE h.study = ? AND h.side = 1 GROUP BY h.uid, h.series LIMIT {_TOGETHER}",
            key,
        ):
            for series, uid, other in rows:
                self._run(
                    "UPDATE OR IGNORE instance SET series = ?, verdict = ? "
                    "WHERE (study, series, uid, side) = (?, ?, ?, 1)",
                    (other, verdict.format(series), study.key, series, uid),
                )
                self._run(
                    "DELETE FROM lone WHERE study = ? AND uid = ? AND series IN (?, ?)",
                    (study.key, uid, series, other),
                )
        self._run("DELETE FROM lone WHERE study = ?", key)

    # Contents.

    def files(self, study: Study, found: Resource) -> list[tuple[str, str]]:
        """Return path and digest of what is here of an instance."""
        rows = self._all(
            "SELECT path, digest FROM instance WHERE study = :study AND series = :series "
            "AND side = 1 AND (uid = :uid OR alias = :uid)",
            {"study": study.key, "series": found.series, "uid": found.instance},
        )
        return [(bytes(path).decode("utf-8", "surrogateescape"), digest) for path, digest in rows]

    def judge(self, study: Study, found: Resource, path: str, verdict: str) -> None:
        """Note the verdict on a file that is here."""
        self._run(
            "UPDATE instance SET verdict = MAX(verdict, :verdict) WHERE study = :study "
            "AND series = :series AND side = 1 AND (uid = :uid OR alias = :uid) AND path = :path",
            {
                "study": study.key,
                "series": found.series,
                "uid": found.instance,
                "path": path.encode("utf-8", "surrogateescape"),
                "verdict": verdict,
            },
        )

    def keep_digest(self, study: Study, found: Resource, digest: str) -> None:
        """Note the digest of an instance that the other server sent."""
        self._run(
            "UPDATE instance SET digest = ? WHERE (study, series, uid, side) = (?, ?, ?, 1)",
            (digest, study.key, found.series, found.instance),
        )

    def judge_rest(self, study: Study, verdict: str) -> None:
        """Note a verdict on all that are here without one."""
        self._run(
            "UPDATE instance SET verdict = ? WHERE study = ? AND side = 1 AND verdict = ''",
            (verdict, study.key),
        )

    # SQLite.

    def _many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._lock, using_temporary_database():
            self._db.executemany(statement, rows)

    def _run(self, statement: str, values: object = ()) -> None:
        with self._lock, using_temporary_database():
            self._db.execute(statement, values)  # type: ignore[arg-type]

    def _all(self, statement: str, values: object = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock, using_temporary_database():
            return self._db.execute(statement, values).fetchall()  # type: ignore[arg-type]

    def _first(self, statement: str, values: object = ()) -> tuple | None:  # type: ignore[type-arg]
        return next(iter(self._all(statement, values)), None)

    def _one(self, statement: str, values: object = ()) -> tuple:  # type: ignore[type-arg]
        return self._all(statement, values)[0]


def _instances(more: str = "") -> str:
    return _INSTANCES.format(more=more)
