"""The list of studies: what is searched for, and what is found, the latest first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.exceptions import BadRequest

from dcmweb.archive.pages.paging import Slice
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry, entry
from dcmweb.archive.storage.matching import How, matcher

STUDIES_ON_A_PAGE = 50
_DATE = re.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})")
# All instances as they lie on disk: through an index they would be read here and there.
_ALL = "files NOT INDEXED WHERE note = ''"
_MOST_SPELLINGS = 20
_LONGEST_MODALITY = 64  # characters; the standard has 16


@dataclass(frozen=True)
class FoundStudy:
    """A study: its first instance, and what is in it."""

    first: Entry
    modalities: list[str]
    series: int
    instances: int


@dataclass(frozen=True)
class _Condition:
    """A condition on an attribute of the index, as arguments of the function `fits`."""

    keyword: str
    vr: str
    wanted: str
    how: How = How.PLAIN

    @property
    def sql(self) -> str:
        """The condition, with places for `arguments`.

        Each value is compared once, however many instances have it: LIMIT keeps SQLite from
        comparing before it has found the distinct values.
        """
        fits = f'"{self.keyword}" IN ({self.values})'
        if self.keyword == "Modality":  # of any instance of the study
            return f"StudyInstanceUID IN (SELECT StudyInstanceUID FROM {_ALL} AND {fits})"
        return fits

    @property
    def values(self) -> str:
        """The query for the values that fit."""
        distinct = f'SELECT DISTINCT "{self.keyword}" AS value FROM {_ALL} LIMIT -1'
        return f"SELECT value FROM ({distinct}) WHERE fits(value, ?, ?, ?)"

    @property
    def arguments(self) -> list[object]:
        """What the condition compares with."""
        return [self.vr, self.wanted, self.how.value]


@dataclass(frozen=True)
class StudySearch:
    """What is searched for; "" is anything. Raises BadRequest for what cannot be."""

    name: str = ""
    id: str = ""
    since: str = ""
    until: str = ""
    modality: str = ""
    description: str = ""

    @classmethod
    def parse(cls, args: Mapping[str, str]) -> StudySearch:
        """Read the parameters of the form."""
        names = ("name", "id", "since", "until", "modality", "description")
        search = cls(**{name: args.get(name, "").strip() for name in names})
        for condition in search._conditions:
            matcher(condition.vr, condition.wanted, condition.how)
        return search

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters that are given, for links to other pages of the same search."""
        return {name: value for name, value in vars(self).items() if value}

    @property
    def _dates(self) -> str:
        since, until = (_plain_date(text) for text in (self.since, self.until))
        return f"{since}-{until}" if since or until else ""

    @property
    def _conditions(self) -> list[_Condition]:
        """All conditions. Names of persons are those that are matched in any case."""
        conditions = [
            _Condition("PatientName", "PN", self.name, How.FUZZY),
            _Condition("PatientID", "PN", self.id and f"*{self.id}*"),
            _Condition("StudyDate", "DA", self._dates),
            _Condition("Modality", "CS", self.modality),
            _Condition("StudyDescription", "PN", self.description and f"*{self.description}*"),
        ]
        return [condition for condition in conditions if condition.wanted]

    def _where(self) -> tuple[str, list[object]]:
        conditions = self._conditions
        if not conditions:
            return "1", []
        fit = " AND ".join(condition.sql for condition in conditions)
        arguments = [argument for condition in conditions for argument in condition.arguments]
        return (
            f"StudyInstanceUID IN (SELECT StudyInstanceUID FROM instances WHERE {fit})",
            arguments,
        )

    def find(self, storage: Storage, number: int) -> Slice[FoundStudy]:
        """Find the studies of a page, which count from 1."""
        where, arguments = self._where()
        connection = storage.index.connection()
        rows = connection.execute(
            "SELECT id, COUNT(*) OVER () AS total FROM "
            f"(SELECT MIN(id) AS first FROM instances WHERE {where} GROUP BY StudyInstanceUID) "
            "CROSS JOIN files ON id = first "
            "ORDER BY StudyDate DESC, StudyTime DESC, id LIMIT ? OFFSET ?",
            [*arguments, STUDIES_ON_A_PAGE, (number - 1) * STUDIES_ON_A_PAGE],
        ).fetchall()
        marks = ", ".join("?" * len(rows))
        firsts = {
            row["id"]: entry(row)
            for row in connection.execute(
                f"SELECT * FROM instances WHERE id IN ({marks})", [row["id"] for row in rows]
            )
        }
        # Those that have been deleted meanwhile are left out.
        found = [_counted(storage, firsts[row["id"]]) for row in rows if row["id"] in firsts]
        return Slice(found, number, STUDIES_ON_A_PAGE, rows[0]["total"] if rows else 0)

    def keys(self, storage: Storage) -> list[str] | None:
        """Write the search as arguments of `dcmweb search`; None if it cannot be written so.

        QIDO-RS distinguishes upper and lower case in most values, and the page does not: the
        values are searched for as they are spelled in the studies that were found.
        """
        keys = [
            f"{key}={value}"
            for key, value in (
                ("PatientName", self.name),
                ("fuzzymatching", self.name and "true"),
                ("StudyDate", self._dates),
                ("ModalitiesInStudy", self.modality),
            )
            if value
        ]
        for keyword, text in (("PatientID", self.id), ("StudyDescription", self.description)):
            if text:
                spellings = self._spellings(storage, keyword, text)
                if len(spellings) > _MOST_SPELLINGS:
                    return None
                keys.append(f"{keyword}=" + "\\".join(f"*{text}*" for text in spellings))
                if len(spellings) > 1 and "multiplevaluematching=true" not in keys:
                    keys.append("multiplevaluematching=true")
        return keys

    def _spellings(self, storage: Storage, keyword: str, text: str) -> list[str]:
        condition = next(one for one in self._conditions if one.keyword == keyword)
        rows = storage.index.connection().execute(condition.values, condition.arguments)
        pattern = re.escape(text).replace(r"\*", ".*?").replace(r"\?", ".")
        # All of them fit: as long as `.` is any character here too, nothing is tried twice.
        flags = re.IGNORECASE | re.DOTALL
        matches = (re.search(pattern, value or "", flags) for (value,) in rows)
        return sorted({match[0] for match in matches if match}) or [text]


def _counted(storage: Storage, first: Entry) -> FoundStudy:
    row = (
        storage.index.connection()
        .execute(
            "SELECT COUNT(*) AS instances, COUNT(DISTINCT SeriesInstanceUID) AS series, "
            "GROUP_CONCAT(DISTINCT Modality) AS modalities "
            "FROM instances WHERE StudyInstanceUID = ?",
            [first.resource.study],
        )
        .fetchone()
    )
    modalities = sorted(filter(None, (row["modalities"] or "").split(",")))
    return FoundStudy(first, modalities, row["series"], row["instances"])


class Modalities:
    """The modalities that can be chosen: those that a form can hold."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: tuple[int | None, list[str]] = (None, [])

    def list(self) -> list[str]:
        """List them; they are looked up again only when files have been added."""
        connection = self._storage.index.connection()
        (last,) = connection.execute("SELECT MAX(id) FROM files").fetchone()
        if last != self._known[0]:
            query = "SELECT DISTINCT Modality FROM instances WHERE LENGTH(Modality) BETWEEN 1 AND ?"
            rows = connection.execute(query, [_LONGEST_MODALITY])
            self._known = last, sorted(one for (one,) in rows if one.isprintable())
        return self._known[1]


def _plain_date(text: str) -> str:
    if not text:
        return ""
    match = _DATE.fullmatch(text)
    if not match:
        raise BadRequest(f"{text[:40]!r} is not a date such as 2024-02-29")
    return "".join(match.groups())
