"""Files in another transfer syntax: the same pixels, the same elements."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from werkzeug.exceptions import NotAcceptable

from dcmweb.archive.representations.transcode import TARGETS, transcoded
from dcmweb.dicom.part10 import find_damage
from tests.unit.archive.test_frames import JPEGS, READABLE, SHIPPED, make

CHANGING = {"PixelData", "PhotometricInterpretation"}


@pytest.mark.parametrize("syntax", TARGETS)
@pytest.mark.parametrize("name", [*READABLE, "test-SR.dcm", "priv_SQ.dcm", "waveform_ecg.dcm"])
@pytest.mark.filterwarnings("ignore")
def test_pixels_and_elements_stay(name: str, syntax: str) -> None:
    data = b"".join(transcoded(str(SHIPPED / name), syntax))
    assert find_damage(io.BytesIO(data)) == ""
    source, result = pydicom.dcmread(SHIPPED / name), pydicom.dcmread(io.BytesIO(data))
    assert result.file_meta.TransferSyntaxUID == syntax
    if "PixelData" in source:
        assert np.array_equal(source.pixel_array, result.pixel_array)
        if source.SamplesPerPixel == 1:
            assert result.PhotometricInterpretation == source.PhotometricInterpretation
    for element in source:
        if element.keyword in CHANGING or element.tag.element == 0:
            continue
        if element.tag.is_private and syntax == ImplicitVRLittleEndian:
            assert element.tag in result  # whose VR is not told there
        else:
            assert result[element.tag].value == element.value


@pytest.mark.parametrize("colours", ["YBR_FULL", "RGB"])
@pytest.mark.parametrize("syntax", TARGETS)
@pytest.mark.parametrize("planar", [0, 1])
def test_every_frame_has_the_colours_of_the_first(
    tmp_path: Path, colours: str, syntax: str, planar: int
) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (4, 3, 5, 3), np.uint8)
    path = make(
        tmp_path / "a",
        frames.tobytes(),
        NumberOfFrames=4,
        SamplesPerPixel=3,
        PhotometricInterpretation=colours,
        PlanarConfiguration=0,
    )
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.PlanarConfiguration = planar
    dataset.save_as(path)
    result = pydicom.dcmread(io.BytesIO(b"".join(transcoded(str(path), syntax))))
    assert np.array_equal(result.pixel_array, pydicom.dcmread(path).pixel_array)
    assert result.PhotometricInterpretation == "RGB"


def test_elements_behind_the_pixel_data_stay(tmp_path: Path) -> None:
    path = make(tmp_path / "a", bytes(range(16)), ImplicitVRLittleEndian)
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.add_new(0x7FE10010, "LO", "Jörg")
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 6)
    dataset.save_as(path)
    result = pydicom.dcmread(io.BytesIO(b"".join(transcoded(str(path), ExplicitVRLittleEndian))))
    assert result[0xFFFCFFFC].value == b"\0" * 6
    assert result[0x7FE10010].value == "Jörg"


def test_words_of_big_endian_values_are_swapped(tmp_path: Path) -> None:
    path = make(tmp_path / "a", b"\0" * 16, ExplicitVRBigEndian)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60003000, "OW", b"\1\2\3\4")
    dataset.save_as(path)
    result = pydicom.dcmread(io.BytesIO(b"".join(transcoded(str(path), ExplicitVRLittleEndian))))
    assert result[0x60003000].value == b"\2\1\4\3"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.3", "*"])
def test_other_targets_are_turned_down_at_once(syntax: str) -> None:
    with pytest.raises(NotAcceptable):
        transcoded(str(SHIPPED / "CT_small.dcm"), syntax)


def test_what_cannot_be_decoded_is_turned_down_at_once(tmp_path: Path) -> None:
    data = pydicom.encaps.encapsulate(JPEGS)
    path = make(tmp_path / "a", data, "1.2.840.10008.1.2.4.50", NumberOfFrames=3)
    with pytest.raises(NotAcceptable, match="frame 1 cannot be decoded"):
        transcoded(str(path), ExplicitVRLittleEndian)


def test_pixel_data_is_not_held_in_memory(tmp_path: Path) -> None:
    size = 16 * 1024 * 1024
    path = make(tmp_path / "a", b"\0" * size, Rows=4096, Columns=4096)
    tracemalloc.start()
    try:
        count = sum(map(len, transcoded(str(path), ImplicitVRLittleEndian)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count > size
    assert peak < size / 4
