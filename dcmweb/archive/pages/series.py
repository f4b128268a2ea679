"""What is in a study and in a series: series, instances, and their pictures in order."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

from werkzeug.exceptions import NotFound

from dcmweb.archive.pages.paging import Slice
from dcmweb.archive.representations.frames import VIDEO
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry, below, entry
from dcmweb.dicom.resources import Resource

ROWS_ON_A_PAGE = 200
_MOST_FRAMES = 1_000_000  # of an instance, whatever its header says
_HAS_PICTURE = "CAST(\"Rows\" AS INTEGER) > 0 AND COALESCE(transfer_syntax, '') NOT IN ({})".format(
    ", ".join(f"'{syntax}'" for syntax in sorted(VIDEO))
)
_IN_ORDER = "CAST(InstanceNumber AS INTEGER), SOPInstanceUID"


@dataclass(frozen=True)
class FoundSeries:
    """A series: its first instance, and how many there are."""

    first: Entry
    instances: int
    pictures: int  # instances that have pictures


def series_of(storage: Storage, study: Resource, number: int) -> Slice[FoundSeries]:
    """List the series of a study in the order of their numbers."""
    where, given = below(study)
    rows = (
        storage.index.connection()
        .execute(
            f"SELECT *, MIN(id) AS first, COUNT(*) AS instances, SUM({_HAS_PICTURE}) AS pictures, "
            "COUNT(*) OVER () AS total "
            f"FROM instances WHERE {where} GROUP BY SeriesInstanceUID "
            "ORDER BY CAST(SeriesNumber AS INTEGER), first LIMIT ? OFFSET ?",
            [*given, ROWS_ON_A_PAGE, (number - 1) * ROWS_ON_A_PAGE],
        )
        .fetchall()
    )
    found = [FoundSeries(entry(row), row["instances"], row["pictures"] or 0) for row in rows]
    return Slice(found, number, ROWS_ON_A_PAGE, rows[0]["total"] if rows else 0)


def instances_of(storage: Storage, series: Resource, number: int) -> Slice[Entry]:
    """List the instances of a series in the order of their numbers."""
    where, given = below(series)
    rows = (
        storage.index.connection()
        .execute(
            f"SELECT *, COUNT(*) OVER () AS total FROM instances WHERE {where} "
            f"ORDER BY {_IN_ORDER} LIMIT ? OFFSET ?",
            [*given, ROWS_ON_A_PAGE, (number - 1) * ROWS_ON_A_PAGE],
        )
        .fetchall()
    )
    total = rows[0]["total"] if rows else 0
    return Slice([entry(row) for row in rows], number, ROWS_ON_A_PAGE, total)


def first_of(storage: Storage, resource: Resource) -> Entry:
    """Return the first instance of a resource; raises NotFound if there is none."""
    found = next(storage.index.entries(resource), None)
    if found is None:
        raise NotFound(f"there is no {resource}")
    return found


class Stack:
    """The pictures of a series or instance in order: each frame of each instance."""

    def __init__(self, storage: Storage, resource: Resource) -> None:
        self._storage = storage
        where, given = below(resource)
        rows = (
            storage.index.connection()
            .execute(
                f"SELECT id, NumberOfFrames FROM instances WHERE {where} AND {_HAS_PICTURE} "
                f"ORDER BY {_IN_ORDER}",
                given,
            )
            .fetchall()
        )
        self._ids = [row["id"] for row in rows]
        self._ends = list(accumulate(_frames(row["NumberOfFrames"]) for row in rows))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def middle(self) -> int:
        """The number of the picture in the middle, counted from 1."""
        return (len(self) + 1) // 2

    def at(self, number: int) -> tuple[Entry, int]:
        """Return the instance and the frame of a picture; both count from 1.

        Raises NotFound if there is none, or its file is gone.
        """
        if not 1 <= number <= len(self):
            raise NotFound(f"there is no picture {number}: there are {len(self)}")
        at = bisect_right(self._ends, number - 1)
        query = "SELECT * FROM instances WHERE id = ?"
        row = self._storage.index.connection().execute(query, [self._ids[at]]).fetchone()
        present = self._storage.present([entry(row)]) if row else []
        if not present:
            raise NotFound("the instance has been deleted meanwhile")
        return present[0], number - (self._ends[at - 1] if at else 0)


def _frames(text: str | None) -> int:
    with suppress(ValueError):
        return min(max(int(text or 1), 1), _MOST_FRAMES)
    return 1
