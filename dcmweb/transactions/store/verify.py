"""Asking the server, after a store, whether it has every instance (PS3.18 section 10.6)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Lock

from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted, NothingMatched
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

# Seconds to wait before a server is asked again: some list what they store a little later.
WAITS = (0.0, 1.0, 4.0)
_TOGETHER = 1000  # instances that are looked up at a time


class Verification:
    """The instances that are said to be on the server, and which of them it lists.

    They are kept in a temporary database, so that memory does not grow with their number.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lister = Lister(context)
        self._lock = Lock()
        self._said = sqlite3.connect("", check_same_thread=False)
        self._said.execute("PRAGMA journal_mode = OFF")
        self._said.execute(
            "CREATE TABLE said (study, series, instance, item, size, status, "
            "PRIMARY KEY (study, series, instance, item)) WITHOUT ROWID"
        )

    def note(self, outcome: Outcome) -> bool:
        """Take down what the server is said to have; tell whether this is so."""
        if outcome.status not in (Status.STORED, Status.EXISTS, Status.DONE_BEFORE):
            return False
        row = (outcome.study, outcome.series, outcome.instance)
        item = outcome.item.encode("utf-8", "surrogateescape")
        with self._lock:
            self._said.execute(
                "INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?, ?, ?)",
                (*row, item, outcome.size, outcome.status.name),
            )
        return True

    def jobs(self) -> Iterator[Callable[[], Iterable[Outcome]]]:
        """Make a job for each series, which yields those of its instances that are not there."""
        last: tuple[str, str] | None = ("", "")
        first = True
        while last is not None:
            comparison = ">=" if first else ">"
            with self._lock:
                last = self._said.execute(
                    f"SELECT study, series FROM said WHERE (study, series) {comparison} (?, ?) "  # noqa: S608
                    "ORDER BY study, series LIMIT 1",
                    last,
                ).fetchone()
            first = False
            if last is not None:
                yield partial(self._check, *last)

    def _check(self, study: str, series: str) -> Iterator[Outcome]:
        problem = "" if study and series else "it has no UIDs to ask for"
        for wait in WAITS:
            if problem or not self._any_left(study, series):
                break
            self._context.stop.sleep(wait)
            try:
                self._strike_out(Resource(study, series))
            except NothingMatched:
                pass  # none of them is there
            except Interrupted:
                raise
            except DcmwebError as error:
                problem = error.message
                if self._context.engine.gives_up(error):
                    raise
        with self._lock:
            rows = self._said.execute(
                "SELECT item, size, status, instance FROM said WHERE study = ? AND series = ?",
                (study, series),
            ).fetchall()
        for item, size, status, instance in rows:
            yield Outcome(
                Status.UNKNOWN if problem else Status.FAILED,
                item.decode("utf-8", "surrogateescape"),
                size,
                f"it cannot be verified: {problem}" if problem else "the server does not list it",
                study=study,
                series=series,
                instance=instance,
                replaces=Status[status],
            )

    def _any_left(self, study: str, series: str) -> bool:
        with self._lock:
            row = self._said.execute(
                "SELECT 1 FROM said WHERE study = ? AND series = ? LIMIT 1", (study, series)
            ).fetchone()
        return row is not None

    def _strike_out(self, resource: Resource) -> None:
        """Remove what the server lists in a series from what it is said to have."""
        found: list[tuple[str, str, str]] = []
        for instance, _ in self._lister.instances(resource):
            if instance is not None:
                found.append((resource.study, resource.series, instance.instance))
            if len(found) == _TOGETHER:
                self._remove(found)
                found = []
        self._remove(found)

    def _remove(self, found: list[tuple[str, str, str]]) -> None:
        with self._lock:
            self._said.executemany(
                "DELETE FROM said WHERE study = ? AND series = ? AND instance = ?", found
            )

    def close(self) -> None:
        """Let go of the database."""
        self._said.close()
