"""Bulk data: which bytes a location names, and what they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset as Elements
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from werkzeug.exceptions import BadRequest, NotFound

from dcmweb.archive.representations.bulkdata import Bulk, find_bulkdata
from dcmweb.archive.representations.metadata import file_metadata
from dcmweb.dicom.json_model import Dataset
from dcmweb.http.part_stream import PIECE

NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
PLAIN = f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"


def save(path: Path, elements: Elements, syntax: UID) -> str:
    elements.SOPClassUID, elements.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    elements.file_meta = FileMetaDataset()
    elements.file_meta.TransferSyntaxUID = syntax
    elements.save_as(path, enforce_file_format=True)
    return str(path)


def content(bulk: Bulk) -> bytes:
    pieces = list(bulk.source.pieces())
    assert all(len(piece) <= PIECE for piece in pieces)
    assert sum(map(len, pieces)) == bulk.source.size
    assert list(bulk.source.pieces()) == pieces
    return b"".join(pieces)


def value(path: str, location: str) -> bytes:
    (bulk,) = find_bulkdata(path, location)
    assert str(bulk.media_type) == PLAIN
    return content(bulk)


@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_values_are_found_in_little_endian(tmp_path: Path, syntax: UID) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    words = np.arange(300_000, dtype=np.uint16)
    document = os.urandom(70_000)
    elements = Elements()
    elements.PatientID = "someone"
    elements.add_new(0x00281201, "OW", words[:5000].astype(order + "u2").tobytes())
    elements.add_new(0x00281202, "OW", words[:2].astype(order + "u2").tobytes())
    elements.add_new(0x00420011, "OB", document)
    elements.add_new(0x00660016, "OF", words.astype(order + "f4").tobytes())
    elements.add_new(0x00660040, "OL", words.astype(order + "u4").tobytes())
    elements.add_new(0x00720073, "OD", words.astype(order + "f8").tobytes())
    elements.add_new(0x00181310, "US", [1, 2, 300])
    elements.PixelRepresentation = 0
    inner = Elements()
    inner.add_new(0x00281203, "OW", words[:1000].astype(order + "u2").tobytes())
    middle = Elements()
    middle.add_new(0x00880200, "SQ", [Elements(), Elements(), inner])
    elements.add_new(0x00880200, "SQ", [Elements(), middle])
    elements.add_new(0x7FE00010, "OW", words.astype(order + "u2").tobytes())
    elements.add_new(0xFFFCFFFC, "OB", document)
    path = save(tmp_path / "x.dcm", elements, syntax)
    assert value(path, "00281201") == words[:5000].astype("<u2").tobytes()
    assert value(path, "00281202") == words[:2].astype("<u2").tobytes()
    assert value(path, "00420011") == value(path, "FFFCFFFC") == document
    assert value(path, "00660016") == words.astype("<f4").tobytes()
    assert value(path, "00660040") == words.astype("<u4").tobytes()
    assert value(path, "00720073") == words.astype("<f8").tobytes()
    assert value(path, "00181310") == np.array([1, 2, 300], "<u2").tobytes()
    assert value(path, "00100020") == b"someone "
    location = "00880200/2/00880200/3/00281203"
    assert value(path, location) == words[:1000].astype("<u2").tobytes()
    assert value(path, "7FE00010") == value(path, "7fe00010") == words.astype("<u2").tobytes()
    for missing in (
        "00281204", "00880200", "00880200/1/00281203", "00880200/2/00880200/4/00281203",
        "00880200/2/00881111/1/00281203", "00880201/1/00281203", "00100020/1/00281203",
        "00881111/1/00281203", "00881111",
    ):  # fmt: skip
        with pytest.raises(NotFound, match=r"no (element|item)|no bulk data"):
            find_bulkdata(path, missing)


@pytest.mark.parametrize(
    "location",
    ["", "7FE0001", "7FE000100", "PixelData", "7FE00010/", "/7FE00010", "7FE00010/1",
     "00880200/0/7FE00010", "00880200/01/7FE00010", "00880200/-1/7FE00010", "00880200/x/7FE00010",
     "00880200/1/7FE00010/1", "../7FE00010", "7FE00010\n", "00880200/9999999999/7FE00010"],
)  # fmt: skip
def test_malformed_locations(location: str) -> None:
    path = get_testdata_file("CT_small.dcm", download=False)
    with pytest.raises(BadRequest, match="not a location"):
        find_bulkdata(str(path), location)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("SC_rgb_rle_2frame.dcm", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
        ("JPEG2000.dcm", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91"),
        ("examples_ybr_color.dcm", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ],
)
def test_encapsulated_pixel_data_is_sent_by_frames(name: str, media_type: str) -> None:
    path = str(get_testdata_file(name, download=False))
    image = pydicom.dcmread(path)
    count = int(image.get("NumberOfFrames", 1))
    found = find_bulkdata(path, "7FE00010")
    assert {str(bulk.media_type) for bulk in found} == {media_type}
    frames = list(generate_frames(image.PixelData, number_of_frames=count))
    assert [content(bulk) for bulk in found] == frames


def test_a_video_is_one_stream(tmp_path: Path) -> None:
    elements = Elements()
    elements.NumberOfFrames = 25
    elements.add_new(0x7FE00010, "OB", encapsulate([b"mpeg" * 9]))
    elements["PixelData"].is_undefined_length = True
    (bulk,) = find_bulkdata(save(tmp_path / "x.dcm", elements, MPEG4HP41), "7FE00010")
    assert content(bulk) == b"mpeg" * 9
    assert str(bulk.media_type) == f"video/mp4; transfer-syntax={MPEG4HP41}"


def test_icons_may_be_encapsulated_too(tmp_path: Path) -> None:
    elements, icon, plain = Elements(), Elements(), Elements()
    icon.add_new(0x7FE00010, "OB", encapsulate([b"icon"]))
    icon["PixelData"].is_undefined_length = True
    plain.add_new(0x7FE00010, "OB", b"plain!")
    elements.IconImageSequence = [icon, plain]
    path = save(tmp_path / "x.dcm", elements, JPEGBaseline8Bit)
    (bulk,) = find_bulkdata(path, "00880200/1/7FE00010")
    assert content(bulk) == b"icon"
    assert str(bulk.media_type) == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    assert value(path, "00880200/2/7FE00010") == b"plain!"


def locations(dataset: Dataset) -> list[str]:
    found: list[str] = []
    for element in dataset.values():
        found += [element["BulkDataURI"]] if "BulkDataURI" in element else []
        if element["vr"] == "SQ":
            found += [uri for item in element.get("Value", []) for uri in locations(item)]
    return [uri.removeprefix("/bulkdata/") for uri in found]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_bigendian.dcm", "waveform_ecg.dcm", "examples_palette.dcm",
     "image_dfl.dcm", "JPEG2000.dcm", "liver_1frame.dcm", "MR_small_implicit.dcm"],
)  # fmt: skip
def test_all_that_metadata_refers_to_is_found(name: str) -> None:
    path = str(get_testdata_file(name, download=False))
    found = locations(file_metadata(path, ""))
    assert found
    for location in found:
        assert all(content(bulk) for bulk in find_bulkdata(path, location))
