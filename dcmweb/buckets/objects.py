"""Objects of buckets as files to be read.

An object is read in ranges, each on the condition that it still has the entity tag that it had
when it was opened: bytes of two versions are never mixed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, BinaryIO

from dcmweb.buckets.connection import CHANGED, translating
from dcmweb.errors import LocalError, NotDicom
from dcmweb.sources import Content, Keeper, RandomReader, Stamp

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

KEPT = 16 * 1024 * 1024  # bytes of objects that are kept until they are sent; others: read again
FIRST, PIECE = 1024 * 1024, 4 * 1024 * 1024  # bytes of the first request, and of those behind it
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ObjectFile:
    """An object to be read; its state is known if it was listed."""

    path: str
    bucket: ObjectStore
    key: str
    listed: Stamp | None = None
    is_passing: bool = field(default=False, init=False)

    def stamp(self) -> Stamp | None:
        """Return what the list said of the object."""
        return self.listed

    @contextmanager
    def open(self, keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        """Open the object; a small one is read as a whole and kept, in one request if possible.

        Raises LocalError if it cannot be read, NotDicom if it is empty.
        """
        content, start = self._first()
        whole: Content = content
        if keeper and content.size <= KEPT:
            whole = keeper.keep(self.path, content.stamp, content.pieces(start))
        with whole.open() as reader:
            yield reader, whole

    def _first(self) -> tuple[ObjectContent, bytes]:
        """Read the first bytes, and what the object is that they are of."""
        import obstore

        if self.listed is not None and not self.listed.size:
            raise NotDicom("the file is empty", path=self.path)
        with translating(self.path):
            try:
                result = obstore.get(self.bucket, self.key, options={"range": (0, FIRST)})
            except obstore.exceptions.GenericError:
                if obstore.head(self.bucket, self.key)["size"]:
                    raise
                raise NotDicom("the file is empty", path=self.path) from None
            meta = result.meta
            content = ObjectContent(self.path, self.bucket, self.key, meta["e_tag"], stamp_of(meta))
            return content, bytes(result.bytes())


@dataclass(frozen=True)
class ObjectContent:
    """The bytes of an object as it was when it was opened, read from the bucket each time."""

    path: str
    bucket: ObjectStore
    key: str
    tag: str | None
    stamp: Stamp

    @property
    def size(self) -> int:
        """Bytes in the object."""
        return self.stamp.size

    def pieces(self, start: bytes = b"") -> Iterator[bytes]:
        """Yield the bytes, the first of which may have been read already."""
        if start:
            yield start
        for at in range(len(start), self.size, PIECE):
            yield self._read(at, min(PIECE, self.size - at))

    def open(self) -> BinaryIO:
        """Return a stream of the bytes, read as they are needed."""
        return io.BufferedReader(RandomReader(self.size, self._read), FIRST)

    def check(self) -> None:
        """Do nothing: each request was made on the condition that the object is as it was."""

    def _read(self, start: int, size: int) -> bytes:
        import obstore

        options: GetOptions = {"range": (start, start + size)}
        if self.tag:
            options["if_match"] = self.tag
        with translating(self.path):
            result = obstore.get(self.bucket, self.key, options=options)
            data = bytes(result.bytes())
        # A server may have no entity tags, or may not know the condition.
        is_same = result.meta["e_tag"] == self.tag and stamp_of(result.meta) == self.stamp
        if not is_same or len(data) != size:
            raise LocalError(CHANGED, path=self.path)
        return data


def stamp_of(meta: ObjectMeta) -> Stamp:
    """Return size and time of change of an object."""
    microseconds = (meta["last_modified"] - _EPOCH) // timedelta(microseconds=1)
    return Stamp(meta["size"], microseconds * 1000)
