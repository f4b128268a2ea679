"""Which of the files that are found are stored, and in which order."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any

from dcmweb.counted import plural
from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.local import windows
from dcmweb.sources import Found, Stamp
from dcmweb.wildcards import Matches, matcher

_AGE = re.compile(r"([0-9]{1,9})\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_Tests = Sequence[Matches]
_REASONS = ("--include", "--exclude", "--newer-than")
_HOW_NEW = "give an age, as 24h or 7d, or a date, as 2026-11-01 or 2026-11-01T18:00"


class Order(str, Enum):
    """The order in which files are stored."""

    PATH = "path"
    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"
    SMALLEST = "smallest"


_KEYS: dict[Order, Callable[[Stamp], int]] = {
    Order.PATH: lambda _: 0,
    Order.NEWEST: lambda stamp: -stamp.mtime_ns,
    Order.OLDEST: lambda stamp: stamp.mtime_ns,
    Order.LARGEST: lambda stamp: -stamp.size,
    Order.SMALLEST: lambda stamp: stamp.size,
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Rules for the files to store. Raises UsageError for what cannot be.

    A file is stored if one of `include` matches, or there is none, and no one of `exclude` does.
    A mask without a slash is for the name of a file, one with slashes for the end of its path, one
    that ends with a slash for a folder above it. `newer_than` is an age such as 24h, or a date in
    the time zone of this machine. `order` is that of `Order`; "" is the order in which files are
    found.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    newer_than: str = ""
    order: Order | None = None
    _since: float | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what is given."""
        object.__setattr__(self, "_since", read_newer_than(self.newer_than, time.time()))
        for mask in (*self.include, *self.exclude):
            if not mask.strip("/"):
                raise UsageError(f"{mask!r} is not a mask", "give one such as *.dcm or thumbs/")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be pickled, and is made again."""
        made = ("_includes", "_excludes")
        return {name: value for name, value in self.__dict__.items() if name not in made}

    @cached_property
    def _includes(self) -> _Tests:
        return _tests(self.include)

    @cached_property
    def _excludes(self) -> _Tests:
        return _tests(self.exclude)

    def has(self, found: Found) -> bool:
        """Return True if a file is to be stored."""
        return found.file is None or not self._why_not(found)

    def of(
        self,
        files: Iterable[Found],
        notify: Callable[[str], None] = lambda _: None,
        *,
        may_be_none: bool = False,
    ) -> Iterator[Found]:
        """Yield the files that are to be stored; `notify` is told how many are left out, and why.

        What could not be found or looked at passes, to be named. Raises NothingMatched if the masks
        leave out all files, unless there `may_be_none`.
        """
        chosen = self._chosen(files, notify, may_be_none) if self._is_filter else iter(files)
        return _sorted(chosen, self.order) if self.order else chosen

    @property
    def _is_filter(self) -> bool:
        return bool(self.include or self.exclude or self.newer_than)

    def _chosen(
        self, files: Iterable[Found], notify: Callable[[str], None], may_be_none: bool
    ) -> Iterator[Found]:
        left_out: Counter[str] = Counter()
        count = 0
        for found in files:
            reason = "" if found.file is None else self._why_not(found)
            left_out[reason] += 1
            if not reason:
                count += 1
                yield found
        del left_out[""]
        if left_out:
            said = ", ".join(f"{left_out[one]:,} by {one}" for one in _REASONS if left_out[one])
            words = f"left out {plural(left_out.total(), 'file')}: {said}"
            if not (count or may_be_none or "--newer-than" in left_out):
                raise NothingMatched(words, "check the masks")
            notify(words)

    def _why_not(self, found: Found) -> str:
        """Return the option that leaves a file out, "" if it is stored."""
        path = found.path.replace(os.sep, "/")
        if self._includes and not any(test(path) for test in self._includes):
            return "--include"
        if any(test(path) for test in self._excludes):
            return "--exclude"
        if self._since is not None and found.file is not None:
            stamp = _stamp(found)
            if stamp and stamp.mtime_ns and stamp.mtime_ns / 1e9 < self._since:
                return "--newer-than"
        return ""


def read_newer_than(text: str, now: float) -> float | None:
    """Return the time since when files are new, in seconds since 1970; None for "".

    Raises UsageError for what is neither an age nor a date.
    """
    if not text:
        return None
    if age := _AGE.fullmatch(text.strip()):
        return now - int(age[1]) * _SECONDS[age[2].lower()]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"--newer-than is {text!r}", _HOW_NEW) from None


def _tests(masks: Iterable[str]) -> _Tests:
    flags = re.DOTALL | (re.IGNORECASE if windows.IS_WINDOWS else 0)
    return [_test(mask.replace(os.sep, "/"), flags) for mask in masks]


def _test(mask: str, flags: int) -> Matches:
    matches = matcher(mask.strip("/"), flags)
    depth = mask.strip("/").count("/") + 1
    if mask.endswith("/"):
        return lambda path: any(map(matches, _runs(path.split("/")[:-1], depth)))
    if "**" in mask:
        return lambda path: any(map(matches, _ends(path.split("/"))))
    return lambda path: matches("/".join(path.split("/")[-depth:]))


def _runs(names: Sequence[str], depth: int) -> Iterator[str]:
    """Yield so many names in a row, from each on."""
    return ("/".join(names[at : at + depth]) for at in range(len(names) - depth + 1))


def _ends(names: Sequence[str]) -> Iterator[str]:
    """Yield the ends of a path, from each name on."""
    return ("/".join(names[at:]) for at in range(len(names)))


def _stamp(found: Found) -> Stamp | None:
    return found.file.stamp() if found.file else None


def _sorted(files: Iterable[Found], order: Order) -> Iterator[Found]:
    """Yield files in an order, by path where they are alike; first what is not a file.

    They wait in a temporary database, so that memory does not grow. Raises UsageError for files in
    archives and buckets, which are read in the order in which they are found.
    """
    with closing(sqlite3.connect("")) as waiting:
        waiting.execute("CREATE TABLE file (key INTEGER, path BLOB, named INTEGER)")
        for found in files:
            if found.file is None:
                yield found
                continue
            if not isinstance(found.file, LocalFile):
                raise UsageError(
                    f"--sort is for files in folders, and {found.path} is not one",
                    "leave out --sort",
                )
            key = _KEYS[order](_stamp(found) or Stamp(0, 0))
            row = (key, os.fsencode(found.path), found.named)
            waiting.execute("INSERT INTO file VALUES (?, ?, ?)", row)
        for path, named in waiting.execute("SELECT path, named FROM file ORDER BY key, path"):
            text = os.fsdecode(path)
            yield Found(text, bool(named), file=LocalFile(text))
