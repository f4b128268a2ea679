"""Reads the UIDs of files that are laid out like others before, without a walk over their elements.

Files of one series have the same elements with the same lengths up to their UIDs, or nearly. What a
walk does depends on the bytes that it reads alone: headers of elements, not values. So a pattern of
the headers that it read, each at its place, matches the files in which it would read the same.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

_PREAMBLE = 132  # bytes, with the prefix
_LONGEST_READ = 64  # bytes of a header, or of a UID; what reads more does not walk
_MOST = 8  # patterns that are kept
_FIRST_MISSES = 8  # files before one is learned: few files are not worth it
_FREE = 4  # patterns that are learned whether they are of use or not: each takes a millisecond
_WORTH = 64  # files that a pattern has to match for one more to be learned

Walk = Callable[[io.BytesIO], object]


class _Layout(NamedTuple):
    """The headers that a walk reads, as a pattern whose groups are values, and their tags.

    The `fixed` values are part of the pattern.
    """

    pattern: re.Pattern[bytes]
    tags: tuple[int, ...]
    fixed: dict[int, str]


class KnownLayouts:
    """The layouts of the last files. Threads may use it at the same time."""

    def __init__(
        self,
        walk: Walk,
        tags: frozenset[int],
        fixed: int,
        texts: Callable[[Iterable[bytes]], list[str]],
    ) -> None:
        """Know nothing yet; `walk` reads a data set from behind its preamble, up to its UIDs.

        `tags` are those of the values that it reads and returns, `fixed` that of a value by which
        it decides how to go on. `texts` are the values as text.
        """
        self._walk = walk
        self._tags = tags
        self._fixed = fixed
        self._texts = texts
        self._layouts: list[_Layout] = []
        self._misses = self._hits = self._learned = 0

    @property
    def are_known(self) -> bool:
        """Whether there is any."""
        return bool(self._layouts)

    def values(self, head: bytes) -> dict[int, str] | None:
        """Return the values in the head of a file; None if it is laid out like none before."""
        for layout in self._layouts:
            if match := layout.pattern.match(head):
                self._hits += 1
                found = dict(zip(layout.tags, self._texts(match.groups()), strict=True))
                found.update(layout.fixed)
                return found
        self._misses += 1
        return None

    def learn(self, head: bytes) -> None:
        """Note the layout of a file that was none of the known ones, if that may be worth it."""
        if self._misses <= _FIRST_MISSES or self._learned >= _FREE + self._hits // _WORTH:
            return
        self._learned += 1
        file = _Noting(head)
        file.seek(_PREAMBLE)
        self._walk(file)
        if layout := self._layout_of(file.reads):
            self._layouts = [layout, *self._layouts[: _MOST - 1]]  # at once, for other threads

    def _layout_of(self, reads: dict[int, bytes]) -> _Layout | None:
        """Make a pattern of the elements that were read, and of their places."""
        parts, tags, end = [rb".{128}DICM"], [], _PREAMBLE
        fixed: dict[int, str] = {}
        last = b""
        for start, data in sorted(reads.items()):
            if start < end:
                return None  # something was read twice
            parts.append(b".{%d}" % (start - end) if start > end else b"")
            tag = _tag_of_value(last, len(data)) if start == end else 0
            if tag in self._tags:
                parts.append(b"(.{%d})" % len(data))
                tags.append(tag)
            elif len(data) > _LONGEST_READ:
                return None
            else:
                parts.append(re.escape(data))
                if tag == self._fixed:
                    fixed.update(zip([tag], self._texts([data]), strict=True))
            last, end = data, start + len(data)
        return _Layout(re.compile(b"".join(parts), re.DOTALL), tuple(tags), fixed)


def _tag_of_value(header: bytes, size: int) -> int:
    """Return the tag of an element by its header, if its value has this size; 0 for others."""
    if len(header) != 8:
        return 0
    group, element, length = struct.unpack("<HHL", header)
    is_value = size in (length, length >> 16)  # without a VR, or with one
    return group << 16 | element if is_value else 0


class _Noting(io.BytesIO):
    """Notes what is read, and where."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: dict[int, bytes] = {}

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and note it."""
        start = self.tell()
        data = super().read(size)
        if len(data) > len(self.reads.get(start, b"")):
            self.reads[start] = data
        return data
