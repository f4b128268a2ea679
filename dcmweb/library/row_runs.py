"""Runs that yield rows: those of a search, and metadata."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dcmweb.dicom.json_model import Dataset, Row
from dcmweb.dicom.resources import Level
from dcmweb.errors import UsageError
from dcmweb.library.runs import Run, seconds_idle
from dcmweb.transfer.meter import Meter
from dcmweb.transfer.outcomes import Outcome
from dcmweb.transfer.summary import Progress

if TYPE_CHECKING:
    from dcmweb.transactions.search.run import Search

T = TypeVar("T")


class _CountedRows(Run[T]):
    """A run whose rows are counted as they come."""

    def __init__(
        self, name: str, begin: Callable[[], Iterator[T]], meter: Meter, most: int | None = None
    ) -> None:
        super().__init__(name, partial(_counted, begin, meter))
        self._meter = meter
        meter.begin("", "", most)
        self._made = time.monotonic()

    @property
    def progress(self) -> Progress:
        """How far the run has come, as a phase that counts rows; can be read from any thread."""
        return Progress(
            counts={},
            retries=self._meter.retries,
            seconds=time.monotonic() - self._made,
            phase=self._meter.phase,
            pause=self._meter.pauses.next,
            idle=seconds_idle(self._meter),
        )


def _counted(begin: Callable[[], Iterator[T]], meter: Meter) -> Iterator[T]:
    meter.touch()
    for row in begin():
        meter.advance(len(row) if isinstance(row, list) else 1)
        yield row


def _by_row(begin: Callable[[], Iterator[Sequence[Row]]], search: Search) -> Iterator[Any]:
    """Yield rows, or pages of them if these are wanted."""
    pages = begin()
    return pages if search.reader else chain.from_iterable(pages)


class Rows(_CountedRows[T]):
    """A run that yields rows: data sets of the DICOM JSON model (PS3.18 annex F), as dicts.

    `failures` are the targets whose error was not raised, each with its outcome.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], Iterator[T]],
        failures: list[Outcome],
        meter: Meter,
    ) -> None:
        super().__init__(name, begin, meter)
        self.failures = failures


class SearchRows(_CountedRows[Dataset]):
    """The rows of a search: data sets of the DICOM JSON model (PS3.18 annex F), as dicts."""

    def __init__(
        self,
        search: Search,
        begin: Callable[[], Iterator[Sequence[Row]]],
        meter: Meter,
        most: int | None = None,
    ) -> None:
        super().__init__("search()", partial(_by_row, begin, search), meter, most)
        self._search = search

    def pages(self) -> Iterator[Sequence[Row]]:
        """Return the run itself as one that yields lists of rows, most of which stay text.

        For whoever only writes them: such a row can be read, but not be changed.
        """
        from dcmweb.dicom.json_rows import RowReader

        if self._results is not None:
            raise UsageError("the rows have begun to come one by one", "call pages() before that")
        self._search.reader = RowReader()
        return cast("Iterator[Sequence[Row]]", self)

    @property
    def level(self) -> Level:
        """What the rows are of: studies, series or instances."""
        return self._search.level

    @property
    def has_more(self) -> bool:
        """Whether the server has further rows, after a search that did not want all of them."""
        return self._search.more

    @property
    def found(self) -> int:
        """How many rows have come, after the last of them."""
        return self._search.found

    def path_of(self, row: Row) -> str:
        """Name the resource that a row is of, as `retrieve` and `delete` take it.

        "" for a row without the UIDs that it takes.
        """
        return self._search.path_of(row)
