"""What an image or a document tells of an instance: filled into metadata that leaves it out.

Nothing that stands in the metadata is changed; what the file contradicts is said to be wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.images.codestreams import Pixels
from dcmweb.dicom.images.content import Kind, MediaFile
from dcmweb.dicom.json_checks import bulk_references
from dcmweb.dicom.json_model import Dataset, number, text
from dcmweb.dicom.json_to_part10 import (
    CHARACTER_SET,
    PIXEL_DATA,
    SOP_CLASS,
    TRANSFER_SYNTAX,
    UTF_8,
    named,
)

MODALITY, INSTANCE_NUMBER, FRAMES = "00080060", "00200013", "00280008"
_DOCUMENT, _DOCUMENT_TYPE, _DOCUMENT_LENGTH = "00420011", "00420012", "00420015"
_SAMPLES, _PHOTOMETRIC, _PLANAR = "00280002", "00280004", "00280006"
_ROWS, _COLUMNS = "00280010", "00280011"
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = "00280100", "00280101", "00280102", "00280103"
_LOSSY, _RATIO, _METHOD = "00282110", "00282112", "00282114"
_DESCRIPTION = (
    _SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED,
)  # fmt: skip

_CLASSES = "1.2.840.10008.5.1.4.1.1."
_PDF = _CLASSES + "104.1"
_SECONDARY_CAPTURE = _CLASSES + "7"
_OF_MANY_FRAMES = frozenset(
    _CLASSES + suffix
    for suffix in (
        "2.1", "2.2", "3.1", "4.1", "4.3", "4.4", "6.2", "7.1", "7.2", "7.3", "7.4",
        "12.1", "12.1.1", "12.2", "12.2.1", "13.1.1", "13.1.2", "13.1.3", "13.1.4",
        "14.1", "14.2", "20", "30", "66.4", "77.1.1.1", "77.1.2.1", "77.1.4.1",
        "77.1.5.4", "77.1.6", "128.1", "130", "481.1",
    )
)  # fmt: skip
_NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_TRANSFER = "1.2.840.10008.1.2."
_RLE = _TRANSFER + "5"
# In which the metadata is taken at its word: RLE, JPEG XL, and video (PS3.5 section 10).
_TOLD = frozenset([_RLE, *(f"{_TRANSFER}4.{n}" for n in (*range(100, 109), 110, 111, 112))])


def is_of_many_frames(dataset: Dataset) -> bool:
    """Tell whether metadata is that of one instance with several frames."""
    return (number(dataset, FRAMES) or 1) > 1 or text(dataset, SOP_CLASS) in _OF_MANY_FRAMES


def is_compressed(dataset: Dataset) -> bool:
    """Tell whether the pixel data of a data set that is filled in is encapsulated."""
    return text(dataset, TRANSFER_SYNTAX) not in _NATIVE


def target_of(dataset: Dataset, content: MediaFile) -> str:
    """Return the tag of the element that a file is for: the one that refers to bulk data, if any.

    Otherwise that is the pixel data, or the document.
    """
    default = _DOCUMENT if content.kind is Kind.PDF else PIXEL_DATA
    return next(iter(bulk_references(dataset)), default)


def filled(
    dataset: Dataset, contents: Sequence[MediaFile], place: int
) -> tuple[Dataset, list[str]]:
    """Fill in what tells itself, and say what is wrong.

    `contents` are frames, or the one value of another element; `place` is that of the instance
    among others, from 1. UIDs of instance, series and study are left to others.
    """
    problems: list[str] = []
    defaults = _plain("UI", **{TRANSFER_SYNTAX: EXPLICIT_VR_LITTLE_ENDIAN})
    target = target_of(dataset, contents[0]) if contents else ""
    if target == PIXEL_DATA:
        defaults, problems = _of_image(dataset, contents)
    elif len(contents) > 1:
        problems = [f"{named(target)} is one file, but there are {len(contents)}"]
    elif contents and contents[0].kind is Kind.PDF:
        defaults, problems = _of_document(dataset, contents[0])
    elif contents and contents[0].kind is Kind.IMAGE:
        problems = [f"{named(target)} is no place for an image"]
    syntax = text(dataset, TRANSFER_SYNTAX)
    if target != PIXEL_DATA and syntax not in ("", *_NATIVE):
        problems.append(f"{named(TRANSFER_SYNTAX)} is {syntax}, but there is no image in it")
    if target:
        defaults |= _plain("IS", **{INSTANCE_NUMBER: place})
        is_wide = (number(dataset, _ALLOCATED) or 8) > 8
        is_wide &= not is_compressed({**defaults, **dataset})
        defaults[target] = {"vr": "OW" if target == PIXEL_DATA and is_wide else "OB"}
    defaults |= _plain("CS", **{CHARACTER_SET: UTF_8})
    given = {tag: one for tag, one in dataset.items() if tag not in defaults or has_value(one)}
    return {**defaults, **given}, problems


def has_value(element: dict[str, Any]) -> bool:
    """Tell whether an element is not empty."""
    return any(element.get(name) for name in ("Value", "InlineBinary", "BulkDataURI"))


def _plain(vr: str, **values: Any) -> Dataset:
    return {tag: {"vr": vr, "Value": [value]} for tag, value in values.items()}


def _of_document(dataset: Dataset, content: MediaFile) -> tuple[Dataset, list[str]]:
    """Describe a PDF (PS3.3 section C.24.2)."""
    defaults = {
        "00080023": {"vr": "DA"},  # of type 2 from here on
        "00080033": {"vr": "TM"},
        "0008002A": {"vr": "DT"},
        "00420010": {"vr": "ST"},
        "0040A043": {"vr": "SQ"},
        **_plain("UI", **{SOP_CLASS: _PDF, TRANSFER_SYNTAX: EXPLICIT_VR_LITTLE_ENDIAN}),
        # Whether a document names the patient nobody can tell: it is taken to.
        **_plain("CS", **{MODALITY: "DOC", "00080064": "WSD", "00280301": "YES"}),
        **_plain("LO", **{_DOCUMENT_TYPE: "application/pdf"}),
        **_plain("UL", **{_DOCUMENT_LENGTH: content.size}),
    }
    problems = []
    for tag in (_DOCUMENT_TYPE, _DOCUMENT_LENGTH):
        told, value = text(dataset, tag), text(defaults, tag)
        if told and told != value:
            problems.append(f"{named(tag)} is {told}, but the document has {value}")
    return defaults, problems


def _of_image(dataset: Dataset, contents: Sequence[MediaFile]) -> tuple[Dataset, list[str]]:
    """Describe pixel data by its frames, as far as these tell what they are."""
    first = contents[0].pixels
    syntax = text(dataset, TRANSFER_SYNTAX)
    if has_value({**dataset.get(PIXEL_DATA, {}), "BulkDataURI": ""}):
        return {}, [f"{named(PIXEL_DATA)} stands in the metadata, but there is an image as well"]
    if first is None:
        return {}, [*_complaints_of_unknown(dataset, contents, syntax)]
    for content in contents[1:]:
        if content.pixels != first:
            return {}, [f"{content.path} is an image of another kind or size than the first frame"]
    defaults = _description(dataset, first, len(contents))
    if first.method:
        defaults |= _of_lossy(first, contents)
    sop_class = text(dataset, SOP_CLASS)
    if sop_class in ("", _SECONDARY_CAPTURE) or sop_class.startswith(_SECONDARY_CAPTURE + "."):
        defaults |= _of_secondary_capture(first, len(contents))
    return defaults, [*_contradictions(dataset, defaults, first)]


def _description(dataset: Dataset, pixels: Pixels, frames: int) -> Dataset:
    """Write the Image Pixel Description Macro (PS3.3 section C.7.6.3.1)."""
    stored = number(dataset, _STORED) or pixels.bits
    numbers = {
        _SAMPLES: pixels.samples,
        _ROWS: pixels.rows,
        _COLUMNS: pixels.columns,
        _ALLOCATED: 8 if pixels.bits <= 8 else 16 if pixels.bits <= 16 else 32,
        _STORED: pixels.bits,
        _HIGH_BIT: stored - 1,
        _SIGNED: int(pixels.is_signed),
    }
    if pixels.samples > 1:
        numbers[_PLANAR] = 0
    return {
        **_plain("US", **numbers),
        **_plain("CS", **{_PHOTOMETRIC: pixels.photometric}),
        **_plain("UI", **{TRANSFER_SYNTAX: pixels.syntaxes[0]}),
        **(_plain("IS", **{FRAMES: frames}) if frames > 1 or is_of_many_frames(dataset) else {}),
    }


def _of_lossy(pixels: Pixels, contents: Sequence[MediaFile]) -> Dataset:
    """Say how images lost something (PS3.3 section C.7.6.1.1.5)."""
    bytes_per_sample = -(-pixels.bits // 8)
    native = pixels.rows * pixels.columns * pixels.samples * bytes_per_sample * len(contents)
    ratio = round(native / sum(content.size for content in contents), 2)
    return {
        **_plain("CS", **{_LOSSY: "01", _METHOD: pixels.method}),
        **_plain("DS", **{_RATIO: ratio}),
    }


def _of_secondary_capture(pixels: Pixels, frames: int) -> Dataset:
    """Make an image of no class that is told a secondary capture (PS3.3 sections A.8 and C.8.6)."""
    found = {
        **_plain("CS", **{MODALITY: "OT", "00080064": "WSD"}),
        **_plain("UI", **{SOP_CLASS: _SECONDARY_CAPTURE}),
    }
    if frames > 1:
        suffix = ".4" if pixels.samples > 1 else ".2" if pixels.bits <= 8 else ".3"
        found |= _plain("UI", **{SOP_CLASS: _SECONDARY_CAPTURE + suffix})
        found |= _plain("CS", **{"00280301": "YES"})  # burned-in annotation: nobody can tell
        found |= _plain("AT", **{"00280009": "00182001"})  # by pages, which are numbered
        found["00182001"] = {"vr": "IS", "Value": [*range(1, frames + 1)]}
        if pixels.samples == 1:
            found |= _plain("CS", **{"20500020": "IDENTITY"})
            found |= _plain("DS", **{"00281052": 0, "00281053": 1})
            found |= _plain("LO", **{"00281054": "US"})
    return found


def _contradictions(dataset: Dataset, defaults: Dataset, pixels: Pixels) -> Iterator[str]:
    """Say where metadata does not fit an image."""
    signed = [_SIGNED] if pixels.is_signed else []  # not all kinds of images tell that they are
    for tag in (_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED, *signed, FRAMES, _LOSSY):
        told, value = text(dataset, tag), text(defaults, tag)
        if told and value and told != value:
            whose = "there are" if tag == FRAMES else "the image has"
            yield f"{named(tag)} is {told}, but {whose} {value}"
    stored = number(dataset, _STORED)
    if stored is not None and not 0 < stored <= pixels.bits:
        yield f"{named(_STORED)} is {stored}, but the image has {pixels.bits}"
    high = number(dataset, _HIGH_BIT)
    if high is not None and high != (stored or pixels.bits) - 1:
        yield f"{named(_HIGH_BIT)} is {high}, but has to be one less than Bits Stored"
    syntax = text(dataset, TRANSFER_SYNTAX)
    if syntax and syntax not in pixels.syntaxes:
        yield f"{named(TRANSFER_SYNTAX)} is {syntax}, but the image is in {pixels.syntaxes[0]}"
    colours = text(dataset, _PHOTOMETRIC)
    if colours and colours.startswith(("RGB", "YBR")) is not (pixels.samples == 3):
        yield f"{named(_PHOTOMETRIC)} is {colours}, but the image is {pixels.photometric}"


def _complaints_of_unknown(
    dataset: Dataset, contents: Sequence[MediaFile], syntax: str
) -> Iterator[str]:
    """Check files that do not tell what they are: metadata has to tell it all."""
    it = "it" if len(contents) == 1 else contents[0].path
    if contents[0].kind is Kind.PDF:
        yield f"{named(PIXEL_DATA)} is no place for a document"
    elif syntax not in _TOLD and syntax not in _NATIVE:
        yield f"{it} is no image of a kind that DICOM has, as far as can be told"
    elif missing := [tag for tag in _DESCRIPTION if not text(dataset, tag)]:
        yield f"{named(missing[0])} is missing, and {it} does not tell"
    elif any(content.pixels is not None for content in contents):
        yield "the frames are of different kinds"
    elif syntax == _RLE and not all(map(_is_rle, contents)):
        yield f"{named(TRANSFER_SYNTAX)} is RLE, but a file is not"
    elif syntax in _NATIVE:
        yield from _wrong_length(dataset, contents)
    elif syntax == _RLE and (number(dataset, FRAMES) or 1) != len(contents):
        yield f"{named(FRAMES)} is not {len(contents)}, as there are files"
    elif syntax != _RLE and len(contents) > 1 and ".4.11" not in syntax:
        yield "a video is one file"


def _is_rle(content: MediaFile) -> bool:
    """Tell whether a file begins as one in RLE does: with the number of segments (PS3.5 G.5)."""
    return len(content.head) >= 64 and (
        1 <= struct.unpack("<L", content.head[:4])[0] <= 15 and content.head[4:8] == b"\x40\0\0\0"
    )


def _wrong_length(dataset: Dataset, contents: Sequence[MediaFile]) -> Iterator[str]:
    frames = number(dataset, FRAMES) or 1
    bits = frames
    for tag in (_ROWS, _COLUMNS, _SAMPLES, _ALLOCATED):
        bits *= number(dataset, tag) or 0
    if text(dataset, _PHOTOMETRIC) == "YBR_FULL_422":
        bits = bits // 3 * 2
    if len(contents) > 1:
        yield "uncompressed pixel data is one file"
        return
    size, told = contents[0].size, -(-bits // 8)
    if size not in (told, told + told % 2):
        yield f"it has {size} bytes, but what the metadata says of it makes {told}"
