"""Frames of the pixel data: where they are in a file, and what they are uncompressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    MPEG4HP41,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)
from werkzeug.exceptions import NotAcceptable, NotFound

from dcmweb.archive.representations.byte_ranges import ByteRange, walk_items
from dcmweb.archive.representations.frames import Frames
from dcmweb.http.media_types import FRAME_MEDIA_TYPES, frame_media_type

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
READABLE = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
    "rtdose_expb.dcm",
]
JPEGS = [b"\xff\xd8first" + b"\xff\xd9\0", b"\xff\xd8other frame\xff\xd9\0", b"\xff\xd8c\xff\xd9"]


def make(path: Path, pixels: bytes, syntax: str = ExplicitVRLittleEndian, **values: object) -> Path:
    """Write an instance of 8 bits, 3 x 5 pixels, with such pixel data."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    dataset = FileDataset(
        "",
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=UID(syntax).is_implicit_VR,
        is_little_endian=UID(syntax).is_little_endian,
    )
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 3, 5, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, "MONOCHROME2"
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def stored(frames: Frames, number: int) -> bytes:
    source = frames.stored(number)
    data = b"".join(source.pieces())
    assert len(data) == source.size
    return data


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.filterwarnings("ignore")
def test_frames_are_those_that_pydicom_reads(name: str) -> None:
    frames = Frames(str(SHIPPED / name))
    expected = pydicom.dcmread(SHIPPED / name).pixel_array
    expected = expected if frames.count > 1 else expected[np.newaxis]
    for number in range(1, frames.count + 1):
        assert np.array_equal(frames.decoded(number)[0], expected[number - 1])
        assert stored(frames, number)


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
def test_native_frames_are_little_endian(name: str) -> None:
    expected = pydicom.dcmread(SHIPPED / "MR_small.dcm").PixelData
    assert Frames(str(SHIPPED / name)).native(1) == expected


def test_bytes_in_big_endian_words_are_put_in_order(tmp_path: Path) -> None:
    plain = bytes(range(30))
    swapped = np.frombuffer(plain, ">u2").astype("<u2").tobytes()
    path = make(tmp_path / "a", swapped, ExplicitVRBigEndian, NumberOfFrames=2)
    dataset = pydicom.dcmread(path)
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)
    frames = Frames(str(path))
    assert [frames.native(1), frames.native(2)] == [plain[:15], plain[15:]]


def test_frames_of_single_bits_begin_with_the_first_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (3, 15), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    values: dict[str, Any] = {
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "NumberOfFrames": 3,
    }
    frames = Frames(str(make(tmp_path / "a", packed, **values)))
    for number, frame in enumerate(bits, 1):
        expected = np.packbits(frame, bitorder="little").tobytes()
        assert stored(frames, number) == frames.native(number) == expected


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
def test_fragments_are_joined(tmp_path: Path, table: bool, fragments: int) -> None:
    data = encapsulate(JPEGS, fragments_per_frame=fragments, has_bot=table)
    frames = Frames(str(make(tmp_path / "a", data, JPEGBaseline8Bit, NumberOfFrames=3)))
    for number, expected in enumerate(JPEGS, 1):
        assert stored(frames, number).rstrip(b"\0") == expected.rstrip(b"\0")


@pytest.mark.parametrize("items", [[b""] * 9, [b"\0" * 16, b"\xff\xd8\xff\xd9"]])
def test_fragments_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: list[bytes]
) -> None:
    """Each takes memory, and those that are empty take little room in a file."""
    data = b"".join(b"\xfe\xff\0\xe0" + len(item).to_bytes(4, "little") + item for item in items)
    path = make(tmp_path / "a", data, JPEGBaseline8Bit, NumberOfFrames=3)
    Frames(str(path)).stored(1)
    walked: list[object] = []

    def walking(file: IO[bytes]) -> Iterator[ByteRange]:
        for item in walk_items(file):
            walked.append(item)
            yield item

    monkeypatch.setattr("dcmweb.archive.representations.frames.walk_items", walking)
    monkeypatch.setattr("dcmweb.archive.representations.frames._MOST_FRAGMENTS", 3)
    with pytest.raises(NotAcceptable, match="more than 3 fragments"):
        Frames(str(path)).stored(1)
    assert len(walked) <= 4


def test_extended_offset_table_is_used(tmp_path: Path) -> None:
    data, offsets, lengths = encapsulate_extended(JPEGS)
    tables = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    path = make(tmp_path / "a", data, JPEGBaseline8Bit, NumberOfFrames=3, **tables)
    frames = [stored(Frames(str(path)), n).rstrip(b"\0") for n in (1, 2, 3)]
    assert frames == [jpeg.rstrip(b"\0") for jpeg in JPEGS]


def test_there_are_no_more_frames_than_there_are(tmp_path: Path) -> None:
    frames = Frames(str(make(tmp_path / "a", b"\0" * 30, NumberOfFrames=2)))
    for number in (0, 3):
        with pytest.raises(NotFound, match=f"frame {number}: the instance has only 2"):
            frames.stored(number)


def test_documents_have_no_frames() -> None:
    frames = Frames(str(SHIPPED / "test-SR.dcm"))
    assert frames.count == 1
    with pytest.raises(NotFound, match="no pixel data"):
        frames.stored(1)


def test_float_pixel_data(tmp_path: Path) -> None:
    values = np.arange(15, dtype="<f4").reshape(3, 5)
    path = make(tmp_path / "a", b"\0" * 16, BitsAllocated=32)
    dataset: Dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(path)
    frames = Frames(str(path))
    assert frames.native(1) == values.tobytes()
    assert np.array_equal(frames.decoded(1)[0], values)


def test_what_cannot_be_decoded_is_not_acceptable(tmp_path: Path) -> None:
    path = make(tmp_path / "a", encapsulate(JPEGS[:1]), JPEGBaseline8Bit)
    with pytest.raises(NotAcceptable, match="frame 1 cannot be decoded"):
        Frames(str(path)).native(1)


def test_a_video_is_one_stream(tmp_path: Path) -> None:
    path = make(tmp_path / "a", encapsulate([b"ab", b"cd"]), MPEG4HP41, NumberOfFrames=9)
    assert stored(Frames(str(path)), 1) == b"abcd"
    with pytest.raises(NotAcceptable):
        Frames(str(path)).stored(2)


def test_media_types() -> None:
    assert frame_media_type(JPEGBaseline8Bit) == "image/jpeg"
    assert frame_media_type("1.2.840.10008.1.2.5") == "image/dicom-rle"
    assert frame_media_type(ExplicitVRLittleEndian) == "application/octet-stream"
    assert len(FRAME_MEDIA_TYPES) == 26
