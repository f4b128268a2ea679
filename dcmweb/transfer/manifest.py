"""The manifest: an append-only record of outcomes, from which a later run continues.

Each line is a JSON object: first a header that binds the file to a server and a command, then an
event for each item (see `as_event`), and one at the end of each run, each with its time and the id
of its run. If an item has several lines, the last one counts. Manifests of before there were times
and ids, in which all numbers are numbers, are read as well.

A study that fails as a whole is an item, though a later run that gets it has only items for its
instances. So the later run adds an event that says that the failure is `resolved`.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from json.encoder import encode_basestring_ascii as quoted
from threading import Lock
from typing import BinaryIO

from dcmweb.errors import LocalError, UsageError
from dcmweb.locks import Locking, try_lock
from dcmweb.temporary import using_temporary_database
from dcmweb.transfer.manifest_lines import Line, Row, read_line, read_lines, write_line
from dcmweb.transfer.marks import Marks
from dcmweb.transfer.outcomes import ANY_SIZE, Event, Outcome, Status

VERSION = 1
_HEADER = "manifest"
_LONGEST_HEADER = 64 * 1024
_LONGEST_LINE = 1024 * 1024  # bytes; paths are far shorter
_END = "end"
RESOLVED = "resolved"
COMPLETE = "complete"
_DONE = 1  # in place of the kind of what failed in an earlier run, and is now done with others
_BLOCK = 256 * 1024  # bytes of lines that are read together
_INSERT = "INSERT OR REPLACE INTO known VALUES (?2, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER), ?1)"
_NUMBER = re.compile(r"-?[0-9]{1,19}")
_GOOD = frozenset(status.name.lower() for status in Status if status.is_final)
_BAD = frozenset(status.name.lower() for status in Status if not status.is_good)
_IS_BAD = f"kind IN ({', '.join(map(repr, sorted(_BAD)))})"
_NEWER = f"UPDATE known SET kind = '' WHERE item = ? AND (kind = ? OR {_IS_BAD})"  # noqa: S608
_FAILED_AT_OR_BELOW = (
    f"SELECT item FROM known WHERE {_IS_BAD}"  # noqa: S608 - our own words
    " AND (item IN (?, ?) OR (item >= ? AND item < ?))"
)
# What a failure can be of that was met at or below a resource, without the name of an instance.
_WHOLE = re.compile(r"(/?series/[^/]+)?(/?\?)?")


class Manifest:
    """A manifest that is open for a run.

    Its lines are kept in a temporary database, so that memory does not grow with their number.
    """

    def __init__(  # noqa: PLR0913 - what it is bound to, each thing by its name
        self,
        path: str,
        base_url: str,
        command: str,
        name: Callable[[str], str] = str,
        *,
        shard: str = "",
        destination: str = "",
        writes: bool = True,
        run_id: str = "",
    ) -> None:
        """Open the file and read it; create it if it does not exist and the run `writes` to it.

        `name` makes names of items independent of the folder in which a run is started. `run_id`
        is the id of the run; without one, the run gets one here.
        Raises UsageError if it belongs to another server or command, LocalError if it is unusable.
        """
        self._path = path
        self._name = name
        self._writes = writes
        self._marks = Marks(run_id)
        self._began = self._marks.now()
        self._binding: Event = {
            "type": _HEADER,
            "version": VERSION,
            "base_url": base_url,
            "command": command,
            **({"destination": destination} if destination else {}),
            **({"shard": shard} if shard else {}),
        }
        self._lock = Lock()
        self.knows_any = False  # of the items of earlier runs
        self._knows_bad = False
        self._known = sqlite3.connect("", check_same_thread=False)
        self._known.execute("PRAGMA journal_mode = OFF")
        self._known.execute(
            "CREATE TABLE known (item TEXT PRIMARY KEY, size, mtime_ns, kind) WITHOUT ROWID"
        )
        with ExitStack() as unless_open:
            unless_open.callback(self._known.close)
            try:
                self._file = self._open()
            except OSError as error:
                raise LocalError(
                    f"the manifest {path} cannot be used: {error.strerror}", path=path
                ) from error
            unless_open.pop_all()

    def _open(self) -> BinaryIO:
        if os.path.exists(self._path) and not os.path.isfile(self._path):  # such as a device
            raise UsageError(f"{self._path} is not a manifest", "choose another file")
        if not self._writes and not os.path.exists(self._path):
            return open(os.devnull, "rb")
        file = open(self._path, "a+b" if self._writes else "rb")  # noqa: SIM115 - closed by close
        try:
            if self._writes:
                self._lock_for_this_run(file)
            self._load(file)
        except BaseException:
            file.close()
            raise
        return file

    def _lock_for_this_run(self, file: BinaryIO) -> None:
        match try_lock(file):
            case Locking.TAKEN:
                raise LocalError(
                    f"the manifest {self._path} is in use by another run", path=self._path
                )
            case Locking.UNSUPPORTED:
                raise LocalError(
                    f"the manifest {self._path} is on a file system without locks",
                    "put it on another one",
                    path=self._path,
                )

    def _load(self, file: BinaryIO) -> None:
        """Read the lines, and cut off a last line that is incomplete."""
        file.seek(0)
        header = next(_whole_lines(file), None)
        if header is None:
            file.seek(0)
            if not _line(self._binding).startswith(file.read(len(_line(self._binding)))):
                raise UsageError(f"{self._path} is not a manifest", "choose another file")
            if self._writes:
                file.truncate(0)
                _write(file, self._binding)
            return
        self._check_binding(header[1])
        end_of_whole = header[0]
        number = 2
        file.seek(end_of_whole)
        with self._known:
            while lines := _lines_together(file, number):
                rows = read_lines(lines) or _rows(lines, number, file.name)
                self._known.executemany(_INSERT, rows)
                self.knows_any = self.knows_any or bool(rows)
                self._knows_bad = self._knows_bad or not _BAD.isdisjoint([row[0] for row in rows])
                number += lines.count(b"\n")
                end_of_whole += len(lines)
        if self._writes:
            file.truncate(end_of_whole)

    def _check_binding(self, header: Event) -> None:
        """Raise UsageError for a manifest of something else."""
        if header.get("type") != _HEADER:
            raise UsageError(f"{self._path} is not a manifest", "choose another file")
        for name in ("version", "base_url", "command", "destination", "shard"):
            if header.get(name) != self._binding.get(name):
                raise UsageError(
                    f"the manifest {self._path} is of {name} {header.get(name, 'none')}",
                    "use one manifest for each server, command and shard",
                )

    def is_done(self, item: str, size: int, mtime_ns: int) -> bool:
        """Return True if an item was done before and has not changed since.

        A size of ANY_SIZE is not compared, as that of an instance that a server lists.
        """
        key = _key(self._name(item))
        with self._lock:
            row = self._known.execute(
                "SELECT kind, size, mtime_ns FROM known WHERE item = ?", (key,)
            ).fetchone()
        if row is None or row[0] not in _GOOD:
            return False
        return row[2] == mtime_ns and size in (row[1], ANY_SIZE)

    def record(self, *outcomes: Outcome) -> None:
        """Append the outcomes of items. Raises LocalError if they cannot be written."""
        news = [one for one in outcomes if one.status is not Status.DONE_BEFORE]
        if not self._writes or not news:
            return
        items = [self._name(one.item) for one in news]
        marks = self._marks.members()
        lines = [write_line(one, item, marks) for one, item in zip(news, items, strict=True)]
        with self._writing():
            self._file.write("".join(lines).encode("ascii"))
            self._file.flush()
        if self._knows_bad:  # these items have newer lines than those of an earlier run
            with self._lock:
                self._known.executemany(_NEWER, [(_key(item), _DONE) for item in items])

    def was_done(self, item: str) -> None:
        """Note that a target, or a resource below one, was done as a whole, as far as that goes.

        What an earlier run said of its failure is then no longer true, unless this run says it
        again. What failed there by the name of an instance has an outcome of its own.
        """
        with self._lock:
            if item:
                first, last = _key(f"{item}/")[:-1], _key(f"{item}0")[:-1]  # 0 comes after /
            else:  # the whole store, which may no longer have what failed
                first = last = _key("?")
            found = self._known.execute(_FAILED_AT_OR_BELOW, (_key(item), first, first, last))
            for (key,) in found.fetchall():
                if _WHOLE.fullmatch(json.loads(key)[len(item) :]):
                    change = "UPDATE known SET kind = ? WHERE item = ?"
                    self._known.execute(change, (_DONE, key))

    def end(self, how: str, exit_code: int) -> None:
        """Note how the run ended: "complete", "interrupted" or "stopped early"."""
        if self._writes:
            event = {"type": _END, "end": how, "exit_code": exit_code, "started": self._began}
            with self._writing():
                if how == COMPLETE:  # then all that was done has been recorded
                    self._resolve()
                _write(self._file, self._marks.on(event))

    def _resolve(self) -> None:
        query = "SELECT item FROM known WHERE kind = ? ORDER BY item"
        for (key,) in self._known.execute(query, (_DONE,)):
            _write(self._file, self._marks.on({"type": RESOLVED, "item": json.loads(key)}))

    def close(self) -> None:
        """Sync the file to disk and close it."""
        self._known.close()
        with self._writing(), self._file:
            if self._writes:
                os.fsync(self._file.fileno())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LocalError(
                f"cannot write to the manifest {self._path}: {error.strerror}",
                path=self._path,
                fatal=True,
            ) from error


def is_manifest(path: str) -> bool:
    """Return True if a file begins as a manifest does."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.readline(_LONGEST_HEADER)
        event = json.loads(head) if head.startswith(b"{") else None
    except (OSError, ValueError):
        return False
    return isinstance(event, dict) and event.get("type") == _HEADER


def read_events(path: str) -> Iterator[Event]:
    """Yield the header of a manifest, and the events after it; a last line that is cut is left out.

    Raises UsageError if it is not a manifest, LocalError if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for number, (_, event) in enumerate(_whole_lines(file)):
                if not number and event.get("type") != _HEADER:
                    raise UsageError(f"{path} is not a manifest", "choose another file")
                yield event
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}", path=path) from error


def last_events(events: Iterator[Event]) -> Iterator[Event]:
    """Yield the last event of each item, in the order of their names.

    Events without an item, as at the end of a run, and what is resolved are left out. The
    others are kept in a temporary database, so that memory does not grow with their number.
    """
    with closing(sqlite3.connect("")) as known, using_temporary_database():
        known.execute("PRAGMA journal_mode = OFF")
        known.execute("CREATE TABLE known (item TEXT PRIMARY KEY, event TEXT) WITHOUT ROWID")
        named = (event for event in events if "item" in event)
        rows = ((_key(event["item"]), json.dumps(event)) for event in named)
        known.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", rows)
        for (text,) in known.execute("SELECT event FROM known ORDER BY item"):
            event = json.loads(text)
            if event.get("type") != RESOLVED:
                yield event


def _key(item: object) -> str:
    """Encode a path for SQLite; it may have bytes that are not UTF-8."""
    return quoted(item) if type(item) is str else json.dumps(item)


def _write(file: BinaryIO, event: Event) -> None:
    file.write(_line(event))
    file.flush()


def _line(event: Event) -> bytes:
    return json.dumps(event).encode("ascii") + b"\n"


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, Event]]:
    """Yield complete lines, each with the offset of its end.

    Only the last line can be incomplete. Raises UsageError for a complete line that is not an
    event, so that other files are never changed.
    """
    end = 0
    for number in count(1):
        line = _next_line(file, number)
        if not line.endswith(b"\n"):
            return
        end += len(line)
        yield end, _event(line, number, file.name)


def _lines_together(file: BinaryIO, first: int) -> bytes:
    """Read some whole lines; none at the end. A last line that is cut off is left out."""
    lines = file.read(_BLOCK)
    if not lines.endswith(b"\n"):
        lines += _next_line(file, first + lines.count(b"\n"))
    return lines[: lines.rfind(b"\n") + 1]


def _next_line(file: BinaryIO, number: int) -> bytes:
    """Read a line. Raises UsageError for one that is longer than those of manifests."""
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
        raise UsageError(f"{file.name} is not a manifest: see line {number}")
    return line


def _rows(lines: bytes, first: int, name: str) -> list[Row]:
    """Read lines one by one. Leave out the line that ends a run."""
    found = []
    for number, line in enumerate(lines.split(b"\n")[:-1], start=first):
        one = read_line(line + b"\n") or _parsed(line, number, name)
        if one.kind != _END:
            kind = one.kind if one.kind in _GOOD or one.kind in _BAD else ""
            found.append((kind, one.item, str(int(one.size)), str(int(one.mtime_ns))))
    return found


def _event(line: bytes, number: int, name: str) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if isinstance(event, dict):
        _read_numbers(event)
    if not _is_event(event):
        raise UsageError(f"{name} is not a manifest: see line {number}")
    return event  # type: ignore[no-any-return]


def _parsed(line: bytes, number: int, name: str) -> Line:
    """Read a line that is written in another way. Raises UsageError if it is not an event."""
    event = _event(line, number, name)
    item, size, mtime_ns = event.get("item"), event.get("size", 0), event.get("mtime_ns", 0)
    return Line(event.get("type", ""), _key(item), size, mtime_ns)


def _read_numbers(event: Event) -> None:
    """Read the numbers that are written as text, since jq and others would round them."""
    for name in ("size", "mtime_ns"):
        value = event.get(name)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            event[name] = int(value)


def _is_event(parsed: object) -> bool:
    """Return True if a line is an event whose values can be kept and compared."""
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type", ""), str):
        return False
    numbers = (parsed.get("size", 0), parsed.get("mtime_ns", 0))
    return all(isinstance(number, int) and abs(number) < 2**63 for number in numbers)
