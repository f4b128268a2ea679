"""What files of images tell: kinds, sizes, colours, transfer syntaxes; and what is turned away."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dcmweb.dicom.images.content import Kind, MediaFile, read_media_file
from dcmweb.errors import LocalError

RGB = np.zeros((5, 7, 3), np.uint8)
GREY, RGBA, DEEP = RGB[..., 0], np.zeros((5, 7, 4), np.uint8), np.zeros((5, 7), np.uint16)
PREFIX = "1.2.840.10008.1.2.4."


def encoded(array: Any, form: str = "JPEG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **how)
    return buffer.getvalue()


def looked_at(folder: Path, data: bytes) -> MediaFile:
    path = folder / "a file"
    path.write_bytes(data)
    return read_media_file(str(path))


def without_marker(data: bytes, marker: int) -> bytes:
    """Take a segment out of a JPEG."""
    at = data.index(bytes([0xFF, marker]))
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:at] + data[at + 2 + length :]


@pytest.mark.parametrize(
    ("data", "syntax", "samples", "photometric", "method"),
    [
        (encoded(GREY), "50", 1, "MONOCHROME2", "ISO_10918_1"),
        (encoded(RGB), "50", 3, "YBR_FULL_422", "ISO_10918_1"),
        (encoded(RGB, subsampling="4:4:4"), "50", 3, "YBR_FULL", "ISO_10918_1"),
        (encoded(RGB, keep_rgb=True), "50", 3, "RGB", "ISO_10918_1"),
        (without_marker(encoded(RGB), 0xE0), "50", 3, "YBR_FULL_422", "ISO_10918_1"),
        (encoded(RGB, "JPEG2000", no_jp2=True, mct=1), "90", 3, "YBR_RCT", ""),
        (encoded(RGB, "JPEG2000", mct=1), "90", 3, "YBR_RCT", ""),
        (encoded(RGB, "JPEG2000", mct=0), "90", 3, "RGB", ""),
        (encoded(RGB, "JPEG2000", irreversible=True, mct=1), "91", 3, "YBR_ICT", "ISO_15444_1"),
        (encoded(GREY, "JPEG2000"), "90", 1, "MONOCHROME2", ""),
    ],
)
def test_images_tell_what_they_are(
    tmp_path: Path, data: bytes, syntax: str, samples: int, photometric: str, method: str
) -> None:
    content = looked_at(tmp_path, data + b"\0")
    found = content.pixels
    assert found is not None
    assert content.kind is Kind.IMAGE
    assert found.syntaxes[0] == PREFIX + syntax
    assert (found.rows, found.columns, found.samples, found.bits) == (5, 7, samples, 8)
    assert (found.photometric, found.method) == (photometric, method)


def exif(tiff: bytes) -> bytes:
    """A JPEG with an Exif segment."""
    plain, payload = encoded(GREY), b"Exif\0\0" + tiff
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload + plain[2:]


def tiff(order: str, *entries: tuple[int, int], start: int = 8) -> bytes:
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", start)
    body = struct.pack(f"{order}H", len(entries))
    return head + body + b"".join(struct.pack(f"{order}HHLHH", t, 3, 1, v, 0) for t, v in entries)


@pytest.mark.parametrize(
    ("data", "orientation"),
    [
        (tiff("<", (0x0100, 7), (0x0112, 6)), 6),
        (tiff(">", (0x0112, 3)), 3),
        (tiff(">", (0x0112, 9)), 1),
        (tiff(">", (0x0100, 6)), 1),
        (tiff("<") + tiff("<", (0x0112, 6))[10:], 1),  # behind what is counted
        (tiff("<", (0x0112, 6), start=0xFFFFFFFF), 1),
        (tiff("<", (0x0112, 6))[:-3], 1),
        (b"II*\0\x08", 1),
        (b"", 1),
    ],
)
def test_the_orientation_of_an_image_is_found_where_it_is_told(
    tmp_path: Path, data: bytes, orientation: int
) -> None:
    turned, upright = looked_at(tmp_path, exif(data)), looked_at(tmp_path, encoded(GREY))
    assert turned.pixels is not None
    assert turned.pixels.orientation == orientation
    assert turned.pixels == upright.pixels  # so both can be frames of one instance


def test_deep_images_have_more_bits(tmp_path: Path) -> None:
    content = looked_at(tmp_path, encoded(DEEP, "JPEG2000"))
    assert content.pixels is not None
    assert (content.pixels.bits, content.pixels.is_signed) == (16, False)


def test_of_a_jp2_file_the_codestream_is_taken(tmp_path: Path) -> None:
    data = encoded(RGB, "JPEG2000")
    content = looked_at(tmp_path, data)
    codestream = data[content.start : content.start + content.size]
    assert content.start > 0
    assert (codestream[:4], codestream[-2:]) == (b"\xff\x4f\xff\x51", b"\xff\xd9")


@pytest.mark.parametrize(
    "name",
    [
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "JPEG2000.dcm",
        "MR_small_jp2klossless.dcm",
        "GDCMJ2K_TextGBR.dcm",
        "JPEGLSNearLossless_08.dcm",
        "JPEGLSNearLossless_16.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "examples_ybr_color.dcm",
    ],
)
def test_frames_of_real_instances_tell_what_the_instances_say(tmp_path: Path, name: str) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
    frames = int(dataset.get("NumberOfFrames", 1))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=frames))
    found = looked_at(tmp_path, frame).pixels
    assert found is not None
    assert dataset.file_meta.TransferSyntaxUID in found.syntaxes
    assert (found.rows, found.columns) == (dataset.Rows, dataset.Columns)
    assert (found.samples, found.bits) == (dataset.SamplesPerPixel, dataset.BitsStored)
    assert found.photometric == dataset.PhotometricInterpretation


def test_high_throughput_jpeg_2000_is_told_by_its_capabilities(tmp_path: Path) -> None:
    plain = encoded(GREY, "JPEG2000", no_jp2=True)
    (length,) = struct.unpack(">H", plain[4:6])
    capabilities = struct.pack(">HHLH", 0xFF50, 8, 1 << 17, 0)
    data = plain[: 4 + length] + capabilities + plain[4 + length :]
    found = looked_at(tmp_path, data).pixels
    assert found is not None
    assert found.syntaxes == (PREFIX + "201", PREFIX + "202", PREFIX + "203")


def patched(data: bytes, before: bytes, after: bytes) -> bytes:
    assert before in data
    return data.replace(before, after)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (encoded(RGB, progressive=True), "progressive"),
        (patched(encoded(RGB), b"\xff\xc0", b"\xff\xc9"), "of a kind"),
        (patched(encoded(RGB), b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "of a kind"),
        (encoded(RGBA[..., :], "JPEG2000"), "4 samples"),
        (encoded(RGB)[:-2], "breaks off"),
        (encoded(RGB)[:100], "breaks off within its header"),
        (encoded(RGB)[:3], "breaks off within its header"),
        (encoded(RGB)[:2] + b"\xff\xd9", "breaks off within its header"),
        (encoded(RGB)[:20] + b"junk", "no marker"),
        (encoded(RGB, "JPEG2000")[:-20], "breaks off"),
        (encoded(RGB, "JPEG2000", no_jp2=True)[:-20], "breaks off"),
        (encoded(RGB, "JPEG2000", no_jp2=True)[:30], "breaks off"),
        (b"\xff\x4f\xff\x51", "breaks off"),
        (encoded(RGB, "JPEG2000")[:12], "no codestream"),
        (encoded(RGB, "PNG"), "PNG"),
        (encoded(RGB, "GIF"), "GIF"),
        (encoded(RGB, "BMP"), "BMP"),
        (encoded(RGB, "TIFF"), "TIFF"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM file already"),
        (encoded(RGB, "TIFF")[:128].ljust(128, b"\0") + b"DICM" + bytes(100), "DICOM file already"),
        (b"MM\0*".ljust(128, b"\0") + b"DICM", "DICOM file already"),
        (b"%PDF-1.7".ljust(128, b"\0") + b"DICM", "DICOM file already"),
        (b"\xff\xd8\xff\xe0".ljust(128, b"\0") + b"DICM", "DICOM file already"),
    ],
)
def test_what_is_no_pixel_data_is_turned_away_in_words(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(LocalError, match=words) as caught:
        looked_at(tmp_path, data)
    assert caught.value.path.endswith("a file")


@pytest.mark.parametrize("form", ["JPEG", "JPEG2000"])
def test_noise_in_a_header_is_no_defect(tmp_path: Path, form: str) -> None:
    data = encoded(RGB, form)
    for number in range(300):
        noise = bytearray(data)
        noise[4 + number % (len(data) - 4)] ^= 1 << number % 8
        cut = noise[: len(noise) - number % 50]
        try:
            looked_at(tmp_path, bytes(cut))
        except LocalError as error:
            assert error.message  # noqa: PT017


def test_documents_and_what_is_not_known(tmp_path: Path) -> None:
    assert looked_at(tmp_path, b"%PDF-1.7\n").kind is Kind.PDF
    assert looked_at(tmp_path, os.urandom(4) + b"junk").kind is Kind.OTHER
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LocalError, match="not a regular file"):
        read_media_file(str(tmp_path / "pipe"))
