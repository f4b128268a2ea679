"""What images and documents fill into metadata, and what they contradict."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom.images.attributes import filled
from dcmweb.dicom.images.codestreams import Pixels
from dcmweb.dicom.images.content import Kind, MediaFile

JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
RLE, MPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102"
RGB = Pixels((JPEG,), 4, 6, 3, 8, "YBR_FULL_422", method="ISO_10918_1")
GREY, DEEP = Pixels((J2K,), 4, 6, 1, 8, "MONOCHROME2"), Pixels((J2K,), 4, 6, 1, 12, "MONOCHROME2")
SIGNED = Pixels((J2K,), 4, 6, 1, 12, "MONOCHROME2", is_signed=True)


def of(pixels: Pixels | None, kind: Kind = Kind.IMAGE, head: bytes = b"") -> MediaFile:
    return MediaFile("a file", kind, 0, 36, (36, 0), pixels, head)


def told(**elements: Any) -> dict[str, Any]:
    return {tag.lstrip("_"): {"vr": "??", "Value": [value]} for tag, value in elements.items()}


def values(dataset: dict[str, Any]) -> dict[str, Any]:
    return {tag: one["Value"][0] for tag, one in dataset.items() if "Value" in one}


def test_an_image_is_described_by_itself() -> None:
    found, wrong = filled({}, [of(RGB)], 2)
    assert wrong == []
    assert values(found) == {
        "00020010": JPEG, "00080005": "ISO_IR 192", "00080016": "1.2.840.10008.5.1.4.1.1.7",
        "00080060": "OT", "00080064": "WSD", "00200013": 2, "00280002": 3,
        "00280004": "YBR_FULL_422", "00280006": 0, "00280010": 4, "00280011": 6,
        "00280100": 8, "00280101": 8, "00280102": 7, "00280103": 0,
        "00282110": "01", "00282112": 2.0, "00282114": "ISO_10918_1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pixels", "suffix", "shades"), [(GREY, "2", True), (DEEP, "3", True), (RGB, "4", False)]
)
def test_several_frames_have_a_class_that_fits(pixels: Pixels, suffix: str, shades: bool) -> None:
    found, wrong = filled(told(_00280008=2), [of(pixels)] * 2, 1)
    assert wrong == []
    assert values(found)["00080016"] == f"1.2.840.10008.5.1.4.1.1.7.{suffix}"
    assert found["00182001"]["Value"] == [1, 2]
    assert ("20500020" in found) is shades


def test_elements_without_a_value_are_left_out_ones() -> None:
    found, _ = filled(
        {"00280010": {"vr": "US"}, "00280011": {"vr": "US", "Value": []}}, [of(RGB)], 1
    )
    assert (values(found)["00280010"], values(found)["00280011"]) == (4, 6)


@pytest.mark.parametrize(
    ("pixels", "elements", "words"),
    [
        (RGB, {"_00280010": 5}, "Rows differs from the image: it should be 4"),
        (RGB, {"_00280011": 5}, "Columns differs from the image: it should be 6"),
        (RGB, {"_00280002": 1}, "SamplesPerPixel differs from the image: it should be 3"),
        (RGB, {"_00280100": 16}, "BitsAllocated differs from the image: it should be 8"),
        (RGB, {"_00280101": 12}, "BitsStored differs from the image, which has 8"),
        (DEEP, {"_00280101": 10, "_00280102": 11}, "HighBit is not one less than Bits Stored"),
        (
            RGB,
            {"_00280004": "MONOCHROME2"},
            "PhotometricInterpretation differs from the image, which is YBR_FULL_422",
        ),
        (
            GREY,
            {"_00280004": "RGB"},
            "PhotometricInterpretation differs from the image, which is MONOCHROME2",
        ),
        (SIGNED, {"_00280103": 0}, "PixelRepresentation differs from the image: it should be 1"),
        (RGB, {"_00282110": "00"}, "LossyImageCompression differs from the image: it should be 01"),
        (RGB, {"_00020010": J2K}, f"TransferSyntaxUID differs from the image, which is in {JPEG}"),
        (RGB, {"_00280008": 2}, "NumberOfFrames differs from the files given: it should be 1"),
    ],
)
def test_what_the_image_contradicts_is_wrong(
    pixels: Pixels, elements: dict[str, Any], words: str
) -> None:
    assert words in " | ".join(filled(told(**elements), [of(pixels)], 1)[1])


def test_less_bits_than_the_image_has_may_be_used() -> None:
    found, wrong = filled(told(_00280101=10, _00280103=1), [of(DEEP)], 1)
    assert (wrong, values(found)["00280102"]) == ([], 9)


DESCRIBED = {
    "_00280002": 1, "_00280004": "MONOCHROME2", "_00280010": 4, "_00280011": 6,
    "_00280100": 8, "_00280101": 8, "_00280102": 7, "_00280103": 0,
}  # fmt: skip
RLE_HEAD = b"\x01\0\0\0\x40\0\0\0" + bytes(56)


def test_files_that_do_not_tell_are_taken_at_the_word_of_the_metadata() -> None:
    for syntax, head in ((RLE, RLE_HEAD), (MPEG, b"\0\0\1\xba")):
        metadata = told(**DESCRIBED, _00020010=syntax)
        assert filled(metadata, [of(None, Kind.OTHER, head)], 1)[1] == []


@pytest.mark.parametrize(
    ("metadata", "contents", "words"),
    [
        (told(**DESCRIBED), [of(None, Kind.OTHER)], "not an image of a kind that DICOM supports"),
        (told(_00020010=RLE), [of(None, Kind.OTHER, RLE_HEAD)], "SamplesPerPixel is missing"),
        (told(**DESCRIBED, _00020010=RLE), [of(None, Kind.OTHER)], "is RLE, but a file is not"),
        (told(**DESCRIBED, _00020010=MPEG, _00280008=2), [of(None, Kind.OTHER)] * 2, "one file"),
        (told(_00020010=JPEG), [of(None, Kind.PDF)], "is one of images, but there is no image"),
        (told(_00420015=35), [of(None, Kind.PDF)], "differs from the document, which has 36"),
        (
            {"7FE00010": {"vr": "OB", "BulkDataURI": "x"}},
            [of(None, Kind.PDF)],
            "PixelData cannot hold a document",
        ),
        (
            {"00420011": {"vr": "OB", "BulkDataURI": "x"}},
            [of(RGB)],
            "EncapsulatedDocument cannot hold an image",
        ),
        (
            {"00282000": {"vr": "OB", "BulkDataURI": "x"}, "00280008": {"vr": "IS", "Value": [2]}},
            [of(None, Kind.OTHER)] * 2,
            "ICCProfile takes one file, but 2 are given",
        ),
        (
            {"7FE00010": {"vr": "OB", "InlineBinary": "AA=="}},
            [of(RGB)],
            "PixelData is in the metadata",
        ),
        (told(_00020010=JPEG), [], "is one of images, but there is no image"),
    ],
)
def test_what_does_not_go_together_is_wrong(
    metadata: dict[str, Any], contents: list[MediaFile], words: str
) -> None:
    assert words in " | ".join(filled(metadata, contents, 1)[1])
