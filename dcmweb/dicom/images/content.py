"""Recognise files that become pixel data or documents, by their content."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO

from dcmweb.dicom.byte_ranges import open_file
from dcmweb.dicom.images.codestreams import (
    BadImage,
    Pixels,
    find_codestream,
    read_jpeg,
    read_jpeg_2000,
)
from dcmweb.errors import LocalError

_HEAD = 256
_PREAMBLE = 128
_PIECE = 1024 * 1024
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_J2K = b"\xff\x4f\xff\x51"
_JPEG = b"\xff\xd8\xff"
_PDF = b"%PDF-"
# Images that cannot be pixel data: offset and bytes of a signature, and the name of the format.
_OTHERS = (
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypheic", "HEIF"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
)


class Kind(Enum):
    """What a file is: an image with a header, a document, or something unknown."""

    IMAGE = "image"
    PDF = "PDF"
    OTHER = "other"


@dataclass(frozen=True)
class MediaFile:
    """What is in a file: the bytes that make up the value, and the description of an image.

    `fingerprint` is size and time of modification of the whole file, when it was read.
    """

    path: str
    kind: Kind
    start: int
    size: int
    fingerprint: tuple[int, int]
    pixels: Pixels | None = None
    head: bytes = field(default=b"", repr=False)


def read_media_file(path: str) -> MediaFile:
    """Read what a file is. Raises LocalError if it cannot be part of an instance."""
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise LocalError("not a regular file", path=path)
            if status.st_size == 0:
                raise LocalError("the file is empty", path=path)
            return _look(file, path, (status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise LocalError(error.strerror or str(error), path=path) from error
    except BadImage as error:
        raise LocalError(str(error), path=path) from None


def _look(file: BinaryIO, path: str, fingerprint: tuple[int, int]) -> MediaFile:
    head, size = file.read(_HEAD), fingerprint[0]
    # First of all: a preamble may be the head of a TIFF file, as of slides (PS3.10 section 7.1).
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        raise BadImage("it is a DICOM file already: store it without --metadata")
    if head.startswith(_PDF):
        return MediaFile(path, Kind.PDF, 0, size, fingerprint)
    if head.startswith(_JPEG):
        pixels = read_jpeg(file, size)
        return MediaFile(path, Kind.IMAGE, 0, size, fingerprint, pixels)
    if head.startswith((_JP2, _J2K)):
        is_box = head.startswith(_JP2)
        start, length, colours = find_codestream(file, size) if is_box else (0, size, 0)
        pixels = read_jpeg_2000(file, start, length, colours)
        return MediaFile(path, Kind.IMAGE, start, length, fingerprint, pixels)
    for at, magic, name in _OTHERS:
        if head.startswith(magic, at):
            raise BadImage(
                f"it is a {name} image, which cannot be pixel data: convert it to JPEG or JPEG 2000"
            )
    return MediaFile(path, Kind.OTHER, 0, size, fingerprint, head=head)


def content_digest(content: MediaFile) -> bytes:
    """Return the SHA-256 of what is in a file. Raises LocalError if it cannot be read."""
    found = hashlib.sha256()
    try:
        with open_file(content.path, buffering=0) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except OSError as error:
        raise LocalError(error.strerror or str(error), path=content.path) from error
    return found.digest()
