"""Asking the server, after a store, whether it has every instance (PS3.18 section 10.6)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock

from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import SOP_INSTANCE_UID
from dcmweb.errors import DcmwebError, Interrupted, NothingMatched
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.listing import Lister
from dcmweb.transactions.search.paging import Pages, Query
from dcmweb.transactions.store.resend import WAITS
from dcmweb.transfer.outcomes import Outcome, Status

_SAID = (Status.STORED, Status.EXISTS, Status.DONE_BEFORE)
_TOGETHER = 1000  # instances that are looked up at a time


@dataclass(frozen=True)
class _Row:
    """An instance that the server may have, and what was said of it."""

    item: str
    size: int
    status: Status
    instance: str

    def outcome(
        self, study: str, series: str, status: Status, reason: str, place: str = ""
    ) -> Outcome:
        """Say what is known of it now."""
        return Outcome(
            status,
            self.item,
            self.size,
            reason,
            place,
            study=study,
            series=series,
            instance=self.instance,
            replaces=self.status,
        )


class Verification:
    """The instances that are said to be on the server, and which of them it lists.

    They are kept in a temporary database, so that memory does not grow with their number.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lister = Lister(context)
        self._lock = Lock()
        self._any_unknown = False
        self.noted = 0  # instances to look for
        self._said = sqlite3.connect("", check_same_thread=False)
        self._said.execute("PRAGMA journal_mode = OFF")
        self._said.execute(
            "CREATE TABLE said (study, series, instance, item, size, status, "
            "PRIMARY KEY (study, series, instance, item)) WITHOUT ROWID"
        )

    def note(self, outcome: Outcome) -> bool:
        """Take down what the server may have; return True if it is said to have it."""
        if outcome.status not in (*_SAID, Status.UNKNOWN):
            return False
        self.noted += 1
        self._any_unknown |= outcome.status is Status.UNKNOWN
        row = (outcome.study, outcome.series, outcome.instance)
        item = outcome.item.encode("utf-8", "surrogateescape")
        with self._lock:
            self._said.execute(
                "INSERT OR REPLACE INTO said VALUES (?, ?, ?, ?, ?, ?)",
                (*row, item, outcome.size, outcome.status.name),
            )
        return outcome.status in _SAID

    def jobs(self) -> Iterator[Callable[[], Iterable[Outcome]]]:
        """Make a job for each series.

        It yields those of its instances that are not there, and those that are, though unknown.
        """
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
        problem = ""
        for wait in WAITS:
            if problem or not self._any_left(study, series):
                break
            self._context.engine.sleep(
                wait, "the server does not list all of it yet" if wait else ""
            )
            try:
                yield from self._strike_out(study, series)
            except NothingMatched:
                pass  # none of them is there
            except Interrupted:
                raise
            except DcmwebError as error:
                problem = error.message
                if self._context.engine.gives_up(error):
                    raise
        for row in self._rows(study, series):
            self._context.engine.meter.advance()
            if row.status is Status.UNKNOWN:
                continue  # which was said of it before
            if not row.instance:
                problem = problem or "it has no UIDs to ask for"
            words = (
                f"it cannot be verified: {problem}" if problem else "the server does not list it"
            )
            yield row.outcome(study, series, Status.UNKNOWN if problem else Status.FAILED, words)

    def _rows(self, study: str, series: str, instance: str | None = None) -> list[_Row]:
        """Return what is left of a series, or of one of its instances."""
        condition = "" if instance is None else " AND instance = ?"
        values = (study, series) if instance is None else (study, series, instance)
        with self._lock:
            rows = self._said.execute(
                "SELECT item, size, status, instance FROM said "  # noqa: S608 - constant text
                f"WHERE study = ? AND series = ?{condition}",
                values,
            ).fetchall()
        return [
            _Row(item.decode("utf-8", "surrogateescape"), size, Status[status], uid)
            for item, size, status, uid in rows
        ]

    def _any_left(self, study: str, series: str) -> bool:
        with self._lock:
            row = self._said.execute(
                "SELECT 1 FROM said WHERE study = ? AND series = ? LIMIT 1", (study, series)
            ).fetchone()
        return row is not None

    def _strike_out(self, study: str, series: str) -> Iterator[Outcome]:
        """Remove what the server lists of a series; yield what of it was unknown."""
        found: list[tuple[str, str, str]] = []
        for instance in self._listed(study, series):
            found.append((study, series, instance))
            if len(found) == _TOGETHER:
                yield from self._remove(found)
                found = []
        yield from self._remove(found)

    def _listed(self, study: str, series: str) -> Iterator[str]:
        """Yield the instances that the server lists; each by itself if the series is not known."""
        if study and series:
            for found, _ in self._lister.instances(Resource(study, series)):
                if found is not None:
                    yield found.instance
            return
        for uid in {row.instance for row in self._rows(study, series)} - {""}:
            query = Query(Resource(), Level.INSTANCES, (("SOPInstanceUID", uid),))
            if any(paging.uid(row, SOP_INSTANCE_UID) == uid for row in Pages(self._context, query)):
                yield uid

    def _remove(self, found: list[tuple[str, str, str]]) -> Iterator[Outcome]:
        for study, series, instance in found if self._any_unknown else ():
            for row in self._rows(study, series, instance):
                if row.status is Status.UNKNOWN:
                    place = self._context.session.url(str(Resource(study, series, instance)))
                    yield row.outcome(study, series, Status.STORED, "the server lists it", place)
        with self._lock:
            removed = self._said.executemany(
                "DELETE FROM said WHERE study = ? AND series = ? AND instance = ?", found
            )
            count = removed.rowcount
        self._context.engine.meter.advance(max(0, count))

    def close(self) -> None:
        """Let go of the database."""
        self._said.close()
