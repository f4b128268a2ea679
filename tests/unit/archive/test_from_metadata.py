"""Instances made of metadata and bulk data: what is written, and what is turned away."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)
from werkzeug.exceptions import BadRequest

from dcmweb.archive.from_metadata import BulkFile, write_instance
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.part10 import find_damage
from dcmweb.http.media_types import MediaType, parse

NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
JPEG = f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
PIXELS = {"vr": "OB", "BulkDataURI": "pixels"}


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def metadata(**more: Any) -> Dataset:
    """Metadata of an 8-bit image of 3 columns and 3 rows; keywords are written as `_TAG`."""
    return {
        "00080016": element("UI", "1.2.840.10008.5.1.4.1.1.7"),
        "00080018": element("UI", "1.2.3.4.5"),
        "0020000D": element("UI", "1.2.3"),
        "0020000E": element("UI", "1.2.3.4"),
        "00280002": element("US", 1),
        "00280004": element("CS", "MONOCHROME2"),
        "00280010": element("US", 3),
        "00280011": element("US", 3),
        "00280100": element("US", 8),
        "00280101": element("US", 8),
        "00280102": element("US", 7),
        "00280103": element("US", 0),
        **{tag.lstrip("_"): value for tag, value in more.items()},
    }


def bulk_file(folder: Path, data: bytes, media_type: str = "application/octet-stream") -> BulkFile:
    path = folder / os.urandom(8).hex()
    path.write_bytes(data)
    return BulkFile(str(path), len(data), parse(media_type))


def composed(dataset: Dataset, bulk: dict[str, BulkFile] | None = None) -> bytes:
    buffer = io.BytesIO()
    write: Any = buffer.write
    before = copy.deepcopy(dataset)
    write_instance(dataset, bulk or {}, write)
    assert dataset == before
    assert find_damage(buffer) == ""
    return buffer.getvalue()


def read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def refused(dataset: Dataset, bulk: dict[str, BulkFile] | None = None) -> str:
    with pytest.raises(BadRequest) as caught:
        write_instance(dataset, bulk or {}, lambda piece: None)
    assert caught.value.description
    return caught.value.description


VALUES: dict[str, dict[str, Any]] = {
    "00080008": element("CS", "DERIVED", None, "OTHER"),
    "00080020": element("DA", "20240229"),
    "00080032": element("TM", "120000.5"),
    "00080050": {"vr": "SH"},
    "0008114A": element("SQ", {"00081155": element("UI", "1.2.9")}, {}),
    "00081190": element("UR", "https://example.org/a?b=c"),
    "00089123": element("UI", "1.2.3"),
    "00100010": element(
        "PN", {"Alphabetic": "Müller^Jörg", "Ideographic": "山田^太郎"}, {"Phonetic": "やまだ"}
    ),
    "00101010": element("AS", "033Y"),
    "00102180": element("SH", "naïve"),
    "00104000": element("LT", "first line\r\nsecond \\ line"),
    "00181310": element("US", 0, 65535),
    "00189219": element("SS", -32768),
    "00200013": element("IS", 7),
    "00200032": element("DS", -1.5, 0.1, "1e-7"),
    "00209165": element("AT", "00280010", "7FE00010"),
    "00186018": element("UL", 4294967295),
    "00186020": element("SL", -2147483648),
    "00089459": element("FL", 0.5),
    "00189087": element("FD", 1e300, "Infinity", -0.25),
    "00420011": {"vr": "OB", "InlineBinary": base64.b64encode(b"%PDF!").decode()},
    "00281201": {"vr": "OW", "InlineBinary": base64.b64encode(b"\1\2\3\4").decode()},
    "00660016": {"vr": "OF", "InlineBinary": base64.b64encode(np.float32(1.5).tobytes()).decode()},
    "7FE00003": {"vr": "OV"},
    "00090010": element("LO", "SOMEONE"),
    "00091001": {"vr": "UN", "InlineBinary": "AAEC"},
    "00091002": element("UV", 2**64 - 1),
    "00091003": element("SV", -(2**63)),
}


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_values_of_all_kinds_are_read_back(syntax: str) -> None:
    found = read(composed(metadata(_00020010=element("UI", syntax), **underlined(VALUES))))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.file_meta.MediaStorageSOPClassUID == found.SOPClassUID
    assert found.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4.5"
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.ImageType == ["DERIVED", "", "OTHER"]
    assert found.StudyDate == "20240229"
    assert found.AccessionNumber == ""
    assert [dict(item) == {} for item in found.ReferencedInstanceSequence] == [False, True]
    assert found.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.9"
    assert found.PatientName == ["Müller^Jörg=山田^太郎", "==やまだ"]
    assert found.PatientComments == "first line\r\nsecond \\ line"
    assert found.AcquisitionMatrix == [0, 65535]
    assert found[0x00189219].value == -32768
    assert found.InstanceNumber == 7
    assert [float(v) for v in found.ImagePositionPatient] == [-1.5, 0.1, 1e-7]
    assert found[0x00209165].value == [0x00280010, 0x7FE00010]
    assert (found[0x00186018].value, found[0x00186020].value) == (4294967295, -2147483648)
    assert (found[0x00089459].value, found[0x00189087].value) == (0.5, [1e300, np.inf, -0.25])
    assert found.EncapsulatedDocument == b"%PDF!\0"
    assert np.frombuffer(found[0x00281201].value, swapped(syntax, "u2")).tolist() == [513, 1027]
    assert np.frombuffer(found[0x00660016].value, swapped(syntax, "f4")).tolist() == [1.5]
    assert found[0x7FE00003].value in (b"", None)
    assert found[0x00091001].value == b"\0\1\2\0"
    if syntax != ImplicitVRLittleEndian:
        assert (found[0x00091002].value, found[0x00091003].value) == (2**64 - 1, -(2**63))


def underlined(dataset: Dataset) -> Dataset:
    return {f"_{tag}": value for tag, value in dataset.items()}


def swapped(syntax: str, kind: str) -> str:
    return (">" if syntax == ExplicitVRBigEndian else "<") + kind


def test_deflated_files_have_an_even_length() -> None:
    lengths = [
        len(composed(metadata(
            _00020010=element("UI", DeflatedExplicitVRLittleEndian),
            _00104000=element("LT", "x" * count),
        )))
        for count in range(0, 60, 2)
    ]  # fmt: skip
    assert {length % 2 for length in lengths} == {0}


def test_plain_text_needs_no_character_set() -> None:
    assert "SpecificCharacterSet" not in read(composed(metadata()))
    found = read(composed(metadata(_00080005=element("CS", "ISO_IR 100"))))
    assert found.SpecificCharacterSet == "ISO_IR 192"


def test_what_is_not_of_the_data_set_is_not_written_into_it() -> None:
    more = {
        "00020002": element("UI", "9"),
        "00083002": element("UI", "1"),
        "00080000": {"vr": "UL"},
    }
    found = read(composed(metadata(**underlined(more))))
    assert found.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert not {0x00020002, 0x00083002, 0x00080000} & found.keys()


def test_tags_may_be_in_lower_case_and_in_any_order() -> None:
    dataset = metadata()
    dataset = {tag.lower(): dataset[tag] for tag in reversed(dataset)}
    assert [*read(composed(dataset)).keys()] == sorted(int(tag, 16) for tag in dataset)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_native_pixel_data_is_streamed(tmp_path: Path, syntax: str, vr: str) -> None:
    rows = 701  # more than one piece, an odd number of bytes
    data = os.urandom(rows * rows)
    dataset = metadata(
        _00020010=element("UI", syntax),
        _00280010=element("US", rows),
        _00280011=element("US", rows),
        _7FE00010={"vr": vr, "BulkDataURI": "pixels"},
        _FFFCFFFC={"vr": "OB", "InlineBinary": "AAA="},
    )
    file = bulk_file(tmp_path, data)
    longest = 0
    buffer = io.BytesIO()

    def write(piece: bytes) -> None:
        nonlocal longest
        longest = max(longest, len(piece))
        buffer.write(piece)

    write_instance(dataset, {"pixels": file}, write)
    assert longest <= 256 * 1024
    found = read(buffer.getvalue())
    assert found[0xFFFCFFFC].value == b"\0\0"
    if vr == "OB":
        assert found.PixelData == data + b"\0"
    assert found.pixel_array.tobytes() == data


def picture() -> tuple[bytes, Any]:
    shades = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), shades


def jpeg_metadata(**more: Any) -> Dataset:
    size = {"_00280010": element("US", 48), "_00280011": element("US", 64), "_7FE00010": PIXELS}
    return metadata(**{**size, **more})


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [
        (JPEGBaseline8Bit, JPEG),
        (JPEGBaseline8Bit, "image/jpeg"),
        ("", JPEG),
        (JPEGBaseline8Bit, ""),
        (JPEGBaseline8Bit, f"application/octet-stream; transfer-syntax={JPEGBaseline8Bit}"),
    ],
)
@pytest.mark.parametrize("odd", [False, True])
def test_jpeg_pictures_are_encapsulated(
    tmp_path: Path, syntax: str, media_type: str, odd: bool
) -> None:
    data, shades = picture()
    data = data[:2] + b"\xff\xfe\0\3x" + data[2:] if len(data) % 2 != odd else data
    dataset = jpeg_metadata(**({"_00020010": element("UI", syntax)} if syntax else {}))
    dataset["7FE00010"] = {"vr": "OW" if odd else "OB", "BulkDataURI": "pixels"}
    found = read(composed(dataset, {"pixels": bulk_file(tmp_path, data, media_type)}))
    assert found.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert found["PixelData"].VR == "OB"
    (frame,) = generate_frames(found.PixelData, number_of_frames=1)
    assert frame == data + b"\0" * odd
    assert np.abs(found.pixel_array.astype(int) - shades).max() < 8


def test_a_video_has_many_frames_in_one_part(tmp_path: Path) -> None:
    dataset = metadata(_00280008=element("IS", 25), _7FE00010=PIXELS)
    file = bulk_file(tmp_path, b"mpeg", f"video/mp4; transfer-syntax={MPEG4HP41}")
    found = read(composed(dataset, {"pixels": file}))
    assert found.file_meta.TransferSyntaxUID == MPEG4HP41
    assert [*generate_frames(found.PixelData, number_of_frames=1)] == [b"mpeg"]


@pytest.mark.parametrize("name", ["https://example.org/dicom-web/bulk/1?x=y", "../bulk/1", "cid:1"])
def test_bulk_data_is_found_by_the_text_of_its_location(tmp_path: Path, name: str) -> None:
    dataset = metadata(_7FE00010={"vr": "OB", "BulkDataURI": name})
    data = composed(dataset, {name: bulk_file(tmp_path, b"123456789")})
    assert read(data).PixelData == b"123456789\0"


def test_bulk_data_in_items_and_of_other_elements(tmp_path: Path) -> None:
    icon = {"7FE00010": {"vr": "OW", "BulkDataURI": "icon"}}
    jpeg_icon = {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}
    dataset = jpeg_metadata(
        _00880200=element("SQ", icon, jpeg_icon),
        _00420011={"vr": "OB", "BulkDataURI": "document"},
        _00104000={"vr": "LT", "BulkDataURI": "text"},
        _00089459={"vr": "FL", "BulkDataURI": "floats"},
    )
    jpeg, _ = picture()
    bulk = {
        "pixels": bulk_file(tmp_path, jpeg, JPEG),
        "icon": bulk_file(tmp_path, b"icon"),
        "document": bulk_file(tmp_path, b"%PDF!", "application/pdf"),
        "text": bulk_file(tmp_path, b"odd"),
        "floats": bulk_file(tmp_path, np.float32(2.5).tobytes()),
    }
    found = read(composed(dataset, bulk))
    assert found.IconImageSequence[0].PixelData == b"icon"
    nested = generate_frames(found.IconImageSequence[1].PixelData, number_of_frames=1)
    assert next(nested).startswith(jpeg)
    assert found.EncapsulatedDocument == b"%PDF!\0"
    assert (found.PatientComments, found[0x00089459].value) == ("odd", 2.5)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_numbers_as_bulk_data_are_in_little_endian(tmp_path: Path, syntax: str) -> None:
    dataset = metadata(
        _00020010=element("UI", syntax), _00189087={"vr": "FD", "BulkDataURI": "numbers"}
    )
    numbers = np.linspace(0, 1, 40_000)
    data = composed(dataset, {"numbers": bulk_file(tmp_path, numbers.astype("<f8").tobytes())})
    value = read(data)[0x00189087].value
    if isinstance(value, bytes):  # more than its VR can have in an explicit syntax
        value = np.frombuffer(value, swapped(syntax, "f8"))
    assert np.array_equal(value, numbers)


def test_text_that_is_too_long_for_its_vr_becomes_un() -> None:
    dataset = metadata(_00104000=element("LT", "x" * 70_000))
    assert read(composed(dataset))[0x00104000].value in (b"x" * 70_000, "x" * 70_000)


@pytest.mark.parametrize("tag", ["00080016", "00080018", "0020000D", "0020000E"])
def test_identifiers_must_be_there(tag: str) -> None:
    dataset = metadata()
    del dataset[tag]
    assert refused(dataset).endswith("is missing")
    assert refused({**dataset, tag: element("UI", "../etc")}).endswith("is not a valid UID")
    assert f"({tag[:4]},{tag[4:]})" in refused({**dataset, tag: {"vr": "UI"}})


@pytest.mark.parametrize(
    ("tag", "wrong", "words"),
    [
        ("0010001", element("LO", "x"), "is not a tag"),
        ("PatientName", element("PN", {}), "is not a tag"),
        ("00000002", element("UI", "1.2"), "is not a tag"),
        ("FFFEE000", element("UN"), "is not a tag"),
        ("00100020", "text", "(0010,0020) PatientID has a vr that is not in PS3.5, or none"),
        ("00100020", {"Value": ["x"]}, "not in PS3.5, or none"),
        ("00100020", element("XX", "x"), "not in PS3.5, or none"),
        ("00100020", {"vr": ["LO"]}, "not in PS3.5, or none"),
        ("00100020", {"vr": "LO", "Value": "x"}, "PatientID has a Value that is not an array"),
        ("00100020", {"vr": "LO", "Value": None}, "not an array"),
        ("00100020", element("LO", 5), "PatientID has a value that vr LO cannot hold"),
        ("00100020", element("LO", ["x"]), "cannot hold"),
        ("00100020", element("LO", "a\\b"), "has a backslash"),
        ("00100020", {"vr": "LO", "InlineBinary": "AAAA"}, "do not go together"),
        ("00100020", {"vr": "LO", "Value": [], "InlineBinary": ""}, "both Value and InlineBinary"),
        ("00100010", element("PN", "Doe^Jane"), "PatientName has a value that vr PN cannot hold"),
        ("00100010", element("PN", {"Alphabetic": 1}), "cannot hold"),
        ("00100010", element("PN", {"alphabetic": "x"}), "cannot hold"),
        ("00104000", element("LT", "a", "b"), "has 2 values"),
        ("00280010", element("US", 65536), "Rows has a value that vr US cannot hold"),
        ("00280010", element("US", -1), "cannot hold"),
        ("00280010", element("US", 1.5), "cannot hold"),
        ("00280010", element("US", "x"), "cannot hold"),
        ("00280010", element("US", True), "cannot hold"),
        ("00280010", element("US", 1, None), "cannot hold"),
        ("00189087", element("FD", {}), "cannot hold"),
        ("00189087", element("FL", 1e300), "cannot hold"),
        ("00200013", element("IS", 1.5), "cannot hold"),
        ("00200013", element("IS", False), "cannot hold"),
        ("00200032", element("DS", float("nan")), "cannot hold"),
        ("00209165", element("AT", "0028"), "cannot hold"),
        ("00209165", element("AT", 2621456), "cannot hold"),
        ("00420011", element("OB", "AAAA"), "do not go together"),
        ("00420011", {"vr": "OB", "InlineBinary": "AA"}, "not Base64"),
        ("00420011", {"vr": "OB", "InlineBinary": "*AAAA"}, "not Base64"),
        ("00420011", {"vr": "OB", "InlineBinary": [1]}, "not Base64"),
        ("0008114A", element("SQ", "x"), "has an item that is not a data set"),
        ("0008114A", {"vr": "SQ", "InlineBinary": ""}, "no items"),
        ("0008114A", {"vr": "SQ", "BulkDataURI": ""}, "no part has that"),
        ("0008114A", element("SQ", {"00100020": element("LO", 5)}), "(0010,0020)"),
        ("00091001", {"vr": "??"}, "(0009,1001) private element"),
        ("00020010", element("UI", "1.2.3"), "is not a known transfer syntax"),
        ("00020010", element("UI", "1.2.840.10008.1.1"), "is not a known transfer syntax"),
        ("00020010", element("UI", "a b"), "is not a known transfer syntax"),
    ],
)  # fmt: skip
def test_what_is_no_dicom_json_is_refused(tag: str, wrong: Any, words: str) -> None:
    assert words in refused({**metadata(), tag: wrong})


def test_endless_nesting_is_refused() -> None:
    dataset: Dataset = {}
    for _ in range(5000):
        dataset = {"0008114A": {"vr": "SQ", "Value": [dataset]}}
    assert refused({**metadata(), **dataset}) == "its sequences are nested too deep"


def test_bulk_data_and_references_must_match(tmp_path: Path) -> None:
    file = bulk_file(tmp_path, b"12345678")
    words = "(7FE0,0010) PixelData refers to 'pixels', but no part has that Content-Location"
    assert refused(metadata(_7FE00010=PIXELS)) == words
    assert refused(metadata(_7FE00010=PIXELS), {"other": file}) == words
    item = {"7FE00010": {"vr": "OW", "BulkDataURI": "icon"}}
    assert "'icon'" in refused(metadata(_00880200=element("SQ", item)))
    both = {"pixels": file, "other": file}
    assert refused(metadata(_7FE00010=PIXELS), both) == "no BulkDataURI names the part other"
    assert "[1]" in refused(metadata(_7FE00010={"vr": "OB", "BulkDataURI": [1]}), both)


@pytest.mark.parametrize(
    ("syntax", "media_type", "words"),
    [
        ("", "image/jpeg", "is image/jpeg, which does not determine the transfer syntax"),
        (ExplicitVRLittleEndian, JPEG, f"is in transfer syntax {JPEGBaseline8Bit}, not in"),
        (JPEG2000Lossless, JPEG, "is in transfer syntax"),
        (JPEG2000Lossless, "image/jpeg", "is image/jpeg, which cannot be in transfer syntax"),
        (ExplicitVRLittleEndian, "image/jpeg", "is image/jpeg, which cannot be"),
        (JPEGBaseline8Bit, "application/octet-stream", "is in transfer syntax 1.2.840.10008.1.2.1"),
        ("", "application/octet-stream; transfer-syntax=*", "not a known transfer syntax"),
        ("", "image/jpeg; transfer-syntax=1.2", "not a known transfer syntax"),
    ],
)
def test_transfer_syntaxes_must_agree(
    tmp_path: Path, syntax: str, media_type: str, words: str
) -> None:
    dataset = jpeg_metadata(**({"_00020010": element("UI", syntax)} if syntax else {}))
    assert words in refused(dataset, {"pixels": bulk_file(tmp_path, b"1234", media_type)})
    icon = metadata(_00880200=element("SQ", {"7FE00010": PIXELS}))
    if syntax and "octet" not in media_type:
        icon["00020010"] = element("UI", syntax)
        assert words in refused(icon, {"pixels": bulk_file(tmp_path, b"1234", media_type)})


def test_several_compressed_frames_cannot_be_one_part(tmp_path: Path) -> None:
    dataset = jpeg_metadata(_00280008=element("IS", 2))
    words = refused(dataset, {"pixels": bulk_file(tmp_path, b"1234", JPEG)})
    assert words.startswith("(0028,0008) NumberOfFrames is 2, but a part")


def test_compressed_pixel_data_cannot_be_inline() -> None:
    dataset = metadata(
        _00020010=element("UI", JPEGBaseline8Bit), _7FE00010={"vr": "OB", "InlineBinary": "AAAA"}
    )
    assert "must be bulk data" in refused(dataset)


def test_metadata_as_it_comes_from_json_and_back() -> None:
    data = composed(json.loads(json.dumps(metadata(**underlined(VALUES)))))
    written = read(data).to_json_dict()
    for tag in ("00080020", "00181310", "00209165", "00420011", "0008114A"):
        expected = VALUES[tag] if tag != "00420011" else {"vr": "OB", "InlineBinary": "JVBERiEA"}
        assert written[tag] == expected


def test_media_types_know_their_default() -> None:
    assert BulkFile("", 0, MediaType("application/octet-stream")).transfer_syntax
    assert BulkFile("", 0, MediaType("image/jpeg")).transfer_syntax == ""
