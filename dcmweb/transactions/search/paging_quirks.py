"""What servers do to pages of results beside PS3.18 section 8.3.4, each recognised by itself.

All of them are told the keys of the rows of each page, in order, and whether any row is new.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from dcmweb.settings.servers import SERVERS

# The smallest of the largest limits that servers have: others are answered with 400 by Azure.
SMALL_PAGE = min(server.page for server in SERVERS if server.page)
LIKELY_CAP = 50  # servers that cap their pages do so at a multiple of this
ROWS_REMEMBERED = 100_000  # to recognise rows that come again
FIRST_PAGES_AGAIN = 3
FAR_OFF = 1000
SHARED_BY = 10
STEP_BACK = 100
LAST_PAGES_AGAIN = 5
MOST_STALE_PAGES = 100


def may_be_capped(size: int, limit: int) -> bool:
    """Return True if a page of so many rows may hold fewer than there are, by its size alone."""
    return size >= limit or size % LIKELY_CAP == 0


class RowKey(NamedTuple):
    """What tells rows apart: digests of the UIDs of a row, and of all that is in it."""

    uids: bytes
    content: bytes


class RememberedRows:
    """The last rows that came, to recognise them when results shift.

    Azure's DICOM service lists the newest first: what is stored meanwhile moves the others to a
    later page. Only so many rows are kept, so that memory stays bounded. Only what came on an
    earlier page is a repetition: two rows of one page are two, and so are two that share their UIDs
    and differ, unless each resource is wanted `once`.
    """

    def __init__(self, *, once: bool = False) -> None:
        self._once = once
        self._contents: dict[bytes, bytes] = {}  # of the last row with these UIDs
        # How many of one page had a content, if these were several, or rows that share their UIDs.
        self._counts: dict[bytes, int] = {}
        self.any_share = False  # two rows that differ share their UIDs

    def __contains__(self, uids: bytes) -> bool:
        return uids in self._contents

    def note(self, keys: list[RowKey], *, shares_first: bool = False) -> list[int]:
        """Remember the rows of a page; return the places in it of those that are new.

        With `shares_first`, the first row came before, even if it has changed meanwhile.
        """
        fresh = []
        here: dict[bytes, int] = {}
        for index, (uids, whole) in enumerate(keys):
            content = uids if self._once else whole
            number = here[content] = here.get(content, 0) + 1
            is_known = uids in self._contents
            is_shared = shares_first and index == 0 and is_known
            if number > self._count(uids, content) and not is_shared:
                if not (self._once and number > 1):
                    fresh.append(index)
                self.any_share |= is_known and number == 1
            self._remember(uids, content)
        for content, number in here.items():
            if number > 1 or content in self._counts:
                self._counts[content] = max(number, self._counts.pop(content, 0))
        for remembered in (self._counts, self._contents):
            for one in list(islice(remembered, max(0, len(remembered) - ROWS_REMEMBERED))):
                del remembered[one]
        return fresh

    def _count(self, uids: bytes, content: bytes) -> int:
        """Return how many rows of one page had a content, of the pages that came before."""
        return self._counts.get(content) or int(self._contents.get(uids) == content)

    def _remember(self, uids: bytes, content: bytes) -> None:
        """Make a row the last that is forgotten."""
        before = self._contents.pop(uids, content)
        if before != content:
            self._counts.setdefault(before, 1)
        self._contents[uids] = content


class Position:
    """Where the next page begins.

    Results shift to an earlier page as rows before them are deleted, by another client perhaps.
    A page that shares its first row with the end of the page before shows that none did.
    """

    def __init__(self, start: int) -> None:
        self.start = self.offset = start
        self._shared = 0

    @property
    def asked(self) -> int:
        """The offset to ask for."""
        return self.offset - self._shared

    def has_slipped(self, keys: list[bytes], known: RememberedRows) -> bool:
        """Return True, and step back, if a page does not begin with a row that came before."""
        if not self._shared or (keys and keys[0] in known):
            return False
        self.offset = max(self.start, self.offset - STEP_BACK)
        self._shared = int(self.offset > self.start)
        return True

    @property
    def shares_first(self) -> bool:
        """Whether the page that was asked for begins with the last row of the one before."""
        return bool(self._shared)

    def advance(self, rows: int, *, shares: bool) -> None:
        """Go past a page, by the rows that came: servers that cap their pages send fewer.

        `shares` lets the next page begin with the last row of this one, if it is not too small.
        """
        self.offset += rows - self._shared
        self._shared = int(shares and rows >= SHARED_BY)


class IgnoredOffset:
    """A server that sends the first page whatever the offset, as dcmjs-org/dicomweb-server does.

    (Its issue 19.) Results that shift can bring the first page again as well, once or twice, so
    whoever asks must be sure: by a look at a page that is FAR_OFF.
    """

    def __init__(self) -> None:
        self._first = b""
        self._again = 0

    def is_likely(self, keys: list[bytes], *, any_new: bool) -> bool:
        """Return True each time that the first page has come so many times in a row."""
        self._first = self._first or keys[0]
        self._again = self._again + 1 if not any_new and keys[0] == self._first else 0
        if self._again < FIRST_PAGES_AGAIN:
            return False
        self._again = 0
        return True


class RestlessEnd:
    """An end that moves on, as where a study comes in between any two requests.

    One row is always left over, so no page is ever empty; it is a row that came before.
    """

    def __init__(self) -> None:
        self._last = b""
        self._largest = self._again = 0

    def is_reached(self, keys: list[bytes], *, any_new: bool) -> bool:
        """Return True if the last pages were short, and all ended with the same row."""
        self._largest = max(self._largest, len(keys))
        ends_again = keys[-1] == self._last and len(keys) < self._largest
        self._last = keys[-1]
        self._again = self._again + 1 if ends_again and not any_new else 0
        return self._again == LAST_PAGES_AGAIN


class Circle:
    """A server that begins anew behind the end, so that its results never end."""

    def __init__(self) -> None:
        self._pages = self._rows = 0

    def is_closed(self, keys: list[bytes], found: int, *, any_new: bool) -> bool:
        """Return True if so many pages, and more rows than were found, held nothing new."""
        self._pages = 0 if any_new else self._pages + 1
        self._rows = 0 if any_new else self._rows + len(keys)
        return self._pages > MOST_STALE_PAGES and self._rows > found
