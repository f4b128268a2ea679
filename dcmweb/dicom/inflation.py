"""Deflated data sets (PS3.5 annex A.5), inflated only as far as is sensible.

A megabyte can inflate to a gigabyte: what is inflated has a limit, and is in a file once it is
large.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, BinaryIO, cast

from dcmweb.dicom.element_walk import (
    DEFLATED,
    EXPLICIT_VR_LITTLE_ENDIAN,
    META_SYNTAX,
    read_meta,
    skip_preamble,
)
from dcmweb.errors import BrokenDicom

LARGEST_INFLATED = 64 * 1024 * 1024  # bytes, or
MOST_INFLATION = 50  # times the size of the deflated file, if that is more
_LARGEST_IN_MEMORY = 16 * 1024 * 1024
_PIECE = 256 * 1024


class InPieces:
    """A file that cannot be read as a whole, for pydicom, which inflates all that it can read.

    That happens where pydicom reads a deflated transfer syntax, and this package another one.
    """

    def __init__(self, file: BinaryIO | IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        if size < 0:
            raise ValueError("the file is not to be read as a whole")
        return self._file.read(size)


def is_deflated(file: BinaryIO | IO[bytes]) -> bool:
    """Return True if a DICOM file is deflated, and leave it where its data set begins."""
    stream = cast(BinaryIO, file)
    try:
        return skip_preamble(stream) and read_meta(stream).get(META_SYNTAX) == DEFLATED
    except (struct.error, ValueError):
        return False


@contextmanager
def for_pydicom(file: BinaryIO | IO[bytes]) -> Iterator[BinaryIO]:
    """Open what pydicom can read a DICOM file from, inflated; errors as of `inflated`."""
    with ExitStack() as stack:
        if is_deflated(file):
            file = stack.enter_context(inflated(file))
        file.seek(0)
        yield cast(BinaryIO, InPieces(file))


def inflated(file: BinaryIO | IO[bytes], path: str = "") -> BinaryIO:
    """Return a temporary file with what is in a deflated one, in Explicit VR Little Endian.

    The file stands where its data set begins. A data set that breaks off ends there. Raises
    BrokenDicom if it is malformed, or too large when inflated.
    """
    spool = tempfile.SpooledTemporaryFile(max_size=_LARGEST_IN_MEMORY)  # noqa: SIM115
    plain = cast(BinaryIO, spool)
    try:
        _write_inflated(file, plain, path)
    except BaseException:
        plain.close()
        raise
    plain.seek(0)
    return plain


def _write_inflated(file: BinaryIO | IO[bytes], plain: BinaryIO, path: str) -> None:
    start = file.tell()
    limit = max(LARGEST_INFLATED, MOST_INFLATION * file.seek(0, os.SEEK_END))
    file.seek(0)
    own = DEFLATED.encode()
    plain.write(
        file.read(start).replace(own, EXPLICIT_VR_LITTLE_ENDIAN.encode().ljust(len(own), b"\0"))
    )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof and (piece := inflater.unconsumed_tail or file.read(_PIECE)):
            plain.write(inflater.decompress(piece, _PIECE))
            if plain.tell() > limit:
                raise BrokenDicom("its data set is too large when inflated", path=path)
        plain.write(inflater.flush())
    except zlib.error as error:
        raise BrokenDicom(f"its deflated data set is malformed: {error}", path=path) from None
