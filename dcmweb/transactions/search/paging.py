"""Queries, page by page (PS3.18 sections 8.3.4 and 10.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import cast
from urllib.parse import quote

from dcmweb.counted import plural
from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset, Row
from dcmweb.dicom.json_rows import RowReader, TextRow, only_text
from dcmweb.dicom.json_text import compact
from dcmweb.dicom.json_variants import as_datasets
from dcmweb.dicom.resources import Level, Resource, is_usable_uid
from dcmweb.dicom.tags import (
    RETRIEVE_URL,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import NothingMatched, ProtocolError, Refused, Truncated
from dcmweb.http.response import Response
from dcmweb.transactions.accept import (
    ask_for_json,
    check_accepted,
    is_about_accept,
    is_xml,
    said,
    wrong_kind,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search.paging_quirks import (
    FAR_OFF,
    SMALL_PAGE,
    Circle,
    IgnoredOffset,
    Position,
    RememberedRows,
    RestlessEnd,
    RowKey,
    may_be_capped,
)

_UIDS = {
    Level.STUDIES: (STUDY_INSTANCE_UID,),
    Level.SERIES: (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID),
    Level.INSTANCES: (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID),
}
_DIGEST = 15  # bytes, as many as take least memory
# Not escaped: Orthanc 1.10 compares values undecoded, and many queries hold these characters.
_UNESCAPED = "*,^-"


@dataclass(frozen=True)
class Query:
    """A search: where, for what, and its parameters in order, without limit and offset."""

    resource: Resource
    level: Level
    parameters: tuple[tuple[str, str], ...] = ()
    offset: int = 0

    def target(self, limit: int | None, offset: int) -> str:
        """Write the path and query for one page."""
        pairs = list(self.parameters)
        if limit is not None:
            pairs.append(("limit", str(limit)))
        if offset:
            pairs.append(("offset", str(offset)))
        path = "/".join(filter(None, (str(self.resource), self.level.value)))
        query = "&".join(f"{_escape(key)}={_escape(value)}" for key, value in pairs)
        return f"{path}?{query}" if query else path

    def including(self, *tags: str) -> Query:
        """Ask for attributes that are not returned by default."""
        added = (("includefield", tag) for tag in tags)
        return replace(self, parameters=(*self.parameters, *added))


@dataclass(frozen=True)
class Page:
    """The rows of one answer; `more` is True if the server said that there are further results."""

    rows: Sequence[Row]
    more: bool = False


def fetch_page(
    context: RunContext,
    target: str,
    *,
    keeps_empty: bool = False,
    reader: RowReader | None = None,
) -> Page:
    """Get one page of results; an empty page for each way to say that nothing was found.

    With `keeps_empty`, rows without attributes stay among others that have some. Rows are data
    sets, or text where `reader` leaves them so.
    """

    def get(path: str, *, is_query: bool = True) -> Page:
        with ask_for_json(context, path, is_query=is_query) as response:
            response.check()
            if response.is_nothing:
                return Page([])
            warned = "additional" in response.headers.get("Warning", "")
            more = warned or response.is_partial
            if is_xml(response):
                return Page(_rows_of_xml(response), more)
            return Page(_rows(response, keeps_empty, reader), more)

    try:
        return context.engine.attempt(lambda: get(target))
    except Refused as error:
        if is_about_accept(context, error):
            return context.engine.attempt(lambda: get(target, is_query=False))
        # A strict server may refuse a raw ^: escape it after all.
        if error.status != 400 or "^" not in target or not context.session.sends_raw_carets:
            raise
        context.session.sends_raw_carets = False
        return context.engine.attempt(lambda: get(target))


def _rows(response: Response, keeps_empty: bool, reader: RowReader | None) -> Sequence[Row]:
    body = response.content()
    rows = reader.read(body) if reader else None
    if rows is not None:
        return rows
    start = json_model.first_character(body[:1024])
    if not start and not body.strip() and response.has_end:
        check_accepted(response, is_empty=True)
        return []
    try:
        parsed = json_model.parse_json(body)
        return as_datasets(parsed if start == "[" else parsed[0], keeps_empty=keeps_empty)
    except ProtocolError as error:
        if not response.has_end and not _is_json(body) and start in ("", "[", "{"):
            raise Truncated(f"the answer broke off: {error.message}") from None
        if start in ("[", "{"):
            hint = "is BASE_URL the root of the DICOMweb service?"
            address = response.url.partition("?")[0]
            other = ProtocolError(f"{address}: {error.message}{said(body)}", hint)
            other.may_be_wrong_root = _is_json(body)  # as of Orthanc's own API
            raise other from None
        raise wrong_kind(response, "search results", body) from None


def _rows_of_xml(response: Response) -> list[Dataset]:
    """Read search results in the Native DICOM Model, a document for each."""
    from dcmweb.dicom.native_xml import parse_native_xml  # rarely needed

    if not response.media_type.is_multipart:
        return [parse_native_xml(response.content())]
    try:
        return [parse_native_xml(b"".join(part.body)) for part in response.held_parts()]
    except NothingMatched:
        return []


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@dataclass
class Pages:
    """The results of a query, row by row; tells afterwards whether these were all results.

    `is_thorough`: let each page begin with the last row of the page before, which shows whether
    rows have moved to an earlier page as others before them were deleted.
    `once`: a resource that is listed in several rows comes once, as for retrieving it.
    """

    context: RunContext
    query: Query
    wanted: int | None = None  # rows; None is all
    limit: int | None = None  # of the first request; None is the page size of the settings
    is_thorough: bool = False
    once: bool = False
    reader: RowReader | None = None  # leaves rows text where it can
    complete: bool = field(default=True, init=False)
    found: int = field(default=0, init=False)
    _last: tuple[bool, int] | None = field(default=None, init=False)  # page: `more`, and its size
    _end: int = field(default=0, init=False)  # behind the last row that came

    def __iter__(self) -> Iterator[Dataset]:
        """Yield the rows, each once: data sets, as there is no reader."""
        for rows in self.by_page():
            yield from cast("Sequence[Dataset]", rows)

    def by_page(self) -> Iterator[Sequence[Row]]:
        """Yield the rows of each page that did not come before.

        The offset moves on by the number of rows that came, so nothing is lost where a server caps
        its pages. Only an empty page proves that the results have ended.
        """
        known, position = RememberedRows(once=self.once), Position(self.query.offset)
        ignored, end, circle = IgnoredOffset(), RestlessEnd(), Circle()
        while self.wanted is None or self.found < self.wanted:
            self._end = position.offset
            page = self._next(position.asked)
            was_more = self._last is not None and self._last[0]
            self._last = page.more, len(page.rows)
            whole_keys = [_key(row, self.query.level, once=self.once) for row in page.rows]
            keys = [key.uids for key in whole_keys]
            any_new = any(key not in known for key in keys)
            if position.has_slipped(keys, known):
                continue
            if not keys:
                self.complete = not (page.more or was_more)
                return
            fresh = known.note(whole_keys, shares_first=position.shares_first)
            if known.any_share and not self.once:
                self.context.notify_once(
                    "some results share a UID and differ: each of them is given"
                )
            position.advance(len(keys), shares=self.is_thorough and any_new)
            if ignored.is_likely(keys, any_new=any_new) and self._comes_from(
                position.offset + FAR_OFF, keys[0]
            ):
                self._offset_is_ignored(page)
                return
            if end.is_reached(keys, any_new=any_new):
                self.complete = not page.more
                return
            if circle.is_closed(keys, self.found, any_new=any_new):
                raise ProtocolError("the server's search results go round in a circle")
            room = None if self.wanted is None else self.wanted - self.found
            rows = [page.rows[index] for index in fresh[:room]]
            del page, whole_keys
            self.found += len(rows)
            if rows:
                yield rows
            del rows
        self.complete = False

    def _comes_from(self, offset: int, key: bytes) -> bool:
        """Return True if the server sends a row first even from so far off."""
        rows = fetch_page(self.context, self.query.target(1, offset)).rows
        return bool(rows) and _key(rows[0], self.query.level, once=True).uids == key

    def _next(self, offset: int) -> Page:
        size = self.limit or self.context.page_size
        if self.wanted is not None:
            size = min(size, self.wanted - self.found)
        try:
            target = self.query.target(size, offset)
            return fetch_page(self.context, target, keeps_empty=self.once, reader=self.reader)
        except Refused as error:
            if error.status not in (400, 413) or error.retryable:
                raise
            if self.limit is None and size > SMALL_PAGE:
                self.limit = SMALL_PAGE
                page = self._next(offset)
                self.context.page_size = SMALL_PAGE  # it was the size, so remember it
                return page
            if self._last is None or self._last[0] or self._last[1] >= size:
                raise
            self.context.notify(f"the server refused to be asked for more results: {error.message}")
            return Page([], more=not self._ends_at(self._end, self._last[1]))

    def _ends_at(self, end: int, rows: int) -> bool:
        """Return True if there is no row behind those that came, though the server says no number.

        A page as long as the last one is asked for, which would end with the next row: the server
        has sent pages of that size, so that it leaves out that row only if there is none.
        """
        if rows < 2:
            return True  # no server sends its results one by one
        try:
            page = fetch_page(self.context, self.query.target(rows, end - rows + 1))
        except Refused:
            return False
        return not page.more and len(page.rows) < rows

    def _offset_is_ignored(self, page: Page) -> None:
        """Decide by the one page that such a server gives whether it holds all results."""
        if page.more or may_be_capped(len(page.rows), self.limit or self.context.page_size):
            self.complete = False
            first = plural(self.found, "result")
            self.context.notify(f"the server ignores offset: only the first {first} can be had")


def uid(row: Row, tag: str) -> str:
    """Return a UID of a row, "" if it is missing or cannot be one."""
    found = json_model.text(row, tag)
    return found if is_usable_uid(found) else ""


def resource_of(row: Row, level: Level, parent: Resource) -> Resource | None:
    """Return the resource that a row describes; UIDs that it lacks are those of its parent.

    None for a row without the UIDs that are needed, or with unusable ones.
    """
    study = parent.study or uid(row, STUDY_INSTANCE_UID)
    series = parent.series or uid(row, SERIES_INSTANCE_UID)
    instance = uid(row, SOP_INSTANCE_UID)
    match level:
        case Level.STUDIES:
            return Resource(study) if study else None
        case Level.SERIES:
            return Resource(study, series) if study and series else None
        case _:
            return Resource(study, series, instance) if study and series and instance else None


def _key(row: Row, level: Level, *, once: bool) -> RowKey:
    """Make digests of the UIDs of a row, of the whole row if it has none, and of its content.

    The Retrieve URL is left out, as some servers make a new one for each answer. With `once`, the
    content does not matter.
    """
    texts = [_text(row, tag) for tag in _UIDS[level]]
    uids = "/".join(texts).encode("utf-8", "surrogatepass")
    if once and texts[-1]:
        return RowKey(_digest(uids), b"")
    content = _content(row)
    return RowKey(_digest(uids if texts[-1] else content), _digest(b"%b %b" % (uids, content)))


def _text(row: Row, tag: str) -> str:
    """Return the first value of an element as `json_model.text` does."""
    if type(row) is TextRow:
        text = only_text(row.raw(tag)[1])
        if text is not None:
            return text.strip("\0 ")
    return json_model.text(row, tag)


def _content(row: Row) -> bytes:
    """Write what is in a row, in whatever order a server has its parts, for a digest."""
    if type(row) is TextRow:
        return row.without(RETRIEVE_URL)
    return compact({tag: one for tag, one in row.items() if tag != RETRIEVE_URL})


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()


def _escape(text: str) -> str:
    return quote(text, safe=_UNESCAPED)
