"""The index of the files, in SQLite, so that searches need not read them.

It has one row for each file of the folder, including files that are not served, so that the next
start need not read them again. It can be removed: it is rebuilt from the files, except for the
deletions of files that the archive did not store.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from dcmweb.archive.storage.attributes import INDEXED
from dcmweb.archive.storage.header import Header
from dcmweb.archive.storage.matching import How, Matches, matcher
from dcmweb.dicom.resources import Resource

_VERSION = 1  # of the schema: an index of another version is rebuilt
SERVED, DELETED, DUPLICATE = (
    "",
    "deleted",
    "duplicate",
)  # otherwise, the note is the reason why it is not served

_COLUMNS = ", ".join(f'"{keyword}" TEXT' for keyword in INDEXED)
_SCHEMA = f"""
CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  path BLOB NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  own INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '',
  transfer_syntax TEXT,
  {_COLUMNS}
);
CREATE UNIQUE INDEX served ON files (StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)
  WHERE note = '';
CREATE INDEX copies ON files (SOPInstanceUID);
CREATE INDEX series ON files (SeriesInstanceUID);
CREATE VIEW instances AS SELECT * FROM files WHERE note = '';
PRAGMA user_version = {_VERSION};
"""
_FILES = ("", "-wal", "-shm")  # what the names of the files of an index end with
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Entry:
    """A file of the folder; its path is relative to that."""

    id: int
    path: str
    size: int
    mtime_ns: int
    own: bool
    note: str
    transfer_syntax: str
    values: dict[str, str]

    @property
    def resource(self) -> Resource:
        """The instance in it."""
        study, series, instance = (self.values[keyword] for keyword in _UIDS)
        return Resource(study, series, instance)


class Index:
    """The index in a file. Every thread reads on its own; one writes at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.RLock()
        self._connections: list[sqlite3.Connection] = []
        if not self._is_usable():
            for suffix in _FILES:
                with suppress(FileNotFoundError):
                    os.unlink(path + suffix)
            self._local = threading.local()
            # An index has names of patients. SQLite gives its other files the same mode.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            self.connection().executescript(_SCHEMA)

    def _is_usable(self) -> bool:
        """Return True if there is an undamaged index of this version, and nothing else in it."""
        if any(os.path.islink(self._path + suffix) for suffix in _FILES):
            return False  # a link that came with the folder may lead anywhere
        if not os.path.exists(self._path):
            return False
        try:
            connection = self.connection()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            is_ours = version == _VERSION and _definitions(connection) == _own_definitions()
            (check,) = connection.execute("PRAGMA quick_check").fetchone() if is_ours else ("",)
        except sqlite3.DatabaseError:
            return False
        return bool(check == "ok")

    def connection(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._connections.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.row_factory = sqlite3.Row
            connection.create_function("fits", 4, _fits, deterministic=True)
            self._local.connection = connection
        return connection

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._connections:
            connection.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads from changing the index, and the files with it."""
        with self._lock:
            yield

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Change the index in one durable transaction."""
        with self._lock:
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def find(self, resource: Resource) -> Entry | None:
        """Find the file that an instance is served from."""
        return next(self.entries(resource), None)

    def entries(self, resource: Resource) -> Iterator[Entry]:
        """Yield the served files of a resource, in the order in which they were added."""
        where, values = below(resource)
        rows = self.connection().execute(
            f"SELECT * FROM instances WHERE {where} ORDER BY id",
            values,
        )
        yield from map(entry, rows)

    def file(self, path: str) -> Entry | None:
        """Find the entry of a file."""
        query = "SELECT * FROM files WHERE path = ?"
        row = self.connection().execute(query, [os.fsencode(path)]).fetchone()
        return entry(row) if row else None

    def add(self, path: str, header: Header, *, own: bool = False) -> str:
        """Add an instance, within `writing`; returns its note: SERVED or DUPLICATE."""
        resource = header.identity.resource
        note = DUPLICATE if self.find(resource) else SERVED
        names = ["path", "size", "mtime_ns", "own", "note", "transfer_syntax", *header.values]
        values = [
            os.fsencode(path),
            header.size,
            header.mtime_ns,
            own,
            note,
            header.identity.transfer_syntax,
            *header.values.values(),
        ]
        self._insert(names, values)
        return note

    def add_other(self, path: str, size: int, mtime_ns: int, note: str) -> None:
        """Add a file that is not served, with the reason, within `writing`."""
        self._insert(
            ["path", "size", "mtime_ns", "note"], [os.fsencode(path), size, mtime_ns, note]
        )

    def _insert(self, names: Sequence[str], values: Sequence[object]) -> None:
        columns = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(values))
        self.connection().execute(
            f"INSERT OR REPLACE INTO files ({columns}) VALUES ({marks})",
            values,
        )

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, within `writing`; a duplicate takes the place of a removed file."""
        connection = self.connection()
        for path in paths:
            gone = self.file(path)
            connection.execute("DELETE FROM files WHERE path = ?", [os.fsencode(path)])
            if gone and gone.note == SERVED:
                self._promote(gone.resource)

    def _promote(self, resource: Resource) -> None:
        where, values = below(resource)
        self.connection().execute(
            "UPDATE files SET note = '' WHERE id = "
            f"(SELECT MIN(id) FROM files WHERE note = '{DUPLICATE}' AND {where})",
            values,
        )

    def mark_deleted(self, resource: Resource) -> list[Entry]:
        """Stop serving a resource, within `writing`; returns its files."""
        where, values = below(resource)
        where += f" AND note IN ('{SERVED}', '{DUPLICATE}')"
        connection = self.connection()
        gone = connection.execute(f"SELECT * FROM files WHERE {where}", values).fetchall()
        connection.execute(f"UPDATE files SET note = '{DELETED}' WHERE {where}", values)
        return [entry(row) for row in gone]

    def forget_deleted(self, paths: Iterable[str]) -> None:
        """Remove the rows of deleted files, within `locked`."""
        query = "DELETE FROM files WHERE path = ?"
        with self.writing() as connection:
            connection.executemany(query, ([os.fsencode(path)] for path in paths))


def _definitions(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """List what is defined in a database: triggers and views could do anything."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    return [tuple(row) for row in rows]


@functools.lru_cache(maxsize=1)
def _own_definitions() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return _definitions(connection)


def below(resource: Resource) -> tuple[str, list[str]]:
    """Make the SQL condition for the instances of a resource."""
    uids = zip(_UIDS, (resource.study, resource.series, resource.instance), strict=True)
    given = [(name, uid) for name, uid in uids if uid]
    return " AND ".join(f"{name} = ?" for name, _ in given) or "1", [uid for _, uid in given]


def entry(row: sqlite3.Row) -> Entry:
    """Make an entry from a row of the table."""
    return Entry(
        row["id"],
        os.fsdecode(row["path"]),
        row["size"],
        row["mtime_ns"],
        bool(row["own"]),
        row["note"],
        row["transfer_syntax"] or "",
        {keyword: row[keyword] for keyword in INDEXED if row[keyword] is not None},
    )


def _fits(value: str | None, vr: str, wanted: str, how: int) -> bool:
    return _matcher(vr, wanted, how)(value)


@functools.lru_cache(maxsize=256)
def _matcher(vr: str, wanted: str, how: int) -> Matches:
    return matcher(vr, wanted, How(how))
