"""Archives as sources of files: the members of one, found by what it begins with."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, cast

from dcmweb.errors import LocalError
from dcmweb.local.broken_archive import BrokenArchive
from dcmweb.local.tar_members import UNPACKING_ERRORS, tar_members
from dcmweb.local.zip_members import zip_members
from dcmweb.sources import Content, Found, SourceFile

MOST_BEHIND_THE_END = 64 * 1024 * 1024  # bytes; tar fills its last record, of 10 KiB mostly
_BLOCK = 512
_PIECE = 256 * 1024
_UNPACKERS: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


def files_in(found: Found, only: Collection[str] = ()) -> Iterator[Found]:
    """Yield the members of an archive; the file itself if it is not an archive after all.

    `only` are the paths of members to find. What is wrong with the archive as a whole is the error
    of the archive, after the members that could be found.
    """
    if found.file is None:
        yield found
        return
    missing = set(only)
    try:
        with found.file.open() as (file, content):
            members = _members(found.path, content, file)
            if members is None:
                yield found
                return
            count = 0
            for member in members:
                count += 1
                if not only or member.path in missing:
                    missing.discard(member.path)
                    yield Found(member.path, named=bool(only), file=member)
            content.check()
            if not count:
                yield failed(found.path, "an archive without files")
    except (BrokenArchive, LocalError) as error:
        words = error.message if isinstance(error, LocalError) else f"damaged: {error}"
        yield failed(found.path, words)
    for path in sorted(missing):
        yield failed(path, "the archive has no such member")


def failed(path: str, words: str) -> Found:
    """Make what is found where something stands in the way."""
    return Found(path, named=True, error=OSError(0, words))


def _members(name: str, content: Content, file: BinaryIO) -> Iterator[SourceFile] | None:
    """Find the members of an archive by what it begins with; None if it is not an archive."""
    start = file.read(_BLOCK)
    file.seek(0)
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return zip_members(name, content, file)
    if _is_header(start):
        return tar_members(name, content, file, is_compressed=False)
    for magic, unpack in _UNPACKERS.items():
        if start.startswith(magic):
            return _compressed(name, content, cast(BinaryIO, unpack(file)))
    return None


def _compressed(name: str, content: Content, stream: BinaryIO) -> Iterator[SourceFile]:
    """Find the members of a compressed archive. Raises BrokenArchive if there is another file."""
    try:
        start = stream.read(_BLOCK)
    except UNPACKING_ERRORS as error:
        raise BrokenArchive(f"it cannot be unpacked: {error}") from error
    if not _is_header(start):
        raise BrokenArchive("what is compressed is not a tar archive")
    yield from tar_members(name, content, stream, is_compressed=True)
    _check_end(stream)


def _check_end(stream: BinaryIO) -> None:
    """Read what is left, so that a checksum at the end is compared. Raises BrokenArchive."""
    try:
        for _ in range(MOST_BEHIND_THE_END // _PIECE):
            if not stream.read(_PIECE):
                return
    except UNPACKING_ERRORS as error:
        words = f"its end cannot be unpacked, so members may be damaged: {error}"
        raise BrokenArchive(words) from error
    raise BrokenArchive("it goes on behind its end mark")


def _is_header(block: bytes) -> bool:
    """Return True if a block is the header of a member of a tar archive, or ends an empty one."""
    if len(block) == _BLOCK and not any(block):
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
