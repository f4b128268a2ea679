"""Long lists, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from werkzeug.exceptions import BadRequest

T = TypeVar("T")


@dataclass(frozen=True)
class Slice(Generic[T]):
    """What is on a page of a list; pages count from 1."""

    rows: list[T]
    number: int
    size: int  # rows on a page
    total: int  # of all pages

    @property
    def first(self) -> int:
        """The number of the first row, counted from 1."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.size))


def whole(args: Mapping[str, str], name: str, default: int = 1) -> int:
    """Read a number from 1 on; raises BadRequest for anything else."""
    text = args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise BadRequest(f"{name}: {text[:40]!r} is not a number from 1 on")
    return int(text)
