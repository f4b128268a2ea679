"""The media type of frames that come as mere bytes, by their content."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dcmweb.http.media_types import MediaType, parse
from dcmweb.local.partial_files import partial_file
from dcmweb.transactions.retrieve.transfer_syntax import kind_of_frame

OCTETS = "application/octet-stream"


def kind_of(folder: Path, data: bytes, kind: str = OCTETS) -> MediaType:
    with partial_file(str(folder)) as file:
        file.write(data)
        return kind_of_frame(file, parse(kind) if kind else None)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("JPGExtended.dcm", ".jpg"),
        ("SC_rgb_jpeg_gdcm.dcm", ".jpg"),
        ("JPEG2000.dcm", ".jp2"),
        ("MR_small_jp2klossless.dcm", ".jp2"),
        ("JPEGLSNearLossless_08.dcm", ".jls"),
        ("MR_small_jpeg_ls_lossless.dcm", ".jls"),
        ("MR_small_RLE.dcm", ".rle"),
        ("SC_rgb_rle_16bit_2frame.dcm", ".rle"),
    ],
)
@pytest.mark.parametrize("kind", [OCTETS, "", f"{OCTETS}; transfer-syntax=*"])
def test_compressed_frames_are_recognised(
    tmp_path: Path, name: str, extension: str, kind: str
) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
    frames = int(dataset.get("NumberOfFrames", 1))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=frames))
    assert kind_of(tmp_path, frame, kind).extension == extension


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_jpeg_that_dicom_has_no_more_is_jpeg_too(tmp_path: Path, padding: bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG", progressive=True)
    assert kind_of(tmp_path, buffer.getvalue() + padding).extension == ".jpg"


@pytest.mark.parametrize(
    "data",
    [
        bytes(200),
        bytes([1, 0, 0, 0]) + bytes(200),
        bytes([1, 0, 0, 0, 64, 0, 0, 0]) + bytes([9]) * 200,  # an offset that is not used
        bytes([255, 216, 255]) * 50,
        b"\xff\x4f\xff\x51" + bytes(100),
        b"x",
    ],
)
def test_pixels_that_only_begin_like_something_stay_bytes(tmp_path: Path, data: bytes) -> None:
    assert kind_of(tmp_path, data).extension == ".raw"


def test_what_the_server_says_goes_first(tmp_path: Path) -> None:
    assert kind_of(tmp_path, b"\xff\xd8\xff\xd9", "image/jls").extension == ".jls"
    explicit = f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.1"
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG")
    assert kind_of(tmp_path, buffer.getvalue()).extension == ".jpg"
    assert kind_of(tmp_path, buffer.getvalue(), explicit).extension == ".raw"
