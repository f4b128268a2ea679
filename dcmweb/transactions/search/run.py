"""The Search transaction (QIDO-RS, PS3.18 section 10.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from dcmweb.counted import plural
from dcmweb.dicom.json_model import Row
from dcmweb.dicom.json_rows import RowReader
from dcmweb.dicom.resources import parse_search
from dcmweb.dicom.tags import (
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_SERIES,
)
from dcmweb.errors import ProtocolError, Refused, UsageError
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search.paging import Pages, Query, fetch_page, resource_of
from dcmweb.transactions.search.parameters import Pair, check_encoding

DEFAULT_LIMIT = 5000
COUNTS = (
    NUMBER_OF_STUDY_RELATED_SERIES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
)
PAGE = 1000  # rows, where there may be many: the first of them come soon, and memory stays low


class Search:
    """A search for studies, series or instances, whose rows come as they are iterated over.

    Without `rows`, up to the `limit` among the parameters come, or 5000; `more` says afterwards
    whether there are more than were `found`. With `rows`, that number of them comes however the
    server pages, or all with `every`; it is an error if the server does not give them. `fields`
    are tags of attributes to ask for.
    """

    def __init__(
        self,
        context: RunContext,
        path: str,
        pairs: Sequence[Pair],
        *,
        rows: int | None = None,
        every: bool = False,
        fields: Sequence[str] = (),
    ) -> None:
        self._context = context
        self.resource, self.level = parse_search(path)
        self._limit, offset = _whole(pairs, "limit"), _whole(pairs, "offset")
        if self._limit is not None and (every or rows is not None):
            raise UsageError("limit= is given beside --all, --count or --limit", "choose one")
        check_encoding(pairs)
        others = tuple(pair for pair in pairs if pair[0].lower() not in ("limit", "offset"))
        self._query = Query(self.resource, self.level, others, offset=offset or 0)
        self._fields = fields
        self._rows = rows
        self._is_whole = every or rows is not None
        self.more = False
        self.found = 0
        self.reader: RowReader | None = None  # leaves rows text where it can

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows found, each by itself; errors as of `by_page`."""
        return chain.from_iterable(self.by_page())

    def by_page(self) -> Iterator[Sequence[Row]]:
        """Yield the rows of each page that has new ones.

        Raises ProtocolError at the end if the server keeps some rows back.
        """
        if self._limit == 0:  # servers differ in what that means: let this one say
            yield fetch_page(self._context, self._query.target(0, self._query.offset)).rows
            return
        pages = self._pages(self._query)
        try:
            pages, found = self._first_pages()
            yield from found
        except Refused as error:
            if error.status != 400 or pages.found or not self._fields:
                raise
            pages = self._pages(self._query)
            yield from pages.by_page()
            self._context.notify("the server refused to be asked for fields; these are its own")
        self.found = pages.found
        if pages.complete or self._limit is not None or self._has_enough(pages):
            return
        if self._is_whole:
            raise ProtocolError(f"the server gave {plural(pages.found, 'result')}, and has more")
        self.more = self._is_more(pages.found)

    def _first_pages(self) -> tuple[Pages, Iterator[Sequence[Row]]]:
        """Begin to ask for pages: for counts only if the server does not give them by itself.

        Orthanc 1.10 counts by itself, but answers an includefield with the value in the file.
        """
        others = [tag for tag in self._fields if tag not in COUNTS]
        if len(others) < len(self._fields):
            pages = self._pages(self._query.including(*others))
            found = pages.by_page()
            first = next(found, [])
            counts = [tag for tag in self._fields if tag in COUNTS]
            if not first or all(tag in first[0] for tag in counts):
                return pages, chain([first] if first else (), found)
        pages = self._pages(self._query.including(*self._fields))
        return pages, pages.by_page()

    def _pages(self, query: Query) -> Pages:
        if not self._is_whole:
            limit = self._limit
            wanted = limit or DEFAULT_LIMIT
            return Pages(self._context, query, wanted, limit, reader=self.reader)
        self._context.page_size = min(self._context.page_size, PAGE)
        most, reader = self._rows, self.reader
        return Pages(self._context, query, most, is_thorough=True, reader=reader)

    def _has_enough(self, pages: Pages) -> bool:
        return self._rows is not None and pages.found >= self._rows

    def _is_more(self, found: int) -> bool:
        """Ask for one row beyond those found."""
        return bool(
            fetch_page(self._context, self._query.target(1, self._query.offset + found)).rows
        )

    def path_of(self, row: Row) -> str:
        """Name the resource that a row stands for, "" for one without the UIDs it takes."""
        resource = resource_of(row, self.level, self.resource)
        return str(resource) if resource else ""


def _whole(pairs: Sequence[Pair], name: str) -> int | None:
    """Return a parameter that is a number. Raises UsageError if it is not one."""
    found = [value.strip() for key, value in pairs if key.lower() == name]
    if not found:
        return None
    if len(found) > 1 or not (found[0].isascii() and found[0].isdigit()):
        raise UsageError(f"{name} must be one whole number", f"write it as {name}=10")
    return int(found[0])
