"""Frames of the pixel data of a DICOM file (PS3.18 section 10.4.3, PS3.5 section 8 and annex A.4).

Only the header is read into memory; pixel data is located by its offset in the file.
"""

from __future__ import annotations

import bisect
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import as_pixel_options
from werkzeug.exceptions import NotAcceptable, NotFound

from dcmweb.archive.representations.byte_ranges import (
    ByteRange,
    FileRanges,
    PackedBits,
    Swapped,
    check_end,
    open_plain,
    walk_items,
)
from dcmweb.archive.representations.decoder_pool import decode
from dcmweb.archive.representations.decoding import Array
from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.element_walk import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    META_SYNTAX,
    read_meta,
    skip_preamble,
)
from dcmweb.dicom.inflation import InPieces
from dcmweb.dicom.tags import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from dcmweb.http.media_types import FRAME_MEDIA_TYPES
from dcmweb.sources import Source

_KINDS = ("FloatPixelData", "DoubleFloatPixelData", "PixelData")
_TAGS = (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA)
TAGS = {kind: int(tag, 16) for kind, tag in zip(_KINDS, _TAGS, strict=True)}
_UNDEFINED = 0xFFFFFFFF
VIDEO = frozenset(s for s, name in FRAME_MEDIA_TYPES.items() if name.startswith("video/"))
_PIXEL_DESCRIPTION = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
)
_PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_MOST_FRAGMENTS = 1_000_000  # of an instance: they may be empty, and each takes memory
_TAIL = 10  # bytes at the end of a codestream that may hold its end marker and padding
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000


@dataclass(frozen=True)
class PixelElement:
    """The location of the pixel data element: offset and length of its value, in bytes.

    The length of encapsulated pixel data is undefined.
    """

    keyword: str
    vr: str
    start: int
    length: int

    @property
    def is_encapsulated(self) -> bool:
        """Whether it is made of fragments."""
        return self.length == _UNDEFINED


class Frames:
    """The frames of one file, counted from 1; `header` is its data set before the pixel data.

    Raises OSError if the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open_plain(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.header = pydicom.dcmread(InPieces(file), stop_before_pixels=True, force=True)
                for keyword in _PIXEL_DESCRIPTION:
                    self.header.get(keyword)  # raises what its conversion raises
                self.plain_syntax = self._syntax()
            except OSError:
                raise
            except Exception as error:  # pydicom raises errors of any kind on malformed files
                kind = type(error).__name__  # the text of the error may be of a patient
                raise NotAcceptable(f"the header is malformed ({kind})") from error
            self.element = self._find_element(file)
        with open_regular(path) as source:
            meta = read_meta(source) if skip_preamble(source) else {}
        self.transfer_syntax = meta.get(META_SYNTAX) or self.plain_syntax
        self.count = self._count()
        self._fragments: list[ByteRange] = []
        self._offsets: list[int] = []
        self._groups_found: list[list[ByteRange]] = []

    def _syntax(self) -> str:
        implicit, little = self.header.original_encoding
        guess = EXPLICIT_VR_LITTLE_ENDIAN if little else EXPLICIT_VR_BIG_ENDIAN
        guess = IMPLICIT_VR_LITTLE_ENDIAN if implicit else guess
        return str(self.header.file_meta.get("TransferSyntaxUID", "") or guess)

    def _count(self) -> int:
        with suppress(TypeError, ValueError):
            return max(int(self.header.get("NumberOfFrames", 1) or 1), 1)
        return 1

    def _find_element(self, file: IO[bytes]) -> PixelElement | None:
        order = ">" if self.plain_syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
        head = file.read(8)
        if len(head) < 8:
            return None
        group, element = struct.unpack(order + "HH", head[:4])
        keyword = {tag: name for name, tag in TAGS.items()}.get(group << 16 | element)
        is_explicit = self.plain_syntax != IMPLICIT_VR_LITTLE_ENDIAN
        # Some files in Implicit VR say that they are in a compressed transfer syntax.
        vr = head[4:6].decode("latin-1") if is_explicit and head[4:6] in _PIXEL_VRS else ""
        long = file.read(4) if vr else head[4:]
        if keyword is None or len(long) < 4:
            return None
        (length,) = struct.unpack(order + "L", long)
        if length != _UNDEFINED:
            check_end(file, length)
        return PixelElement(keyword, vr, file.tell(), length) if length else None

    @property
    def samples(self) -> int:
        """The samples of a frame; raises NotAcceptable if their number is unknown."""
        header = self.header
        try:
            return int(header.Rows * header.Columns * header.SamplesPerPixel)
        except (AttributeError, TypeError, ValueError):
            raise NotAcceptable("the size of the frames is unknown") from None

    @property
    def frame_bits(self) -> int:
        """Bits of a frame that is not compressed; raises NotAcceptable if it is unknown."""
        header = self.header
        try:
            bits = self.samples * int(header.BitsAllocated)
        except (AttributeError, TypeError, ValueError):
            raise NotAcceptable("the size of the frames is unknown") from None
        if not bits:
            raise NotAcceptable("the frames of the instance are empty")
        is_halved = header.get("PhotometricInterpretation") == "YBR_FULL_422"
        is_native = self.element is not None and not self.element.is_encapsulated
        return bits // 3 * 2 if is_halved and is_native else bits

    def stored(self, number: int) -> Source:
        """Find a frame as stored: its codestream or its bytes.

        Raises NotFound if there is none, NotAcceptable if it cannot be separated from the others.
        """
        element = self._present(number)
        if element.is_encapsulated:
            return FileRanges(self.path, tuple(self._encapsulated(element, number)))
        return self._plain(element, number, 1)

    def native(self, number: int) -> bytes:
        """Return a frame uncompressed, in little endian.

        Samples are arranged as the header's Planar Configuration says. Colours of compressed
        frames are RGB whatever the header says, as `PhotometricInterpretation` of `decoded`.
        Raises NotFound if there is none, NotAcceptable if it cannot be decoded.
        """
        element = self._present(number)
        if not element.is_encapsulated:
            return b"".join(self._plain(element, number, self.swap_width).pieces())
        array, _ = self.decoded(number)
        if array.ndim == 3 and self.header.get("PlanarConfiguration") == 1:
            array = array.transpose(2, 0, 1)
        if self.header.BitsAllocated == 1:
            return np.packbits(array.astype(bool), bitorder="little").tobytes()
        return array.astype(array.dtype.newbyteorder("<")).tobytes()

    def decoded(self, number: int) -> tuple[Array, str]:
        """Return a frame as an array, and its Photometric Interpretation: never one of YBR_*.

        Its shape is rows, columns and, if there are several, samples; errors as for `native`.
        """
        element = self._present(number)
        if element.is_encapsulated:
            codestream = b"".join(self.stored(number).pieces())
            source, syntax = encapsulate([codestream]), self.transfer_syntax
        else:
            source, syntax = self.native(number), EXPLICIT_VR_LITTLE_ENDIAN
            source += b"\0" * (len(source) % 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options = as_pixel_options(
                    self.header, number_of_frames=1, pixel_keyword=element.keyword
                )
            options.pop("extended_offsets", None)
            return decode(source, syntax, options)
        except Exception as error:  # decoders raise errors of any kind
            reason = " ".join(str(error).split())
            raise NotAcceptable(f"frame {number} cannot be decoded: {reason}") from error

    @property
    def swap_width(self) -> int:
        """The width of the words that are in big endian; 1 if there are none."""
        if self.plain_syntax != EXPLICIT_VR_BIG_ENDIAN or self.element is None:
            return 1
        if self.element.keyword != "PixelData":
            return 4 if self.element.keyword == "FloatPixelData" else 8
        allocated = int(self.header.get("BitsAllocated") or 8)
        if allocated > 8 and allocated not in (16, 32, 64):
            raise NotAcceptable(f"Bits Allocated is {allocated}: its words cannot be swapped")
        return allocated // 8 if allocated > 8 else 2 if self.element.vr == "OW" else 1

    def _present(self, number: int) -> PixelElement:
        if self.element is None:
            raise NotFound("the instance has no pixel data")
        if not 1 <= number <= self.count:
            raise NotFound(f"frame {number}: the instance has only {self.count}")
        return self.element

    def _plain(self, element: PixelElement, number: int, width: int) -> Source:
        bits = self.frame_bits
        first = (number - 1) * bits
        start, end = first // 8, -(-(first + bits) // 8)
        if end > element.length:
            raise NotFound(f"frame {number}: the pixel data of the instance ends before it")
        aligned = start - start % width
        until = min(end + -end % width, element.length)
        data: Source = FileRanges(self.path, ((element.start + aligned, until - aligned),))
        if width > 1:
            data = Swapped(data, width, start - aligned, end - start)
        return PackedBits(data, first % 8, bits) if bits % 8 or first % 8 else data

    def _encapsulated(self, element: PixelElement, number: int) -> list[ByteRange]:
        fragments = self._fragments or self._read_fragments(element.start)
        if self.transfer_syntax in VIDEO:
            if number > 1:
                raise NotAcceptable("the frames of a video are not stored one by one")
            return fragments
        extended = self.header.get("ExtendedOffsetTable")
        lengths = self.header.get("ExtendedOffsetTableLengths")
        if extended and lengths and min(len(extended), len(lengths)) >= 8 * number:
            origin = fragments[0][0]
            (offset,) = struct.unpack_from("<Q", extended, 8 * (number - 1))
            (length,) = struct.unpack_from("<Q", lengths, 8 * (number - 1))
            return [(origin + offset, length)]
        self._groups_found = groups = self._groups_found or self._groups()
        if number > len(groups):
            raise NotAcceptable(f"frame {number} cannot be separated from the others")
        return groups[number - 1]

    def _groups(self) -> list[list[ByteRange]]:
        """Group the fragments by frame: by the offset table, their number, or end markers."""
        fragments, offsets = self._fragments, self._offsets
        if self.count == 1:
            return [fragments]
        if len(offsets) >= self.count:
            starts = [start - fragments[0][0] for start, _ in fragments]
            cuts = [bisect.bisect_left(starts, offset) for offset in offsets]
            return [fragments[a:b] for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
        if len(fragments) <= self.count:
            return [[one] for one in fragments]
        groups: list[list[ByteRange]] = [[]]
        with open_plain(self.path) as file:
            for start, length in fragments:
                groups[-1].append((start, length))
                file.seek(start + max(length - _TAIL, 0))
                if _END_OF_IMAGE in file.read(min(length, _TAIL)):
                    groups.append([])
        return groups if groups[-1] else groups[:-1]

    def _read_fragments(self, start: int) -> list[ByteRange]:
        """Walk through the fragments, and read the basic offset table (PS3.5 table A.4-1)."""
        with open_plain(self.path) as file:
            file.seek(start)
            found = list(islice(walk_items(file), _MOST_FRAGMENTS + 1))
            if len(found) < 2:
                raise NotAcceptable("the pixel data of the instance has no fragments")
            start, length = found[0]
            if max(len(found), length // 4) > _MOST_FRAGMENTS:
                raise NotAcceptable(f"the pixel data has more than {_MOST_FRAGMENTS:,} fragments")
            file.seek(start)
            table = file.read(length - length % 4)
        self._offsets = list(struct.unpack(f"<{len(table) // 4}L", table))
        self._fragments = found[1:]
        return self._fragments
