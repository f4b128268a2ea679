"""A place in a bucket that files are written into: each appears whole, or not at all.

A file is written to a temporary file first, since it is checked and named when it is complete.
What S3 lists of an upload in several parts that was never finished is not an object.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from dcmweb.buckets.addresses import Address
from dcmweb.buckets.connection import bucket_at, is_missing, root_of, translating
from dcmweb.buckets.objects import ObjectFile
from dcmweb.errors import LocalError
from dcmweb.sources import Stamp
from dcmweb.temporary import check_room, using_temporary_files

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART = 8 * 1024 * 1024  # bytes; a file with more of them is uploaded in parts
MOST_PARTS = 9000  # S3 takes 10,000
AT_ONCE = 2  # parts of one file
PIECE = 256 * 1024
FOLDERS_KNOWN, MOST_NAMES = 64, 10_000  # what is remembered of listings, for files that are there


@dataclass
class BucketFolder:
    """The beginning of keys; what it does is described in `dcmweb.folders`."""

    address: Address
    _listings: OrderedDict[str, dict[str, int] | None] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def bucket(self) -> ObjectStore:
        """The bucket. Raises UsageError if obstore is not installed."""
        return bucket_at(root_of(self.address))

    def prepare(self) -> None:
        """Check that there is what the bucket is reached by; nothing is sent."""
        _ = self.bucket

    def check_space(self, size: int) -> None:
        """Raise LocalError if there is no room for the temporary file."""
        check_room(size)

    @contextmanager
    def new_file(self) -> Iterator[NewObject]:
        """Open a temporary file that can become an object."""
        with using_temporary_files():
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        with file:
            yield NewObject(self, file)

    @contextmanager
    def whole_file(self, content: bytes) -> Iterator[NewObject]:
        """Write a temporary file that can become an object."""
        with self.new_file() as file:
            file.write(content)
            yield file

    def key(self, path: str) -> str:
        """Return the key of a file."""
        names = [self.address.key.strip("/"), path.replace(os.sep, "/").strip("/")]
        return "/".join(filter(None, names))

    def whole(self, path: str) -> str:
        """Return the address of a file."""
        return f"{self.address.root}/{self.key(path)}"

    def file(self, path: str) -> ObjectFile:
        """Return an object to be read."""
        return ObjectFile(self.whole(path), self.bucket, self.key(path))

    def stamp(self, path: str) -> Stamp | None:
        """Return the size of an object, without a time; None if it is not there.

        The objects beside it come with the same listing: remember them.
        """
        folder, _, name = self.key(path).rpartition("/")
        with self._lock:
            is_known = folder in self._listings
            listing = self._listings.get(folder)
        if not is_known:
            listing = self._list(folder)
            with self._lock:
                self._listings[folder] = listing
                if len(self._listings) > FOLDERS_KNOWN:
                    self._listings.popitem(last=False)
        size = self.size_of(path) if listing is None else listing.get(name)
        return None if size is None else Stamp(size, 0)

    def may_have(self, path: str) -> bool:
        """Return True if an object below a prefix is listed."""
        import obstore

        prefix = self.key(path)
        with translating(self.whole(path)):
            return any(obstore.list(self.bucket, prefix or None, chunk_size=1))

    def size_of(self, path: str) -> int | None:
        """Ask for the size of an object; None if it is not there."""
        import obstore

        try:
            with translating(self.whole(path)):
                return obstore.head(self.bucket, self.key(path))["size"]
        except LocalError as error:
            if error.__cause__ is not None and is_missing(error.__cause__):
                return None
            raise

    def _list(self, folder: str) -> dict[str, int] | None:
        """List the objects in a folder by name; None if there are too many to remember."""
        import obstore

        sizes: dict[str, int] = {}
        skipped = len(folder) + 1 if folder else 0
        with translating(f"{self.address.root}/{folder}"):
            for page in obstore.list(self.bucket, folder or None, chunk_size=1000):
                sizes |= {meta["path"][skipped:]: meta["size"] for meta in page}
                if len(sizes) > MOST_NAMES:
                    return None
        return sizes


class NewObject:
    """A temporary file that becomes an object; see `dcmweb.folders.NewFile`."""

    def __init__(self, folder: BucketFolder, file: BinaryIO) -> None:
        self._folder = folder
        self._file = file
        self.size = 0

    @property
    def stamp(self) -> Stamp:
        """The size, without a time: who asks for the object later gets none either."""
        return Stamp(self.size, 0)

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        with using_temporary_files():
            self._file.write(data)
        self.size += len(data)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Read what has been written so far."""
        with using_temporary_files():
            self._file.flush()
            self._file.seek(0)
        try:
            yield self._file
        finally:
            self._file.seek(0, io.SEEK_END)

    def move_to(self, path: str, *, replaces: bool = True) -> str:
        """Upload the file as an object; return its address. Raises LocalError if that failed."""
        address = self._folder.whole(path)
        is_free = True
        with self.reader() as file, translating(address, is_written=True):
            if replaces:
                self._put(path, file)
            else:
                is_free = self._create(path, file)
        if not is_free:
            raise FileExistsError(address)
        return address

    def _put(self, path: str, file: BinaryIO) -> None:
        import obstore

        obstore.put(
            self._folder.bucket,
            self._folder.key(path),
            file.read() if self.size <= PART else file,
            use_multipart=self.size > PART,
            chunk_size=max(PART, self.size // MOST_PARTS + 1),
            max_concurrency=AT_ONCE,
        )

    def _create(self, path: str, file: BinaryIO) -> bool:
        """Upload the file unless there is such an object already; return False if there is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        if self.size <= PART:
            try:
                obstore.put(self._folder.bucket, self._folder.key(path), file.read(), mode="create")
            except AlreadyExistsError:
                return False
            except NotSupportedError:  # as by servers from before this condition was there
                file.seek(0)
            else:
                return True
        if self._folder.size_of(path) is not None:
            return False
        self._put(path, file)
        return True

    def is_same_as(self, path: str) -> bool:
        """Return True if an object has the same bytes."""
        if self._folder.size_of(path) != self.size:
            return False
        with self.reader() as file, self._folder.file(path).open() as (other, _):
            while piece := file.read(PIECE):
                if other.read(len(piece)) != piece:
                    return False
        return True
