"""Metadata: what becomes of the values of files, sound and odd."""

from __future__ import annotations

import base64
import errno
import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset as Elements
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dcmweb.archive.representations.bulkdata import find_bulkdata
from dcmweb.archive.representations.metadata import (
    LARGEST_INLINE,
    OpenDataset,
    file_metadata,
    read_elements,
)
from dcmweb.dicom.json_model import Dataset
from dcmweb.errors import BrokenDicom

URL = "https://example.org/studies/1/series/2/instances/3"
TAG_IN_ITEM = "00081110/1/00081155"
NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def inline(vr: str, data: bytes) -> dict[str, Any]:
    return {"vr": vr, "InlineBinary": base64.b64encode(data).decode()}


def bulk(vr: str, location: str) -> dict[str, Any]:
    return {"vr": vr, "BulkDataURI": f"{URL}/bulkdata/{location}"}


def save(path: Path, elements: Elements, syntax: UID = ExplicitVRLittleEndian) -> str:
    elements.SOPClassUID, elements.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    elements.file_meta = FileMetaDataset()
    elements.file_meta.TransferSyntaxUID = syntax
    elements.save_as(path, enforce_file_format=True)
    return str(path)


def odd_file(path: Path, vr: str, value: bytes, element: int = 0x1010) -> str:
    """Write a file with an element of group 7FDF at its end, of any value."""
    elements = Elements()
    elements.PatientID = "me"
    save(path, elements)
    is_long = vr in ("OB", "SQ", "UN")
    length = struct.pack("<HL", 0, len(value)) if is_long else struct.pack("<H", len(value))
    with path.open("ab") as file:
        file.write(struct.pack("<HH", 0x7FDF, element) + vr.encode() + length + value)
    return str(path)


def read(path: str) -> Dataset:
    dataset = file_metadata(path, URL)
    json.dumps(dataset, allow_nan=False).encode()
    assert list(dataset) == sorted(dataset)
    return dataset


@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_values_and_bulk_data(tmp_path: Path, syntax: UID) -> None:
    long = LARGEST_INLINE + 2
    elements = Elements()
    elements.SpecificCharacterSet = "ISO_IR 100"
    elements.PatientName = "Müller^Jörg"
    elements.ImageType = ["DERIVED", "", "OTHER"]
    elements.AccessionNumber = ""
    elements.Rows = 512
    elements.PixelRepresentation = 1
    elements.SmallestImagePixelValue = -5
    elements.InstanceNumber = 7
    elements.ImagePositionPatient = [-1.5, 0, "1e-7"]
    elements.FrameIncrementPointer = [0x00181063]
    elements.add_new(0x00189087, "FD", [float("nan"), float("inf"), -float("inf"), 0.5])
    elements.add_new(0x00281201, "OW", b"\1\2\3\4")
    elements.add_new(0x00281202, "OW", b"\1\2" * long)
    elements.add_new(0x00420011, "OB", b"x" * 70_000)
    elements.add_new(0x00104000, "LT", "long " * 14_000 if syntax.is_implicit_VR else "short")
    item = Elements()
    item.add_new(0x00281203, "OW", b"\3\4" * long)
    item.add_new(0x00281202, "OW", b"\3\4")
    elements.IconImageSequence = [Elements(), item]
    elements.add_new(0x7FE00010, "OW", os.urandom(200_000))
    elements.add_new(0xFFFCFFFC, "OB", b"\0\0")
    words = b"\2\1\4\3" if syntax == ExplicitVRBigEndian else b"\1\2\3\4"
    dataset = read(save(tmp_path / "x.dcm", elements, syntax))
    assert dataset["00080005"] == element("CS", "ISO_IR 192")
    assert dataset["00083002"] == element("UI", syntax)
    assert dataset["00080050"] == {"vr": "SH"}
    assert dataset["00080008"] == element("CS", "DERIVED", None, "OTHER")
    assert dataset["00100010"] == element("PN", {"Alphabetic": "Müller^Jörg"})
    assert dataset["00280010"] == element("US", 512)
    assert dataset["00280106"] == element("SS", -5)
    assert dataset["00200013"] == element("IS", 7)
    assert dataset["00200032"] == element("DS", -1.5, 0, 1e-7)
    assert dataset["00280009"] == element("AT", "00181063")
    assert dataset["00189087"] == element("FD", "NaN", "Infinity", "-Infinity", 0.5)
    assert dataset["00281201"] == inline("OW", words)
    assert dataset["00281202"] == bulk("OW", "00281202")
    assert dataset["00420011"] == bulk("OB", "00420011")
    assert dataset["00104000"]["Value"][0].startswith(("long long", "short"))
    first, second = dataset["00880200"]["Value"]
    assert first == {}
    assert second["00281203"] == bulk("OW", "00880200/2/00281203")
    assert second["00281202"] == inline("OW", words[2:][:2] if words[0] == 2 else b"\3\4")
    assert dataset["7FE00010"] == bulk("OW", "7FE00010")
    assert dataset["FFFCFFFC"] == inline("OB", b"\0\0")
    assert not [tag for tag in dataset if tag.startswith("0002")]


SAMPLES = [
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "rtplan.dcm",
    "rtplan_truncated.dcm", "test-SR.dcm", "waveform_ecg.dcm", "SC_rgb_rle_2frame.dcm",
    "JPEG2000.dcm", "priv_SQ.dcm", "UN_sequence.dcm", "image_dfl.dcm", "examples_palette.dcm",
    "reportsi_with_empty_number_tags.dcm", "liver_1frame.dcm",
]  # fmt: skip


def sample(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return path


def simple(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """All values by location, without binary ones and those about the encoding."""
    for tag, found in dataset.items():
        if found["vr"] == "SQ":
            for number, item in enumerate(found.get("Value", ()), start=1):
                yield from ((f"{tag}/{number}/{k}", v) for k, v in simple(item))
        elif tag not in ("00080005", "00083002") and not {"BulkDataURI", "InlineBinary"} & {*found}:
            yield tag, (str(found["vr"]), [v or None for v in found.get("Value", [])] or None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLES)
def test_values_are_those_that_pydicom_reads(name: str) -> None:
    expected = pydicom.dcmread(sample(name), force=True).to_json_dict(
        bulk_data_threshold=1, bulk_data_element_handler=lambda _: "x", suppress_invalid_tags=True
    )
    found = dict(simple(read(sample(name))))
    assert found == {k: v for k, v in simple(expected) if not k.endswith("0000")}
    assert found


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "JPEG2000.dcm", "MR_small.dcm"])
def test_pixel_data_and_what_follows_it(name: str) -> None:
    dataset = read(sample(name))
    assert dataset["7FE00010"]["BulkDataURI"] == f"{URL}/bulkdata/7FE00010"
    assert ("FFFCFFFC" in dataset) == (name == "MR_small.dcm")


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("IS", b"12abc ", ["12abc"]),
        ("IS", b"1\\two\\3.5 ", [1, "two", "3.5"]),
        ("IS", b" 7\0", [7]),
        ("IS", b"3.5 ", ["3.5"]),
        ("IS", b"3.0 ", [3]),
        ("IS", b"1e500 ", ["1e500"]),
        ("DS", b"1.5\\wide\\nan ", [1.5, "wide", "NaN"]),
        ("DS", b"1e999 ", ["Infinity"]),
        ("DS", b"-inf", ["-Infinity"]),
        ("DS", b"  ", None),
        ("US", b"\1\2\3", None),
        ("FD", b"\0\0\0\0", None),
        ("AT", b"\1\0", None),
        ("SQ", b"no items at all!", ...),
        ("LO", b"padded  ", ["padded"]),
        ("UI", b"1.2\0", ["1.2"]),
        ("LT", b"a\xff\0\1", ...),
        ("PN", b"a=b=c=d=e^", ...),
        ("DA", b"never   ", ["never"]),
        ("OB", b"\0\1", None),
        ("XX", b"\0\1", ...),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_odd_values_do_no_harm(tmp_path: Path, vr: str, value: bytes, expected: Any) -> None:
    dataset = read(odd_file(tmp_path / "x.dcm", vr, value))
    assert dataset["00100020"] == element("LO", "me")
    assert dataset["7FDF1010"]["vr"] in (vr, "UN")
    if expected is not ...:
        assert dataset["7FDF1010"].get("Value") == expected


def test_group_lengths_are_left_out(tmp_path: Path) -> None:
    dataset = read(odd_file(tmp_path / "x.dcm", "UL", b"\4\0\0\0", element=0))
    assert list(dataset) == ["00080005", "00080016", "00080018", "00083002", "00100020"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(60))
def test_noise_is_metadata_or_broken(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    name = ["CT_small.dcm", "test-SR.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"][
        seed % 4
    ]
    data = bytearray(Path(sample(name)).read_bytes())
    for place in chance.integers(300, min(len(data), 6000), 20):
        data[place] = chance.integers(256)
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    with suppress(BrokenDicom):
        read(str(path))


@pytest.mark.filterwarnings("ignore")
def test_bulk_data_is_not_read(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    elements = Elements()
    elements.add_new(0x00420011, "OB", b"\0" * size)
    elements.add_new(0x7FE00010, "OW", b"\0" * size)
    path = save(tmp_path / "x.dcm", elements)
    read(path)
    tracemalloc.start()
    try:
        assert read(path)["00420011"] == bulk("OB", "00420011")
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_some_elements() -> None:
    path = sample("rtplan.dcm")
    found = read_elements(path, ["00100010", "300A00B0", "00091001"])
    whole = read(path)
    assert found == {tag: whole[tag] for tag in ("00100010", "300A00B0")}
    assert read_elements(path, []) == {}
    path = sample("MR_small_implicit.dcm")
    tags = ["00280106", "7FE00010", "FFFCFFFC"]
    found = read_elements(path, tags, "http://h/i")
    assert found["00280106"] == read(path)["00280106"]
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": "http://h/i/bulkdata/7FE00010"}


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    with pytest.raises(FileNotFoundError):
        file_metadata(str(path), URL)
    head = Path(sample("image_dfl.dcm")).read_bytes()[:400]
    path.write_bytes(head + b"\xff" * 100)
    with pytest.raises((BrokenDicom, zlib.error)):
        file_metadata(str(path), URL)


def test_files_without_meta_information_have_no_transfer_syntax() -> None:
    assert "00083002" in read(sample("CT_small.dcm"))
    assert "00083002" not in read(sample("no_meta.dcm"))


@pytest.mark.parametrize(
    "read", [file_metadata, lambda path, url: find_bulkdata(path, TAG_IN_ITEM)]
)
def test_a_disk_that_fails_does_not_pass_for_a_malformed_value(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str, str], object]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "it failed")

    monkeypatch.setattr(OpenDataset, "raw", fail)
    with pytest.raises(OSError, match="it failed"):
        read(str(get_testdata_file("CT_small.dcm")), URL)
