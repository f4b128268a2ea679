"""Queries, page by page (PS3.18 sections 8.3.4 and 10.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from urllib.parse import quote

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource, is_usable_uid
from dcmweb.errors import ProtocolError, Refused, Truncated
from dcmweb.http.media_types import DICOM_JSON
from dcmweb.http.response import Response, not_dicomweb
from dcmweb.transactions.context import RunContext

STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
SMALL_PAGE = 200  # what servers accept that turn down larger limits
ROWS_REMEMBERED = 100_000  # to recognise rows that come again when results shift between pages
MOST_STALE_PAGES = 100  # pages in a row without a row that is new, but with as many as are known
LIKELY_CAP = 50  # which the number of results that servers give at most is a multiple of
# Results that shift can bring the first page once more; a server that ignores the offset always.
FIRST_PAGES_AGAIN = 3
FAR_OFF = 1000  # rows from where it is asked once more whether it is so
SHARED_BY = 10  # rows in a page, of which one can be the last of the page before
STEP_BACK = 100  # rows, where rows before were deleted, until one is met that is known
LAST_PAGES_AGAIN = 5  # as where a study comes in with each request, and one is always left over

# Left as they are: servers exist that compare values undecoded, and these are in every other query.
_UNESCAPED = "*,^-"


@dataclass(frozen=True)
class Query:
    """A search: where, for what, and its parameters in order, limit and offset apart."""

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
    """One answer; `more` tells whether the server said that there are further results."""

    rows: list[Dataset]
    more: bool = False


def fetch_page(context: RunContext, target: str) -> Page:
    """Get one page of results; nothing found is an empty page, however the server says it."""

    def get(path: str) -> Page:
        with context.session.get(path, accept=DICOM_JSON) as response:
            response.check()
            if response.is_nothing:
                return Page([])
            body = response.content()
            warned = "additional" in response.headers.get("Warning", "")
            return Page(_rows(response, body), more=warned or response.is_partial)

    try:
        return context.engine.attempt(lambda: get(target))
    except Refused as error:
        # Where a strict server will have no raw ^, escape it after all.
        if error.status != 400 or "^" not in target or not context.session.sends_raw_carets:
            raise
        context.session.sends_raw_carets = False
        return context.engine.attempt(lambda: get(target))


def _rows(response: Response, body: bytes) -> list[Dataset]:
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start and response.has_end:
        return []
    try:
        return json_model.parse_json(body)
    except ProtocolError as error:
        if not response.has_end and not _is_json(body) and start[:1] in (b"", b"[", b"{"):
            raise Truncated(f"the answer broke off: {error.message}") from None
        if start[:1] in (b"[", b"{"):
            hint = "is BASE_URL the root of the DICOMweb service?"
            raise ProtocolError(f"{response.url}: {error.message}", hint) from None
        raise not_dicomweb(response, body) from None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@dataclass
class Pages:
    """Results of a query, row by row; says afterwards whether they were all there are.

    `is_thorough`: rows slip to an earlier page as others before them go away. So each page begins
    with the last row of the one before, which shows that.
    """

    context: RunContext
    query: Query
    wanted: int | None = None  # rows; None is all
    limit: int | None = None  # of the first request; None is the page size of the settings
    is_thorough: bool = False
    complete: bool = field(default=True, init=False)
    found: int = field(default=0, init=False)
    _last: tuple[bool, int] | None = field(default=None, init=False)  # page: `more`, and its size

    def __iter__(self) -> Iterator[Dataset]:
        """Yield the rows, each once.

        The offset moves on by the number of rows that came, so a server that caps its pages loses
        nothing; the results end with an empty page, as only that is proof. A server that ignores
        the offset is recognised by its first page coming again, from far off as well.
        """
        known, stale = _Known(), _Stale()
        offset, overlap = self.query.offset, 0
        while self.wanted is None or self.found < self.wanted:
            page = self._next(offset - overlap)
            was_more = self._last is not None and self._last[0]
            self._last, size = (page.more, len(page.rows)), len(page.rows)
            keys = [_key(row, self.query.level) for row in page.rows]
            if overlap and not (keys and keys[0] in known):
                offset = max(self.query.offset, offset - STEP_BACK)
                overlap = int(offset > self.query.offset)
                continue
            if not size:
                self.complete = not (page.more or was_more)
                return
            fresh = known.note(keys)
            offset += size - overlap
            overlap = int(self.is_thorough and size >= SHARED_BY and bool(fresh))
            stale.note(keys, any_fresh=bool(fresh))
            if stale.first_again == FIRST_PAGES_AGAIN:
                if self._comes_from(offset + FAR_OFF, keys[0]):
                    self._offset_is_ignored(page)
                    return
                stale.first_again = 0
            if stale.end_again == LAST_PAGES_AGAIN:
                self.complete = not page.more
                return
            if stale.pages > MOST_STALE_PAGES and stale.rows > self.found:
                raise ProtocolError("the server's search results go round in a circle")
            room = None if self.wanted is None else self.wanted - self.found
            rows = [page.rows[index] for index in fresh[:room]]
            del page
            for row in rows:
                self.found += 1
                yield row
            del rows
        self.complete = False

    def _comes_from(self, offset: int, key: bytes) -> bool:
        """Whether a row comes first even so far off."""
        rows = fetch_page(self.context, self.query.target(1, offset)).rows
        return bool(rows) and _key(rows[0], self.query.level) == key

    def _next(self, offset: int) -> Page:
        size = self.limit or self.context.page_size
        if self.wanted is not None:
            size = min(size, self.wanted - self.found)
        try:
            target = self.query.target(size, offset)
            return fetch_page(self.context, target)
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
            return Page([])

    def _offset_is_ignored(self, page: Page) -> None:
        """Judge by one page, which is all there is to be had, whether it is all there is."""
        size = self.limit or self.context.page_size
        if page.more or len(page.rows) >= size or len(page.rows) % LIKELY_CAP == 0:
            self.complete = False
            self.context.notify(
                f"the server ignores offset: only the first {self.found} results can be had"
            )


class _Known:
    """Remembers rows by their keys: the last so many, so that memory stays bounded."""

    def __init__(self) -> None:
        self._keys: dict[bytes, None] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def note(self, keys: list[bytes]) -> list[int]:
        """Remember the rows of a page; tell which were not known, by their places in it."""
        fresh = []
        for index, key in enumerate(keys):
            if key in self._keys:
                del self._keys[key]  # to come last again
            else:
                fresh.append(index)
            self._keys[key] = None
        for key in list(islice(self._keys, max(0, len(self._keys) - ROWS_REMEMBERED))):
            del self._keys[key]
        return fresh


@dataclass
class _Stale:
    """Counts pages in a row without a row that is new, and what they have in common."""

    pages: int = 0
    rows: int = 0
    first_again: int = 0  # that begin as the first page did
    end_again: int = 0  # that end as the one before, and are no full pages
    _first: bytes = b""
    _last: bytes = b""
    _largest: int = 0

    def note(self, keys: list[bytes], *, any_fresh: bool) -> None:
        """Count a page."""
        self._first = self._first or keys[0]
        self._largest = max(self._largest, len(keys))
        ends_again = keys[-1] == self._last and len(keys) < self._largest
        self._last = keys[-1]
        if any_fresh:
            self.pages = self.rows = self.first_again = self.end_again = 0
            return
        self.pages += 1
        self.rows += len(keys)
        self.first_again = self.first_again + 1 if keys[0] == self._first else 0
        self.end_again = self.end_again + 1 if ends_again else 0


def uid(row: Dataset, tag: str) -> str:
    """Return a UID of a row, "" if it is missing or cannot be one."""
    found = json_model.text(row, tag)
    return found if is_usable_uid(found) else ""


def resource_of(row: Dataset, level: Level, parent: Resource) -> Resource | None:
    """Return the resource a row stands for, what it does not say taken from its parent.

    None for a row without the UIDs it takes, or with ones that cannot be.
    """
    study = parent.study or uid(row, STUDY_UID)
    series = parent.series or uid(row, SERIES_UID)
    instance = uid(row, INSTANCE_UID)
    match level:
        case Level.STUDIES:
            return Resource(study) if study else None
        case Level.SERIES:
            return Resource(study, series) if study and series else None
        case _:
            return Resource(study, series, instance) if study and series and instance else None


def _key(row: Dataset, level: Level) -> bytes:
    """Tell rows apart by a digest of their UIDs, or of all they hold if there are none."""
    tags = [STUDY_UID, SERIES_UID, INSTANCE_UID]
    depth = [Level.STUDIES, Level.SERIES, Level.INSTANCES].index(level)
    own = json_model.text(row, tags[depth])
    uids = "/".join([*(json_model.text(row, tag) for tag in tags[:depth]), own])
    text = uids if own else json.dumps(row, sort_keys=True)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _escape(text: str) -> str:
    return quote(text, safe=_UNESCAPED)
