"""Read headers of images: JPEG (ISO 10918-1), JPEG-LS (ISO 14495-1), JPEG 2000 (ISO 15444)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dcmweb.counted import plural

_TAIL = 64 * 1024  # bytes at the end of a JPEG file in which its end is looked for

_SOI, _EOI, _SOS, _JPEG_LS_FRAME, _APP0, _APP1, _APP14 = 0xD8, 0xD9, 0xDA, 0xF7, 0xE0, 0xE1, 0xEE
_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_JPEG_LS_FRAME}
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_END = b"\xff\xd9"
_STANDALONE = (0x01, *range(0xD0, 0xD8))

_SIZ, _COD, _CAP, _SOT = 0xFF51, 0xFF52, 0xFF50, 0xFF90
_HIGH_THROUGHPUT = 1 << 17  # the bit of CAP that says so (ISO 15444-15 annex A)
_SYCC = 18


class BadImage(ValueError):
    """The image is broken, or of a kind that DICOM does not support."""


@dataclass(frozen=True)
class Pixels:
    """The description of an image, in the terms of PS3.3 section C.7.6.3.

    `syntaxes` are the transfer syntaxes it can be in, the usual one first; `bits` those of a
    sample. `method` is the Lossy Image Compression Method, "" if lossless. `orientation` is
    that of Exif (CIPA DC-008 section 4.6.4), which DICOM does not have; 1 is upright.
    """

    syntaxes: tuple[str, ...]
    rows: int
    columns: int
    samples: int
    bits: int
    photometric: str
    is_signed: bool = False
    method: str = ""
    orientation: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        if not (0 < self.rows <= 0xFFFF and 0 < self.columns <= 0xFFFF):
            size = f"{plural(self.rows, 'row')} of {plural(self.columns, 'column')}"
            raise BadImage(f"it has {size}, but Rows and Columns can be 1 to 65535")


def read_jpeg(file: BinaryIO, size: int) -> Pixels:
    """Read the description of a JPEG or JPEG-LS file of `size` bytes. Raises BadImage."""
    frame, content, transform, is_jfif = 0, b"", -1, False
    scan, orientation = b"", 1
    file.seek(0)
    for marker, payload in _segments(file):
        if marker in _FRAMES:
            frame, content = marker, payload
        elif marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            transform = payload[11]
        elif marker == _APP0:
            is_jfif |= payload.startswith(b"JFIF\0")
        elif marker == _APP1 and payload.startswith(_EXIF):
            orientation = _orientation(payload.removeprefix(_EXIF))
        elif marker == _SOS:
            scan = payload
    if not frame or len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise BadImage("it is malformed: no frame header before its first scan")
    _check_end(file, size)
    precision, rows, columns, samples = struct.unpack(">BHHB", content[:6])
    components = [(content[at], content[at + 1]) for at in range(6, 6 + 3 * samples, 3)]
    near = scan[1 + 2 * scan[0]] if scan and len(scan) > 1 + 2 * scan[0] else 0
    syntaxes, method = _jpeg_syntaxes(frame, precision, near)
    names = bytes(name for name, _ in components)
    is_transformed = transform == 1 or (transform < 0 and _is_usually_ycc(frame, names, is_jfif))
    is_reduced = len({factors for _, factors in components}) > 1
    photometric = _photometric(samples, is_transformed, is_reduced)
    return Pixels(
        syntaxes, rows, columns, samples, precision, photometric, False, method, orientation
    )


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield markers and what they hold, up to the first scan."""
    if file.read(2) != bytes([0xFF, _SOI]):
        raise BadImage("it is not a JPEG file")
    marker = 0
    while marker != _SOS:
        first = file.read(1)
        if first and first != b"\xff":
            raise BadImage("it is malformed: no marker where one should be")
        while (byte := file.read(1)) == b"\xff":
            pass
        marker = byte[0] if byte else _EOI
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        payload = file.read(max(length, 0))
        if marker == _EOI or length < 0 or len(payload) < length:
            raise BadImage("it breaks off within its header")
        yield marker, payload


def _orientation(tiff: bytes) -> int:
    """Find the orientation among the tags of an image (TIFF 6.0 section 2); 1 if there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    start = int(struct.unpack(f"{order}L", tiff[4:8])[0])
    count, entries = tiff[start : start + 2], tiff[start + 2 :]
    end = 12 * struct.unpack(f"{order}H", count)[0] if len(count) == 2 else 0
    for at in range(0, min(end, len(entries) - 11), 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHLH", entries, at)
        if tag == _ORIENTATION:
            return int(value) if 1 <= value <= 8 else 1
    return 1


def _check_end(file: BinaryIO, size: int) -> None:
    """Check that the file has the marker for the end of the image, which a scan cannot hold."""
    file.seek(max(file.tell(), size - _TAIL))
    if _END not in file.read():
        raise BadImage("it breaks off before its end (or much follows that is not of the image)")


def _jpeg_syntaxes(frame: int, precision: int, near: int) -> tuple[tuple[str, ...], str]:
    """Return the transfer syntaxes of a kind of JPEG, and the method of lossy compression.

    `near` is what the header of the scan has in its place: of lossless JPEG the predictor.
    """
    if frame == _JPEG_LS_FRAME:
        return (_jpeg("81"), "ISO_14495_1") if near else (_jpeg("80", "81"), "")
    if frame == _BASELINE and precision == 8:
        return _jpeg("50", "51"), "ISO_10918_1"
    if frame == _EXTENDED and precision in (8, 12):
        return _jpeg("51"), "ISO_10918_1"
    if frame == _LOSSLESS:
        return _jpeg("70", "57") if near == 1 else _jpeg("57"), ""
    if frame == _PROGRESSIVE:
        raise BadImage(
            "it is a progressive JPEG, which was retired from DICOM: make a baseline one"
        )
    raise BadImage("it is a JPEG of a kind that DICOM does not have: make a baseline one")


def _jpeg(*suffixes: str) -> tuple[str, ...]:
    return tuple("1.2.840.10008.1.2.4." + suffix for suffix in suffixes)


def _is_usually_ycc(frame: int, names: bytes, is_jfif: bool) -> bool:
    """Return True if colours are YCbCr where no Adobe marker tells."""
    if frame == _JPEG_LS_FRAME or names == b"RGB":
        return False
    return is_jfif or frame != _LOSSLESS


def _photometric(samples: int, is_transformed: bool, is_reduced: bool = False) -> str:
    if samples == 1:
        return "MONOCHROME2"
    if samples != 3:
        raise BadImage(f"it has {samples} samples a pixel: DICOM has 1 or 3, grey or RGB")
    if not is_transformed:
        return "RGB"
    return "YBR_FULL_422" if is_reduced else "YBR_FULL"


def find_codestream(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Find the codestream in a JP2 or JPH file of `size` bytes.

    Returns where it starts, how long it is, and its enumerated colour space, 0 if that is not
    told. Raises BadImage.
    """
    colours = 0
    for kind, start, length in _boxes(file, 0, size):
        if kind == b"jp2h":
            for inner, at, inner_length in _boxes(file, start, start + length):
                if inner == b"pclr":
                    raise BadImage("its colours are in a palette: make it RGB")
                file.seek(at)
                if inner == b"colr" and inner_length >= 7:
                    method, colours_found = struct.unpack(">BxxL", file.read(7))
                    colours = colours_found if method == 1 else colours
        if kind == b"jp2c":
            return start, length, colours
    raise BadImage("it has no codestream")


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of what is in boxes (ISO 15444-1 annex I.4)."""
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">L4s", file.read(8))
        head = 8
        if length == 1:
            length, head = int.from_bytes(file.read(8), "big"), 16
        length = length or end - start
        if length < head or start + length > end:
            raise BadImage("it breaks off within a box")
        yield kind, start + head, length - head
        start += length


def read_jpeg_2000(file: BinaryIO, start: int, size: int, colours: int = 0) -> Pixels:
    """Read the description of a JPEG 2000 codestream. Raises BadImage."""
    segments = dict(_main_header(file, start))
    siz, cod = segments.get(_SIZ, b""), segments.get(_COD, b"")
    if len(siz) < 36 or len(cod) < 10:
        raise BadImage("it is malformed: its header is not complete")
    x, y, x0, y0 = struct.unpack_from(">4L", siz, 2)
    (samples,) = struct.unpack_from(">H", siz, 34)
    components = {siz[at : at + 3] for at in range(36, 36 + 3 * samples, 3)}
    if len(components) != 1 or len(next(iter(components))) < 3:
        raise BadImage("its components differ, which DICOM does not allow")
    depth, *steps = components.pop()
    if steps != [1, 1]:
        raise BadImage("its components are subsampled, which DICOM does not allow")
    file.seek(start + max(size - 16, 0))
    if _END not in file.read(min(size, 16)):
        raise BadImage("it breaks off before its end")
    is_reversible, is_multiple = cod[9] == 1, cod[4] == 1
    is_fast = int.from_bytes(segments.get(_CAP, b"")[:4], "big") & _HIGH_THROUGHPUT
    if is_fast:
        syntaxes = _jpeg("201", "202", "203") if is_reversible else _jpeg("203")
    else:
        syntaxes = _jpeg("90", "91") if is_reversible else _jpeg("91")
    photometric = _photometric(samples, False)
    if samples == 3 and is_multiple:
        photometric = "YBR_RCT" if is_reversible else "YBR_ICT"
    elif samples == 3 and colours == _SYCC:
        photometric = "YBR_FULL"
    return Pixels(
        syntaxes,
        y - y0,
        x - x0,
        samples,
        (depth & 0x7F) + 1,
        photometric,
        is_signed=bool(depth & 0x80),
        method="" if is_reversible else ("ISO_15444_15" if is_fast else "ISO_15444_1"),
    )


def _main_header(file: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield markers and what they hold, up to the first tile."""
    file.seek(start + 2)
    while True:
        head = file.read(4)
        if len(head) < 4:
            raise BadImage("it breaks off within its header")
        marker, length = struct.unpack(">HH", head)
        if marker == _SOT:
            return
        payload = file.read(length - 2) if length >= 2 else b""
        if marker < 0xFF00 or len(payload) != length - 2:
            raise BadImage("it is malformed, or breaks off within its header")
        yield marker, payload
