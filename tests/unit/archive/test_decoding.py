"""Frames that make decoders crash or take too much, decoded without harm to the archive."""

from __future__ import annotations

import io
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit
from werkzeug.exceptions import NotAcceptable

from dcmweb.archive.representations import decoder_pool
from dcmweb.archive.representations.bulkdata import find_bulkdata
from dcmweb.archive.representations.frames import Frames
from dcmweb.archive.representations.transcode import transcoded
from dcmweb.dicom.element_walk import read_meta, skip_preamble
from dcmweb.errors import BrokenDicom
from tests.unit.archive.test_frames import SHIPPED, make

JPEG = SHIPPED / "SC_rgb_small_odd_jpeg.dcm"
OPTIONS: dict[str, Any] = {
    "rows": 3,
    "columns": 3,
    "samples_per_pixel": 1,
    "bits_allocated": 8,
    "bits_stored": 8,
    "pixel_representation": 0,
    "photometric_interpretation": "MONOCHROME2",
    "number_of_frames": 1,
    "pixel_keyword": "PixelData",
}


def crashing(folder: Path) -> Path:
    """Write an image with which GDCM 3.2.6 ends its process by an exception of C++."""
    data = bytearray(JPEG.read_bytes())
    data[0x77D] = 0x54
    path = folder / "crashing.dcm"
    path.write_bytes(data)
    return path


def test_a_frame_that_makes_a_decoder_crash_ends_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        with suppress(NotAcceptable):  # other versions of GDCM decode it
            Frames(str(crashing(tmp_path))).decoded(1)
        array, colours = Frames(str(JPEG)).decoded(1)
        assert np.array_equal(array, pydicom.dcmread(JPEG).pixel_array)
        assert colours == "RGB"


@pytest.fixture
def crashing_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_pool, "_MODULE", "this_module_crashes")
    monkeypatch.setattr(decoder_pool, "_POOL", decoder_pool._Pool())
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "slow"))


@pytest.mark.usefixtures("crashing_decoder")
def test_a_decoder_that_crashes_is_not_acceptable() -> None:
    for _ in range(2):
        with pytest.raises(NotAcceptable, match="frame 1 cannot be decoded"):
            Frames(str(JPEG)).decoded(1)
    rle = SHIPPED / "SC_rgb_rle.dcm"  # no process is needed
    assert np.array_equal(Frames(str(rle)).decoded(1)[0], pydicom.dcmread(rle).pixel_array)


def test_a_decoder_that_has_ended_is_replaced() -> None:
    Frames(str(JPEG)).decoded(1)
    (worker, *_) = decoder_pool._POOL._idle
    worker._process.kill()
    worker._process.wait()
    results = []
    for _ in range(2):
        try:
            results.append(Frames(str(JPEG)).decoded(1)[1])
        except NotAcceptable:
            results.append("")
    assert results[-1] == "RGB"


@pytest.mark.usefixtures("crashing_decoder")
def test_a_frame_that_makes_decoders_crash_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NotAcceptable, match="crashed"):
        Frames(str(JPEG)).decoded(1)
    monkeypatch.setattr(decoder_pool, "_Worker", None)  # there will be no further one
    with pytest.raises(NotAcceptable, match="crashed"):
        Frames(str(JPEG)).decoded(1)


def test_frames_are_decoded_side_by_side() -> None:
    expected = pydicom.dcmread(JPEG).pixel_array
    found: list[bool] = []

    def decode() -> None:
        for _ in range(5):
            found.append(np.array_equal(Frames(str(JPEG)).decoded(1)[0], expected))

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 40


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_pool, "_TIMEOUT", 0.2)
    monkeypatch.setattr(decoder_pool, "_MODULE", "this_module_waits")
    monkeypatch.setattr(decoder_pool, "_POOL", decoder_pool._Pool())
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "slow"))
    with pytest.raises(ValueError, match="took too long"):
        decoder_pool.decode(b"", JPEGBaseline8Bit, OPTIONS)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit, UID("1.2.840.10008.1.2.1")])
def test_frames_that_are_too_large_are_not_decoded(syntax: UID) -> None:
    options = {**OPTIONS, "rows": 65535, "columns": 65535}
    with pytest.raises(ValueError, match="more than"):
        decoder_pool.decode(b"", syntax, options)


def codestream(size: int) -> bytes:
    """Make the beginning of a JPEG 2000 codestream that announces an image of such a size."""
    siz = size.to_bytes(4, "big") * 2 + bytes(8) + size.to_bytes(4, "big") * 2 + bytes(8)
    siz = b"\0\0" + siz + b"\0\1" + b"\7\1\1"
    cod = b"\0\0\0\1\0\5\4\4\0\1"
    qcd = b"\x40" + b"\x40" * 16
    parts = [(0xFF51, siz), (0xFF52, cod), (0xFF5C, qcd)]
    head = b"".join(
        marker.to_bytes(2, "big") + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in parts
    )
    tile = b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93" + b"\0" * 16
    return b"\xff\x4f" + head + tile + b"\xff\xd9"


def test_a_codestream_that_announces_more_than_its_header_is_not_decoded(tmp_path: Path) -> None:
    data = pydicom.encaps.encapsulate([codestream(60_000)])
    path = make(tmp_path / "a", data, JPEG2000Lossless)
    with pytest.raises(NotAcceptable, match="cannot be decoded"):
        Frames(str(path)).decoded(1)
    assert Frames(str(JPEG)).decoded(1)[1] == "RGB"


def test_what_inflates_to_too_much_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SHIPPED / "image_dfl.dcm"
    assert Frames(str(path)).count == 1
    monkeypatch.setattr("dcmweb.dicom.inflation.LARGEST_INFLATED", 1000)
    monkeypatch.setattr("dcmweb.dicom.inflation.MOST_INFLATION", 1)
    with pytest.raises(BrokenDicom, match="too large"):
        Frames(str(path))


@pytest.mark.parametrize("allocated", [24, 784, 65528])
def test_words_of_odd_sizes_are_not_swapped(tmp_path: Path, allocated: int) -> None:
    path = make(tmp_path / "a", b"\0" * 16, "1.2.840.10008.1.2.2", BitsAllocated=allocated)
    with pytest.raises(NotAcceptable, match="cannot be"):
        b"".join(transcoded(str(path), "1.2.840.10008.1.2.1"))


@pytest.mark.parametrize(("old", "new"), [(b"UI", b"UG"), (b"\2\0\0\0UL\4\0", b"\2\0\0\0UL\6\0")])
def test_odd_file_meta_information_is_not_acceptable(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    data = (SHIPPED / "CT_small.dcm").read_bytes()
    start = (
        data[: 128 + 300].replace(b"\2\0\x10\0UI", b"\2\0\x10\0" + new)
        if old == b"UI"
        else (data[: 128 + 300].replace(old, new))
    )
    path = tmp_path / "a"
    path.write_bytes(start + data[128 + 300 :])
    with pytest.raises(NotAcceptable, match="malformed"):
        transcoded(str(path), "1.2.840.10008.1.2")


# What breaks off late.


def short_deflated(folder: Path) -> Path:
    """Write a deflated file, complete in itself, whose pixel data is shorter than its length."""
    dataset = pydicom.dcmread(SHIPPED / "image_dfl.dcm")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    data = buffer.getvalue()
    stream = zlib.decompress(data[_start_of_dataset(data) :], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflater.compress(stream[:-500]) + deflater.flush()
    path = folder / "short.dcm"
    path.write_bytes(data[: _start_of_dataset(data)] + body)
    return path


def _start_of_dataset(data: bytes) -> int:
    file = io.BytesIO(data)
    skip_preamble(file)
    read_meta(file)
    return file.tell()


def test_pixel_data_that_ends_early_is_noticed_before_anything_is_sent(tmp_path: Path) -> None:
    path = str(short_deflated(tmp_path))
    with pytest.raises(NotAcceptable, match="ends before"):
        transcoded(path, "1.2.840.10008.1.2.1")
    with pytest.raises(NotAcceptable, match="ends before"):
        find_bulkdata(path, "7FE00010")


@pytest.mark.parametrize("largest", [0, 10**9], ids=["streamed", "spooled"])
def test_a_later_frame_that_cannot_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr("dcmweb.archive.representations.transcode._LARGEST_SPOOLED", largest)
    dataset = pydicom.dcmread(SHIPPED / "SC_rgb_rle_2frame.dcm")
    first, second = generate_frames(dataset.PixelData, number_of_frames=2)
    dataset.PixelData = encapsulate([first, second[:-200]])
    path = tmp_path / "a"
    dataset.save_as(path)
    if largest:
        with pytest.raises(NotAcceptable, match="frame 2"):
            transcoded(str(path), "1.2.840.10008.1.2.1")
    else:
        pieces = transcoded(str(path), "1.2.840.10008.1.2.1")
        with pytest.raises(NotAcceptable, match="frame 2"):
            list(pieces)
    dataset.PixelData = encapsulate([first, second])
    dataset.save_as(path)
    data = b"".join(transcoded(str(path), "1.2.840.10008.1.2.1"))
    expected = pydicom.dcmread(path).pixel_array
    assert np.array_equal(pydicom.dcmread(io.BytesIO(data)).pixel_array, expected)


@pytest.mark.parametrize("tag", [b"\x28\0\x00\x01US", b"\x28\0\x04\0CS", b"\x28\0\x02\0US"])
def test_unknown_vrs_in_the_description_of_the_pixels(tmp_path: Path, tag: bytes) -> None:
    data = (SHIPPED / "CT_small.dcm").read_bytes()
    assert tag in data
    path = tmp_path / "a"
    path.write_bytes(data.replace(tag, tag[:4] + b"YS"))
    with pytest.raises(NotAcceptable, match="malformed"):
        Frames(str(path))
