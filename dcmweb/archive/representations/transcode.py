"""DICOM files in another transfer syntax, as streams (PS3.18 section 8.7.3.5.2, PS3.10 section 7).

Only the header is held in memory, and of the pixel data a piece or a frame.
"""

from __future__ import annotations

import copy
import re
import struct
import tempfile
import warnings
from collections.abc import Iterator
from itertools import chain
from typing import IO, Any, BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID
from werkzeug.exceptions import HTTPException, NotAcceptable

from dcmweb.archive.representations.byte_ranges import FileRanges, Swapped, open_plain, walk_items
from dcmweb.archive.representations.frames import TAGS, VIDEO, Frames, PixelElement
from dcmweb.counted import plural
from dcmweb.dicom.byte_ranges import PIECE
from dcmweb.dicom.element_walk import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dcmweb.dicom.json_to_part10 import BINARY, swapped
from dcmweb.dicom.tags import (
    ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
)
from dcmweb.errors import DcmwebError
from dcmweb.sources import Source

TARGETS = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

# Of no use without fragments.
_OFFSET_TABLES = tuple(
    int(tag, 16)
    for tag in (
        EXTENDED_OFFSET_TABLE,
        EXTENDED_OFFSET_TABLE_LENGTHS,
        ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
    )
)
_LONGEST = 2**32 - 2
_LARGEST_SPOOLED = 256 * 1024 * 1024  # bytes that are decoded before any of them is sent
_LARGEST_IN_MEMORY = 16 * 1024 * 1024
_Value = tuple[bytes, Iterator[bytes]]


def transcoded(path: str, transfer_syntax: str) -> Iterator[bytes]:
    """Yield the Part 10 file in Explicit or Implicit VR Little Endian.

    Raises NotAcceptable before the first byte for another transfer syntax and for pixel data that
    cannot be decoded; but a later frame of a large image may raise it while the file is yielded.
    """
    if transfer_syntax not in TARGETS:
        raise NotAcceptable(f"instances are not available in transfer syntax {transfer_syntax}")
    frames = Frames(path)
    if frames.transfer_syntax in VIDEO:
        raise NotAcceptable("videos are only available as stored")
    changes: dict[str, Any] = {}
    value: _Value = b"", iter(())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if frames.element:
                value, changes = _pixel_data(frames, frames.element, transfer_syntax)
            start = _start(frames, transfer_syntax, changes)
            end = _end(frames, transfer_syntax)
    except (OSError, DcmwebError, HTTPException):
        raise
    except Exception as error:  # pydicom raises errors of any kind on malformed values
        match = re.search(r"\([0-9A-F]{4},[0-9A-F]{4}\)", str(error), re.IGNORECASE)
        where = f"element {match[0]}" if match else "its header"
        raise NotAcceptable(f"the instance cannot be transcoded: {where} is malformed") from error
    return _joined(start, value, end)


def _joined(start: bytes, value: _Value, end: bytes) -> Iterator[bytes]:
    yield start + value[0]
    yield from value[1]
    if end:
        yield end


def _start(frames: Frames, syntax: str, changes: dict[str, Any]) -> bytes:
    """Write preamble, file meta information, and the data set before the pixel data.

    The changes go into a header of its own: later frames are decoded by that of `frames`.
    """
    header = Frames(frames.path).header
    meta = copy.deepcopy(header.file_meta)
    if not isinstance(meta, FileMetaDataset):
        meta = FileMetaDataset(meta)
    meta.TransferSyntaxUID = UID(syntax)
    if "MediaStorageSOPClassUID" not in meta:
        meta.MediaStorageSOPClassUID = header.SOPClassUID
    if "MediaStorageSOPInstanceUID" not in meta:
        meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    for tag in _OFFSET_TABLES:
        if tag in header:
            del header[tag]
    for keyword, value in changes.items():
        setattr(header, keyword, value)
    file = DicomBytesIO()
    file.write((header.preamble or b"").ljust(128, b"\0") + b"DICM")
    write_file_meta_info(file, meta, enforce_standard=True)
    return file.getvalue() + _written(header, frames, syntax)


def _end(frames: Frames, syntax: str) -> bytes:
    """Write the elements behind the pixel data."""
    if not frames.element:
        return b""
    implicit, little = frames.header.original_encoding
    charset = frames.header.original_character_set
    with open_plain(frames.path) as file:
        _skip(file, frames.element)
        source = cast(BinaryIO, file)
        rest = read_dataset(source, bool(implicit), bool(little), parent_encoding=charset)
        return _written(rest, frames, syntax) if len(rest) else b""


def _skip(file: IO[bytes], element: PixelElement) -> None:
    file.seek(element.start)
    if not element.is_encapsulated:
        file.seek(element.length, 1)
        return
    for _ in walk_items(file):
        pass


def _written(dataset: Dataset, frames: Frames, syntax: str) -> bytes:
    """Encode a data set; pydicom does not swap words of big endian values."""
    _look_up_vrs(dataset)
    if frames.plain_syntax == EXPLICIT_VR_BIG_ENDIAN:
        _swap_words(dataset)
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    charset = frames.header.original_character_set
    write_dataset(buffer, dataset, charset if isinstance(charset, str) else list(charset))
    return buffer.getvalue()


def _look_up_vrs(dataset: Dataset) -> None:
    """Find the VRs of elements in Implicit VR, as pydicom only does if the file says so."""
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR is None:
            dataset[tag] = dataset[tag]


def _swap_words(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or ():
                _swap_words(item)
        elif isinstance(element.value, bytes) and element.VR in BINARY:
            element.value = swapped(element.value, element.VR)


def _pixel_data(
    frames: Frames, element: PixelElement, syntax: str
) -> tuple[_Value, dict[str, Any]]:
    """Return the pixel data element, and the other changes of the data set."""
    if not element.is_encapsulated:
        data: Source = FileRanges(frames.path, ((element.start, element.length),))
        if frames.swap_width > 1:
            data = Swapped(data, frames.swap_width, 0, element.length)
        return (_element_head(frames, element, syntax, element.length), data.pieces()), {}
    bits = frames.frame_bits
    if bits % 8 and frames.count > 1:
        raise NotAcceptable("compressed frames that do not fill whole bytes cannot be transcoded")
    size = -(-bits // 8)
    length = size * frames.count
    if length > _LONGEST:
        raise NotAcceptable("the pixel data is too large to be uncompressed")
    _, colours = frames.decoded(1)
    changes: dict[str, Any] = {}
    if colours != frames.header.get("PhotometricInterpretation"):
        changes["PhotometricInterpretation"] = colours
    if frames.header.SamplesPerPixel > 1 and "PlanarConfiguration" not in frames.header:
        changes["PlanarConfiguration"] = 0
    head = _element_head(frames, element, syntax, length + length % 2)
    padding = [b"\0"] * (length % 2)  # PS3.5 section 8.1.1
    return (head, chain(decoded_frames(frames), padding)), changes


def decoded_frames(frames: Frames) -> Iterator[bytes]:
    """Decode all frames, and yield them; raises NotAcceptable if one cannot be decoded.

    They are all decoded before the first is sent, so that the error still has a status, unless
    together they are so large that a client would have to wait for long.
    """
    size = -(-frames.frame_bits // 8)
    decoded = _each_frame(frames, size)
    if size * frames.count > _LARGEST_SPOOLED:
        first = next(decoded)
        return chain([first], decoded)
    spool = tempfile.SpooledTemporaryFile(max_size=_LARGEST_IN_MEMORY)  # noqa: SIM115
    try:
        for frame in decoded:
            spool.write(frame)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return _read(spool)


def _each_frame(frames: Frames, size: int) -> Iterator[bytes]:
    for number in range(1, frames.count + 1):
        frame = frames.native(number)
        if len(frame) != size:
            raise NotAcceptable(
                f"frame {number} has {plural(len(frame), 'byte')} instead of {size}"
            )
        yield frame


def _read(spool: tempfile.SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with spool:
        while piece := spool.read(PIECE):
            yield piece


def _element_head(frames: Frames, element: PixelElement, syntax: str, length: int) -> bytes:
    """Write tag, VR and length of the pixel data (PS3.5 section 7.1.2 and annex A.2)."""
    tag = TAGS[element.keyword]
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if syntax != IMPLICIT_VR_LITTLE_ENDIAN:
        vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(element.keyword, "")
        if not vr and element.vr in ("OB", "OW") and not element.is_encapsulated:
            vr = element.vr
        allocated = int(frames.header.get("BitsAllocated") or 16)
        head += (vr or ("OB" if allocated <= 8 else "OW")).encode() + b"\0\0"
    return head + struct.pack("<L", length)
