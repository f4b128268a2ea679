"""Digests of the parts of a DICOM file, to see which of them two files share (PS3.10 section 7).

Servers may rewrite the file meta information, such as the implementation that wrote the file. What
is behind it, the data set with its pixel data, is what has to stay the same.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import BinaryIO

from dcmweb.dicom.byte_ranges import PIECE, open_file
from dcmweb.dicom.element_walk import (
    DEFLATED,
    META_SYNTAX,
    elements,
    encoding,
    guess_syntax,
    read_meta,
    skip_preamble,
)
from dcmweb.dicom.tags import FLOAT_PIXEL_DATA
from dcmweb.errors import LocalError

_FIRST_PIXELS = int(FLOAT_PIXEL_DATA, 16)  # the first of the kinds of pixel data
_NOTHING = blake2b(digest_size=16).hexdigest()


class Agreement(Enum):
    """How far the contents of two files agree."""

    WHOLE = "byte for byte"
    DATA_SET = "data set and pixel data agree, the file meta information differs"
    NONE = "none"


@dataclass(frozen=True)
class ContentDigest:
    """Digests of a file: before the data set, of the data set, and from the pixel data on."""

    meta: str
    dataset: str
    pixels: str
    syntax: str  # the Transfer Syntax UID, without which the other bytes mean nothing

    def __str__(self) -> str:
        """Write it in a line, which `parse` reads."""
        return " ".join((self.meta, self.dataset, self.pixels, self.syntax))

    @classmethod
    def parse(cls, text: str) -> ContentDigest:
        """Read what `str` wrote."""
        meta, dataset, pixels, syntax = text.split(" ", 3)
        return cls(meta, dataset, pixels, syntax)

    def compare(self, other: ContentDigest) -> tuple[Agreement, str]:
        """Return how far two files agree, and in words what differs if they do not."""
        if self.syntax != other.syntax:
            words = f"its transfer syntax is {self.syntax} on one side, {other.syntax} on the other"
            return Agreement.NONE, words
        if (self.dataset, self.pixels) == (other.dataset, other.pixels):
            return (Agreement.WHOLE if self.meta == other.meta else Agreement.DATA_SET), ""
        if self.dataset == other.dataset:
            return Agreement.NONE, "the pixel data differ, the rest of the data set agrees"
        if self.pixels == other.pixels != _NOTHING:
            return Agreement.NONE, "the data set differs, the pixel data agree"
        both_lack = self.pixels == other.pixels
        return Agreement.NONE, "the data set differs" + (
            "" if both_lack else ", and the pixel data"
        )


def digest_file(path: str) -> ContentDigest:
    """Make the digests of a file. Raises LocalError if it cannot be read."""
    try:
        with open_file(path) as file:
            return digest(file)
    except OSError as error:
        raise LocalError(error.strerror or str(error), path=path) from error


def digest(file: BinaryIO) -> ContentDigest:
    """Make the digests of a seekable stream.

    In a deflated data set, and in one whose structure cannot be followed, pixel data are not told
    apart from the rest.
    """
    end = file.seek(0, os.SEEK_END)
    skip_preamble(file)
    start = pixels = end
    syntax = ""
    try:
        syntax = read_meta(file).get(META_SYNTAX, "")
        start = file.tell()
        syntax = syntax or guess_syntax(file)
        pixels = end if syntax == DEFLATED else _find_pixels(file, syntax, end)
    except (struct.error, ValueError):  # CutShort is a subclass
        start = min(start, pixels)
    file.seek(0)
    return ContentDigest(
        meta=_digest(file, start),
        dataset=_digest(file, pixels - start),
        pixels=_digest(file, end - pixels),
        syntax=syntax,
    )


def _find_pixels(file: BinaryIO, syntax: str, end: int) -> int:
    """Return where the element with the pixel data begins; the end if there is not one."""
    place = file.tell()
    for tag, length in elements(file, *encoding(syntax), depth=0):
        if tag >= _FIRST_PIXELS:
            return place
        place = file.tell() + length
    return end


def _digest(file: BinaryIO, size: int) -> str:
    """Make the digest of the next bytes; of fewer, if the file has become shorter."""
    found = blake2b(digest_size=16)
    while size and (piece := file.read(min(size, PIECE))):
        found.update(piece)
        size -= len(piece)
    return found.hexdigest()
