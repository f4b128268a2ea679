"""The members of ZIP archives, found one by one in the central directory (PKWARE APPNOTE 6.3.10).

The module `zipfile` holds the whole directory in memory, which grows with the number of members.
"""

from __future__ import annotations

import bz2
import calendar
import io
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from dcmweb.errors import LocalError, NotDicom
from dcmweb.local.broken_archive import BrokenArchive
from dcmweb.sources import Content, Keeper, RandomReader, Stamp

KEPT = 16 * 1024 * 1024  # bytes of members that are kept until they are sent; others: read again
PIECE = 256 * 1024

_END, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_END64_PLACE = 20  # bytes that say where the latter is
_ENTRY, _HEADER = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_LONGEST_END = _END.size + 0xFFFF  # with a comment
_LARGEST = 1 << 60  # bytes: no file is so large, and offsets stay within what systems take
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _PATCH, _MASKED, _UTF8 = 0x1, 0x20, 0x2000, 0x800
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_ZIP64, _MADE_ON_UNIX = 0x0001, 3


@dataclass(frozen=True)
class ZipMember:
    """A file in a ZIP archive; `container` has the bytes of the archive."""

    path: str
    container: Content
    size: int
    packed_size: int
    mtime_ns: int
    method: int
    flags: int
    crc: int
    offset: int
    mode: int  # as Unix has it, 0 if the archive was made elsewhere
    is_passing: bool = field(default=False, init=False)

    def stamp(self) -> Stamp:
        """Return what the directory says of the member."""
        return Stamp(self.size, self.mtime_ns)

    @contextmanager
    def open(self, keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        """Open the member; a small one is kept, once its checksum is known to be right.

        Raises LocalError if it is damaged or cannot be unpacked, NotDicom for a link.
        """
        self._check_kind()
        content: Content = ZipContent(self)
        if keeper and self.size <= KEPT:
            content = keeper.keep(self.path, self.stamp(), content.pieces())
        with content.open() as reader:
            yield reader, content

    def _check_kind(self) -> None:
        if stat.S_ISLNK(self.mode):
            raise NotDicom("a symbolic link", path=self.path)
        if self.flags & (_ENCRYPTED | _MASKED):
            raise LocalError("it is encrypted: unpack the archive first", path=self.path)
        if self.method not in (_STORED, _DEFLATED, _BZIP2) or self.flags & _PATCH:
            words = f"it is compressed by method {self.method}, which dcmweb does not know"
            raise LocalError(f"{words}: unpack the archive first", path=self.path)

    def unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the bytes that are in the archive, unpacked but unchecked."""
        with self._translating():
            file.seek(self.offset)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not header.startswith(b"PK\3\4"):
                raise self.damaged("its header is not where the directory says")
            *_, name, extra = _HEADER.unpack(header)
            file.seek(self.offset + _HEADER.size + name + extra)
            yield from _unpack(self.method, _Limited(file, self.packed_size).read)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (zlib.error, OSError, EOFError) as error:
            raise self.damaged(str(error)) from error

    def damaged(self, words: str) -> LocalError:
        """Make the error for a member that cannot be unpacked."""
        return LocalError(f"damaged in the archive: {words}", path=self.path)


@dataclass(frozen=True)
class ZipContent:
    """The bytes of a member, unpacked anew each time they are read."""

    member: ZipMember

    @property
    def size(self) -> int:
        """Bytes in the member."""
        return self.member.size

    @property
    def stamp(self) -> Stamp:
        """What the directory says of the member."""
        return self.member.stamp()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; the last piece is held back until size and checksum are right.

        What does not fit is noticed as soon as there is too much of it.
        """
        member, size, crc, last = self.member, 0, 0, b""
        with member.container.open() as file:
            for piece in member.unpacked(file):
                if last:
                    yield last
                size, crc, last = size + len(piece), zlib.crc32(piece, crc), piece
                if size > member.size:
                    raise member.damaged(f"more comes out than the {member.size:,} bytes it has")
        if size < member.size:
            raise member.damaged(f"{size:,} of {member.size:,} bytes come out")
        if crc != member.crc:
            raise member.damaged("its checksum is wrong")
        self.check()
        if last:
            yield last

    def open(self) -> BinaryIO:
        """Return a stream of the bytes, unchecked. To go back in it is to unpack it again."""
        return io.BufferedReader(_Unpacking(self.member), PIECE)

    def check(self) -> None:
        """Raise LocalError, which names the member, if the archive has changed."""
        try:
            self.member.container.check()
        except LocalError as error:
            raise LocalError(error.message, path=self.member.path) from error


class _Unpacking(RandomReader):
    """A stream of a member that is unpacked from its start to where something is read."""

    def __init__(self, member: ZipMember) -> None:
        super().__init__(member.size, self._read_unpacked)
        self._member = member
        self._file = member.container.open()
        self._begin()

    def _begin(self) -> None:
        self._pieces = self._member.unpacked(self._file)
        self._piece = memoryview(b"")
        self._piece_at = 0

    def _read_unpacked(self, at: int, wanted: int) -> bytes:
        if at < self._piece_at:
            self._begin()
        while True:
            skipped = min(at - self._piece_at, len(self._piece))
            self._piece, self._piece_at = self._piece[skipped:], self._piece_at + skipped
            if self._piece:
                return bytes(self._piece[:wanted])
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = memoryview(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Limited:
    """Reads no more than a number of bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self) -> bytes:
        data = self._file.read(min(PIECE, self._left))
        self._left -= len(data)
        return data


def _unpack(method: int, read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield what packed bytes are unpacked to, in pieces of a limited size."""
    if method == _STORED:
        yield from iter(read, b"")
    elif method == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        while not inflater.eof:
            data = inflater.unconsumed_tail or read()
            piece = inflater.decompress(data, PIECE)
            if piece:
                yield piece
            elif not data:
                return
    else:
        decompressor = bz2.BZ2Decompressor()
        while not decompressor.eof:
            data = read() if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                return
            if piece := decompressor.decompress(data, PIECE):
                yield piece


def zip_members(name: str, container: Content, file: BinaryIO) -> Iterator[ZipMember]:
    """Yield the files in an archive in the order of its directory.

    Raises BrokenArchive where the directory is damaged; what was found before can be read.
    """
    start, shift, count = _directory(file, container.size)
    file.seek(start)
    last, found = "", 0
    while True:
        entry = file.read(_ENTRY.size)
        if not entry.startswith(b"PK\1\2") or len(entry) < _ENTRY.size:
            break
        member, is_folder = _read_entry(name, container, entry, file, shift)
        found += 1
        last = f" after {member.path}"
        if not is_folder:
            yield member
    if found & _MAX16 != count & _MAX16:
        raise BrokenArchive(f"{found:,} of {count:,} entries can be found: it is damaged{last}")


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Find the central directory: where it begins, how offsets are shifted, how many entries.

    Offsets are shifted where something was put before the archive, such as a program.
    """
    tail_start = max(0, size - _LONGEST_END)
    file.seek(tail_start)
    tail = file.read(_LONGEST_END)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise BrokenArchive("it has no directory at its end: it may be cut short")
    place = tail_start + at
    _, _, disk, _, count, length, offset, _ = _END.unpack_from(tail, at)
    file.seek(max(0, place - _END64_PLACE))
    if file.read(_END64_PLACE).startswith(b"PK\6\7"):  # ZIP64
        place -= _END64_PLACE + _END64.size
        file.seek(max(0, place))
        record = file.read(_END64.size)
        if not record.startswith(b"PK\6\6") or len(record) < _END64.size:
            raise BrokenArchive("its directory cannot be found")
        *_, disk, _, count, length, offset = _END64.unpack(record)
    shift = place - length - offset
    if disk not in (0, _MAX16):
        raise BrokenArchive("it is one of several parts")
    if shift < 0:
        raise BrokenArchive("its directory cannot be found")
    return offset + shift, shift, count


def _read_entry(
    archive: str, container: Content, entry: bytes, file: BinaryIO, shift: int
) -> tuple[ZipMember, bool]:
    """Read an entry of the directory, and whether it is a folder."""
    (_, made, _, flags, method, time, date, crc, packed, size, *lengths, _, _, mode, offset) = (
        _ENTRY.unpack(entry)
    )
    name_length, extra_length, comment_length = lengths
    raw = file.read(name_length).partition(b"\0")[0]
    extra = file.read(extra_length)
    file.seek(comment_length, io.SEEK_CUR)
    name = raw.decode("utf-8", "surrogateescape") if flags & _UTF8 else raw.decode("cp437")
    size, packed, offset = _large(extra, size, packed, offset)
    member = ZipMember(
        path=f"{archive}!/{name}",
        container=container,
        size=size,
        packed_size=packed,
        mtime_ns=_mtime_ns(date, time),
        method=method,
        flags=flags,
        crc=crc,
        offset=offset + shift,
        mode=mode >> 16 if made >> 8 == _MADE_ON_UNIX else 0,
    )
    return member, name.endswith("/")


def _large(extra: bytes, *numbers: int) -> Iterator[int]:
    """Yield sizes and offset, from the field for large ones where they do not fit (ZIP64)."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _ZIP64:
            wide = extra[4 : 4 + length]
            break
        extra = extra[4 + length :]
    for number in numbers:
        if number == _MAX32 and len(wide) >= 8:
            yield min(_LARGEST, struct.unpack_from("<Q", wide)[0])
            wide = wide[8:]
        else:
            yield number


def _mtime_ns(date: int, time: int) -> int:
    """Read a time of DOS, as if it were UTC: it has no zone, and must be the same everywhere."""
    day = date >> 9 & 0x7F, date >> 5 & 0xF, date & 0x1F
    clock = time >> 11, time >> 5 & 0x3F, (time & 0x1F) * 2
    try:
        return calendar.timegm((1980 + day[0], *day[1:], *clock)) * 1_000_000_000
    except ValueError:
        return 0
