"""Digests of the parts of a DICOM file."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dcmweb.dicom.content_digest import Agreement, ContentDigest, digest, digest_file
from dcmweb.errors import LocalError
from tests.conftest import make_instance

FILES = sorted(Path(pydicom.__file__).parent.joinpath("data", "test_files").glob("*.dcm"))
PREAMBLE = 132


def made(data: bytes) -> ContentDigest:
    return digest(io.BytesIO(data))


def saved(data: bytes, syntax: str = "", **changes: object) -> bytes:
    found = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in changes.items():
        setattr(found, keyword, value)
    if syntax:
        found.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_agrees_with_itself_and_with_no_changed_byte(path: Path) -> None:
    data = path.read_bytes()
    one = digest_file(str(path))
    assert one.compare(made(data)) == (Agreement.WHOLE, "")
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert made(changed).compare(one)[0] is not Agreement.WHOLE
    assert made(data + b"\0\0").compare(one)[0] is Agreement.NONE
    assert ContentDigest.parse(str(one)) == one


def test_the_preamble_and_the_file_meta_information_are_apart_from_the_rest() -> None:
    data = make_instance()
    for place in (0, data.index(b"PYDICOM")):
        changed = data[:place] + b"?" + data[place + 1 :]
        assert made(changed).compare(made(data)) == (Agreement.DATA_SET, "")


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian])
def test_it_is_said_what_differs(syntax: str) -> None:
    data = saved(make_instance(), syntax)
    one = made(data)
    pixels = bytes(512)
    for changes, words in (
        ({"PatientName": "X"}, "the data set differs, the pixel data agree"),
        ({"PixelData": pixels}, "the pixel data differ, the rest of the data set agrees"),
        ({"PatientName": "X", "PixelData": pixels}, "the data set differs, and the pixel data"),
    ):
        assert made(saved(data, **changes)).compare(one) == (Agreement.NONE, words)
    assert made(data[:-1]).compare(one)[0] is Agreement.NONE


def test_pixel_data_inside_a_sequence_are_part_of_the_data_set() -> None:
    found = pydicom.dcmread(io.BytesIO(make_instance()))
    del found.PixelData
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 4
    icon.BitsAllocated = 8
    icon.PixelData = bytes(16)
    found.IconImageSequence = [icon]
    buffer = io.BytesIO()
    found.save_as(buffer)
    data = buffer.getvalue()
    place = data.rindex(bytes(16))
    changed = data[:place] + b"\1" + data[place + 1 :]
    assert made(changed).compare(made(data)) == (Agreement.NONE, "the data set differs")


def test_the_same_bytes_in_another_transfer_syntax_are_not_the_same() -> None:
    data = make_instance()
    other = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    agreement, words = made(other).compare(made(data))
    assert agreement is Agreement.NONE
    assert words.startswith("its transfer syntax is 1.2.840.10008.1.2.5 on one side")


def test_a_deflated_data_set_is_compared_as_a_whole() -> None:
    data = saved(make_instance(), DeflatedExplicitVRLittleEndian)
    other = saved(data, PatientName="X")
    assert made(other).compare(made(data)) == (Agreement.NONE, "the data set differs")


def test_a_data_set_alone_agrees_with_the_file_that_a_server_makes_of_it() -> None:
    data = make_instance()
    start = data.index(b"\x08\x00\x16\x00UI")
    assert made(data[start:]).compare(made(data)) == (Agreement.DATA_SET, "")


@pytest.mark.parametrize("size", [0, 3, PREAMBLE, PREAMBLE + 5, 300, 600])
def test_broken_files_have_digests_too(size: int) -> None:
    data = make_instance()[:size]
    assert made(data) == made(data)
    assert made(data).compare(made(make_instance()))[0] is Agreement.NONE


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        digest_file(str(tmp_path / "none"))
