"""Ranges of bytes of DICOM files, as sources of what is sent."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from werkzeug.exceptions import NotAcceptable

from dcmweb.dicom.byte_ranges import open_regular, read_range
from dcmweb.dicom.inflation import inflated, is_deflated
from dcmweb.errors import BrokenDicom
from dcmweb.sources import Source

ITEM = b"\xfe\xff\x00\xe0"

ByteRange = tuple[int, int]


def open_plain(path: str) -> IO[bytes]:
    """Open a DICOM file for reading; a deflated one is inflated.

    Large inflated files are written to a temporary file. Raises BrokenDicom for a deflated one
    that is malformed, or too large when inflated.
    """
    file = open_regular(path)
    if not is_deflated(file):
        file.seek(0)
        return file
    with file:
        return inflated(file, path)


@dataclass(frozen=True)
class FileRanges:
    """Bytes of a file, by offset and length in it."""

    path: str
    ranges: tuple[ByteRange, ...]

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        return sum(length for _, length in self.ranges)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; raises BrokenDicom if the file is shorter."""
        with open_plain(self.path) as file:
            for start, length in self.ranges:
                too_short = BrokenDicom("it ends inside its pixel data", path=self.path)
                yield from read_range(file, start, length, too_short)


@dataclass(frozen=True)
class PackedBits:
    """A frame of one bit per sample that need not begin with a byte (PS3.5 section 8.1.1).

    Yielded with its first pixel in the lowest bit of the first byte, unused bits of the last zero.
    """

    data: Source
    shift: int  # bits of the first byte that belong to the frame before
    bits: int

    @property
    def size(self) -> int:
        """Bytes it will yield."""
        return -(-self.bits // 8)

    def pieces(self) -> Iterator[bytes]:
        """Yield the frame, which is small, at once."""
        packed = np.frombuffer(b"".join(self.data.pieces()) + b"\0", np.uint8)
        shifted = packed[:-1] >> self.shift | packed[1:].astype(np.uint16) << (8 - self.shift)
        frame = shifted.astype(np.uint8)[: self.size]
        if self.bits % 8:
            frame[-1] &= (1 << self.bits % 8) - 1
        yield frame.tobytes()


@dataclass(frozen=True)
class Swapped:
    """A source of words of `width` bytes in the other byte order; `skip` and `size` cut it."""

    data: Source
    width: int
    skip: int
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in the other order."""
        skip, left = self.skip, self.size
        for piece in self.data.pieces():
            whole = piece + b"\0" * (-len(piece) % self.width)
            swapped = np.frombuffer(whole, f"u{self.width}").byteswap().tobytes()
            cut = swapped[skip : skip + left]
            skip, left = 0, left - len(cut)
            yield cut


def check_end(file: IO[bytes], length: int) -> None:
    """Raise NotAcceptable if a file has fewer bytes from here on.

    Stored files are complete, but the data set in a deflated one need not be.
    """
    here = file.tell()
    if file.seek(0, os.SEEK_END) < here + length:
        raise NotAcceptable("the pixel data ends before its length")
    file.seek(here)


def walk_items(file: IO[bytes]) -> Iterator[ByteRange]:
    """Yield the items of encapsulated pixel data; leaves the file position after the last."""
    while len(head := file.read(8)) == 8 and head[:4] == ITEM:
        (length,) = struct.unpack("<L", head[4:])
        start = file.tell()
        yield start, length
        file.seek(start + length)
