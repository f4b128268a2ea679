"""The members of tar archives, found one by one (POSIX pax, ustar and GNU tar formats).

The module `tarfile` takes a damaged header in the middle of an archive for its end, and reads
header records of any size into memory. Here, only its reader of single headers is used.
"""

from __future__ import annotations

import io
import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from dcmweb.dicom.byte_ranges import read_range
from dcmweb.dicom.part10 import may_be_dicom
from dcmweb.errors import LocalError, NotDicom
from dcmweb.local.broken_archive import BrokenArchive
from dcmweb.sources import Content, Keeper, RandomReader, Stamp

PIECE = 256 * 1024
LARGE = 16 * 1024 * 1024  # bytes of a member that is looked at before it is kept
_BLOCK = 512
_LARGEST = 1 << 60  # bytes: no file is so large, and offsets stay within what systems take
_LATEST = 1 << 33  # seconds; a later time of change is a mistake
_MOST_DIGITS = 9  # in the length of a record
_LONGEST_RECORD = 256 * 1024  # of what comes before a header: a long name, attributes
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
_OTHER_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a link to another file of the archive",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


@dataclass(frozen=True)
class Entry:
    """What a header says: of which kind, and where its bytes are in the unpacked archive."""

    path: str
    kind: bytes
    stamp: Stamp
    start: int
    has_data: bool
    is_sparse: bool

    @property
    def end(self) -> int:
        """Where the next header is."""
        return self.start + -(-self.stamp.size // _BLOCK) * _BLOCK * self.has_data

    def check_kind(self) -> None:
        """Raise NotDicom if it is not a file, LocalError if its bytes are not in one piece."""
        if self.kind in _OTHER_KINDS:
            raise NotDicom(_OTHER_KINDS[self.kind], path=self.path)
        if self.is_sparse:
            raise LocalError("stored as a sparse file: unpack the archive first", path=self.path)


@dataclass(frozen=True)
class TarMember:
    """A file in an archive that is not compressed; `container` has the bytes of the archive."""

    entry: Entry
    container: Content
    is_passing: bool = field(default=False, init=False)

    @property
    def path(self) -> str:
        """What it is called."""
        return self.entry.path

    def stamp(self) -> Stamp:
        """Return what the header says."""
        return self.entry.stamp

    @contextmanager
    def open(self, _keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        """Open the member. Raises LocalError if it is cut short, NotDicom for a link."""
        self.entry.check_kind()
        content = TarContent(self.entry, self.container)
        if self.entry.start + self.entry.stamp.size > self.container.size:
            raise content.cut_short()
        with content.open() as reader:
            yield reader, content


@dataclass(frozen=True)
class TarContent:
    """The bytes of a member, read from where they are in the archive."""

    entry: Entry
    container: Content

    @property
    def size(self) -> int:
        """Bytes in the member."""
        return self.entry.stamp.size

    @property
    def stamp(self) -> Stamp:
        """What the header says."""
        return self.entry.stamp

    def cut_short(self) -> LocalError:
        """Make the error for an archive that ends too early."""
        return LocalError("damaged: the archive ends inside it", path=self.entry.path)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; the last piece is held back until the archive is known to be as before.

        Raises LocalError, which names the member.
        """
        left = self.size
        with self._renaming(), self.container.open() as file:
            for piece in read_range(file, self.entry.start, self.size, self.cut_short()):
                left -= len(piece)
                if not left:
                    self.container.check()
                yield piece

    def open(self) -> BinaryIO:
        """Return a stream of the bytes."""
        return _View(self.container.open(), self.entry.start, self.size)

    def check(self) -> None:
        """Raise LocalError, which names the member, if the archive has changed."""
        with self._renaming():
            self.container.check()

    @contextmanager
    def _renaming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LocalError(error.strerror or str(error), path=self.entry.path) from error
        except LocalError as error:
            raise LocalError(error.message, path=self.entry.path) from error


class _View(io.BufferedReader):
    """A part of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        def read_at(at: int, wanted: int) -> bytes:
            file.seek(start + at)
            return file.read(wanted)

        super().__init__(RandomReader(size, read_at))
        self._file = file

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class PassingMember:
    """A file in a compressed archive, which goes by: it is opened now, or never."""

    entry: Entry
    stream: BinaryIO
    is_passing: bool = field(default=True, init=False)

    @property
    def path(self) -> str:
        """What it is called."""
        return self.entry.path

    def stamp(self) -> Stamp:
        """Return what the header says."""
        return self.entry.stamp

    @contextmanager
    def open(self, keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        """Keep the bytes; of a large member that is not DICOM, no more than its beginning.

        Raises LocalError if it is damaged or there is no room, NotDicom for a link.
        """
        self.entry.check_kind()
        if keeper is None:
            raise LocalError("the archive has to be read from its start", path=self.path)
        content = keeper.keep(self.path, self.entry.stamp, self._pieces())
        with content.open() as reader:
            yield reader, content

    def _pieces(self) -> Iterator[bytes]:
        left = self.entry.stamp.size
        is_first = True
        try:
            self.stream.seek(self.entry.start)
            while left:
                piece = self.stream.read(min(left, PIECE))
                if not piece:
                    raise EOFError("the archive ends inside it")
                left -= len(piece)
                yield piece
                if is_first and self.entry.stamp.size > LARGE and not may_be_dicom(piece):
                    return
                is_first = False
        except UNPACKING_ERRORS as error:
            raise LocalError(f"damaged in the archive: {error}", path=self.path) from error


def tar_members(
    name: str, container: Content, stream: BinaryIO, *, is_compressed: bool
) -> Iterator[TarMember | PassingMember]:
    """Yield the files in an archive; `stream` is the archive, unpacked where it was compressed.

    After a damaged header the next good one is looked for. Raises BrokenArchive at the end if
    anything was damaged, or if the archive does not end as it should.
    """
    headers = _Headers(name, stream, sys.maxsize if is_compressed else container.size)
    for entry in headers:
        if is_compressed:
            yield PassingMember(entry, stream)
        else:
            yield TarMember(entry, container)
    if headers.problem:
        raise BrokenArchive(headers.problem)


class _Headers:
    """Reads the headers of an archive one by one; `problem` says afterwards what was wrong."""

    def __init__(self, name: str, stream: BinaryIO, size: int) -> None:
        self.problem = ""
        self._size = size
        self._name = name
        self._stream = stream
        self._last = ""  # where in the archive this is, for people
        self._at = 0

    def __iter__(self) -> Iterator[Entry]:
        long_name, attributes = "", dict[str, str]()
        while (info := self._next()) is not None:
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                record = self._record(info)
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    long_name = _text(record.partition(b"\0")[0])
            elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                attributes = _attributes(self._record(info))
            elif info.type == tarfile.XGLTYPE:
                self._record(info)
            else:
                entry = self._entry(info, long_name, attributes)
                long_name, attributes = "", {}
                self._at = entry.end
                self._last = f" after {entry.path}"
                if not (info.isdir() or entry.path.endswith("/")):
                    yield entry

    def _next(self) -> tarfile.TarInfo | None:
        """Read the next header; None at the end of the archive."""
        is_lost = False
        try:
            while True:
                self._stream.seek(min(self._at, self._size))
                block = self._stream.read(_BLOCK)
                self._at += _BLOCK
                if len(block) < _BLOCK:
                    self._note("it ends without an end mark: it may be cut short")
                    return None
                if not any(block):
                    if not is_lost:
                        return None
                    continue  # zeros may be in the data of the member whose header is damaged
                try:
                    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                except tarfile.HeaderError:
                    self._note("a header is damaged")
                    is_lost = True
        except UNPACKING_ERRORS as error:
            self._note(f"it cannot be read further: {error}")
            return None

    def _note(self, words: str) -> None:
        self.problem = self.problem or f"{words}{self._last}"

    def _record(self, info: tarfile.TarInfo) -> bytes:
        """Read what stands before a header; of one that is too long, nothing."""
        start, size = self._at, info.size
        self._at += -(-max(0, size) // _BLOCK) * _BLOCK
        if not 0 <= size <= _LONGEST_RECORD:
            self._note("a header is far too long")
            return b""
        try:
            self._stream.seek(start)
            return self._stream.read(size)
        except UNPACKING_ERRORS:
            return b""  # the next header is not found either, and that is noted

    def _entry(self, info: tarfile.TarInfo, long_name: str, attributes: dict[str, str]) -> Entry:
        name = attributes.get("path") or long_name or info.name
        size = max(0, _number(attributes.get("size"), info.size))
        mtime = _number(attributes.get("mtime"), info.mtime)
        is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(
            key.startswith("GNU.sparse.") for key in attributes
        )
        has_data = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
        return Entry(
            path=f"{self._name}!/{name}",
            kind=info.type,
            stamp=Stamp(int(min(size, _LARGEST)), _mtime_ns(mtime)),  # it may be infinite
            start=self._at,
            has_data=has_data,
            is_sparse=is_sparse,
        )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _number(text: str | None, otherwise: float) -> float:
    """Read a number of an extended header, if there is one that can be read."""
    if text is None:
        return otherwise
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return otherwise


def _mtime_ns(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1000 if abs(seconds) < _LATEST else 0


def _attributes(record: bytes) -> dict[str, str]:
    """Read the records of an extended header: `LENGTH KEY=VALUE`, each with a line end."""
    found = {}
    while record:
        length, space, _ = record.partition(b" ")
        if not space or not length.isdigit() or len(length) > _MOST_DIGITS:
            break
        if int(length) <= len(length) + 1:
            break
        key, _, value = record[len(length) + 1 : int(length) - 1].partition(b"=")
        found[_text(key)] = _text(value)
        record = record[int(length) :]
    return found
