"""Derive attributes from images and documents, for metadata that leaves them out.

Metadata is never changed. Where a file contradicts it, that is a problem, which names the tag and
what the file says, never the value in the metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from dcmweb.counted import plural
from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.images.codestreams import Pixels
from dcmweb.dicom.images.content import Kind, MediaFile
from dcmweb.dicom.json_checks import bulk_data_uris
from dcmweb.dicom.json_model import Dataset, number, text
from dcmweb.dicom.json_to_part10 import (
    UTF_8,
    named,
)
from dcmweb.dicom.tags import (
    ACQUISITION_DATE_TIME,
    BITS_ALLOCATED,
    BITS_STORED,
    BURNED_IN_ANNOTATION,
    COLUMNS,
    CONCEPT_NAME_CODE_SEQUENCE,
    CONTENT_DATE,
    CONTENT_TIME,
    CONVERSION_TYPE,
    DOCUMENT_TITLE,
    ENCAPSULATED_DOCUMENT,
    ENCAPSULATED_DOCUMENT_LENGTH,
    FRAME_INCREMENT_POINTER,
    HIGH_BIT,
    INSTANCE_NUMBER,
    LOSSY_IMAGE_COMPRESSION,
    LOSSY_IMAGE_COMPRESSION_METHOD,
    LOSSY_IMAGE_COMPRESSION_RATIO,
    MIME_TYPE_OF_ENCAPSULATED_DOCUMENT,
    MODALITY,
    NUMBER_OF_FRAMES,
    PAGE_NUMBER_VECTOR,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    PRESENTATION_LUT_SHAPE,
    RESCALE_INTERCEPT,
    RESCALE_SLOPE,
    RESCALE_TYPE,
    ROWS,
    SAMPLES_PER_PIXEL,
    SOP_CLASS_UID,
    SPECIFIC_CHARACTER_SET,
    TRANSFER_SYNTAX_UID,
)

_DESCRIPTION = (
    SAMPLES_PER_PIXEL, PHOTOMETRIC_INTERPRETATION, ROWS, COLUMNS,
    BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION,
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
# Files in these are not read, only described by metadata: RLE, JPEG XL, video (PS3.5 section 10).
_TOLD = frozenset([_RLE, *(f"{_TRANSFER}4.{n}" for n in (*range(100, 109), 110, 111, 112))])


def is_of_many_frames(dataset: Dataset) -> bool:
    """Return True if metadata describes one instance with several frames."""
    return (number(dataset, NUMBER_OF_FRAMES) or 1) > 1 or text(
        dataset, SOP_CLASS_UID
    ) in _OF_MANY_FRAMES


def is_compressed(dataset: Dataset) -> bool:
    """Return True if the pixel data of a data set with a transfer syntax is encapsulated."""
    return text(dataset, TRANSFER_SYNTAX_UID) not in _NATIVE


def target_of(dataset: Dataset, content: MediaFile) -> str:
    """Return the tag of the element that a file belongs to: the one that refers to bulk data.

    If there is none, it is the pixel data or the document.
    """
    default = ENCAPSULATED_DOCUMENT if content.kind is Kind.PDF else PIXEL_DATA
    return next(iter(bulk_data_uris(dataset)), default)


def filled(
    dataset: Dataset, contents: Sequence[MediaFile], place: int
) -> tuple[Dataset, list[str]]:
    """Derive attributes from the files, and list what is wrong.

    `contents` are frames, or the one value of another element. `place` is the number of the
    instance among others, from 1. The UIDs of instance, series and study are not filled in here.
    """
    problems: list[str] = []
    defaults = _plain("UI", **{TRANSFER_SYNTAX_UID: EXPLICIT_VR_LITTLE_ENDIAN})
    target = target_of(dataset, contents[0]) if contents else ""
    if target == PIXEL_DATA:
        defaults, problems = _of_image(dataset, contents)
    elif len(contents) > 1:
        problems = [f"{named(target)} takes one file, but {len(contents)} are given"]
    elif contents and contents[0].kind is Kind.PDF:
        defaults, problems = _of_document(dataset, contents[0])
    elif contents and contents[0].kind is Kind.IMAGE:
        problems = [f"{named(target)} cannot hold an image"]
    syntax = text(dataset, TRANSFER_SYNTAX_UID)
    if target != PIXEL_DATA and syntax not in ("", *_NATIVE):
        problems.append(f"{named(TRANSFER_SYNTAX_UID)} is one of images, but there is no image")
    if target:
        defaults |= _plain("IS", **{INSTANCE_NUMBER: place})
        is_wide = (number(dataset, BITS_ALLOCATED) or 8) > 8
        is_wide &= not is_compressed({**defaults, **dataset})
        defaults[target] = {"vr": "OW" if target == PIXEL_DATA and is_wide else "OB"}
    defaults |= _plain("CS", **{SPECIFIC_CHARACTER_SET: UTF_8})
    given = {tag: one for tag, one in dataset.items() if tag not in defaults or has_value(one)}
    return {**defaults, **given}, problems


def has_value(element: dict[str, Any]) -> bool:
    """Return True if an element has a value."""
    return any(element.get(name) for name in ("Value", "InlineBinary", "BulkDataURI"))


def _plain(vr: str, **values: Any) -> Dataset:
    return {tag: {"vr": vr, "Value": [value]} for tag, value in values.items()}


def _of_document(dataset: Dataset, content: MediaFile) -> tuple[Dataset, list[str]]:
    """Describe a PDF (PS3.3 section C.24.2)."""
    defaults = {
        CONTENT_DATE: {"vr": "DA"},  # of type 2 from here on
        CONTENT_TIME: {"vr": "TM"},
        ACQUISITION_DATE_TIME: {"vr": "DT"},
        DOCUMENT_TITLE: {"vr": "ST"},
        CONCEPT_NAME_CODE_SEQUENCE: {"vr": "SQ"},
        **_plain("UI", **{SOP_CLASS_UID: _PDF, TRANSFER_SYNTAX_UID: EXPLICIT_VR_LITTLE_ENDIAN}),
        # Assume that the document names the patient, since that cannot be known.
        **_plain("CS", **{MODALITY: "DOC", CONVERSION_TYPE: "WSD", BURNED_IN_ANNOTATION: "YES"}),
        **_plain("LO", **{MIME_TYPE_OF_ENCAPSULATED_DOCUMENT: "application/pdf"}),
        **_plain("UL", **{ENCAPSULATED_DOCUMENT_LENGTH: content.size}),
    }
    problems = []
    for tag in (MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, ENCAPSULATED_DOCUMENT_LENGTH):
        told, value = text(dataset, tag), text(defaults, tag)
        if told and told != value:
            problems.append(f"{named(tag)} differs from the document, which has {value}")
    return defaults, problems


def _of_image(dataset: Dataset, contents: Sequence[MediaFile]) -> tuple[Dataset, list[str]]:
    """Describe pixel data by its frames, if their kind is known."""
    first = contents[0].pixels
    syntax = text(dataset, TRANSFER_SYNTAX_UID)
    if has_value({**dataset.get(PIXEL_DATA, {}), "BulkDataURI": ""}):
        return {}, [f"{named(PIXEL_DATA)} is in the metadata, but an image is given too"]
    if first is None:
        return {}, [*_complaints_of_unknown(dataset, contents, syntax)]
    for content in contents[1:]:
        if content.pixels != first:
            return {}, [f"{content.path} is an image of another kind or size than the first frame"]
    defaults = _description(dataset, first, len(contents))
    if first.method:
        defaults |= _of_lossy(first, contents)
    sop_class = text(dataset, SOP_CLASS_UID)
    if sop_class in ("", _SECONDARY_CAPTURE) or sop_class.startswith(_SECONDARY_CAPTURE + "."):
        defaults |= _of_secondary_capture(first, len(contents))
    return defaults, [*_contradictions(dataset, defaults, first)]


def _description(dataset: Dataset, pixels: Pixels, frames: int) -> Dataset:
    """Write the Image Pixel Description Macro (PS3.3 section C.7.6.3.1)."""
    stored = number(dataset, BITS_STORED) or pixels.bits
    numbers = {
        SAMPLES_PER_PIXEL: pixels.samples,
        ROWS: pixels.rows,
        COLUMNS: pixels.columns,
        BITS_ALLOCATED: 8 if pixels.bits <= 8 else 16 if pixels.bits <= 16 else 32,
        BITS_STORED: pixels.bits,
        HIGH_BIT: stored - 1,
        PIXEL_REPRESENTATION: int(pixels.is_signed),
    }
    has_number = frames > 1 or is_of_many_frames(dataset)
    if pixels.samples > 1:
        numbers[PLANAR_CONFIGURATION] = 0
    return {
        **_plain("US", **numbers),
        **_plain("CS", **{PHOTOMETRIC_INTERPRETATION: pixels.photometric}),
        **_plain("UI", **{TRANSFER_SYNTAX_UID: pixels.syntaxes[0]}),
        **(_plain("IS", **{NUMBER_OF_FRAMES: frames}) if has_number else {}),
    }


def _of_lossy(pixels: Pixels, contents: Sequence[MediaFile]) -> Dataset:
    """Describe lossy compression (PS3.3 section C.7.6.1.1.5)."""
    bytes_per_sample = -(-pixels.bits // 8)
    native = pixels.rows * pixels.columns * pixels.samples * bytes_per_sample * len(contents)
    ratio = round(native / sum(content.size for content in contents), 2)
    return {
        **_plain(
            "CS", **{LOSSY_IMAGE_COMPRESSION: "01", LOSSY_IMAGE_COMPRESSION_METHOD: pixels.method}
        ),
        **_plain("DS", **{LOSSY_IMAGE_COMPRESSION_RATIO: ratio}),
    }


def _of_secondary_capture(pixels: Pixels, frames: int) -> Dataset:
    """Make an image without a SOP Class a secondary capture (PS3.3 sections A.8 and C.8.6)."""
    found = {
        **_plain("CS", **{MODALITY: "OT", CONVERSION_TYPE: "WSD"}),
        **_plain("UI", **{SOP_CLASS_UID: _SECONDARY_CAPTURE}),
    }
    if frames > 1:
        suffix = ".4" if pixels.samples > 1 else ".2" if pixels.bits <= 8 else ".3"
        found |= _plain("UI", **{SOP_CLASS_UID: _SECONDARY_CAPTURE + suffix})
        found |= _plain("CS", **{BURNED_IN_ANNOTATION: "YES"})  # since it cannot be known
        # The frames are pages, which are numbered.
        found |= _plain("AT", **{FRAME_INCREMENT_POINTER: PAGE_NUMBER_VECTOR})
        found[PAGE_NUMBER_VECTOR] = {"vr": "IS", "Value": [*range(1, frames + 1)]}
        if pixels.samples == 1:
            found |= _plain("CS", **{PRESENTATION_LUT_SHAPE: "IDENTITY"})
            found |= _plain("DS", **{RESCALE_INTERCEPT: 0, RESCALE_SLOPE: 1})
            found |= _plain("LO", **{RESCALE_TYPE: "US"})
    return found


def _contradictions(dataset: Dataset, defaults: Dataset, pixels: Pixels) -> Iterator[str]:
    """Yield what in the metadata contradicts an image."""
    # Not every kind of image says that its samples are signed.
    signed = [PIXEL_REPRESENTATION] if pixels.is_signed else []
    numbers = (ROWS, COLUMNS, SAMPLES_PER_PIXEL, BITS_ALLOCATED, *signed, NUMBER_OF_FRAMES)
    for tag in (*numbers, LOSSY_IMAGE_COMPRESSION):
        told, value = text(dataset, tag), text(defaults, tag)
        if told and value and told != value:
            what = "files given" if tag == NUMBER_OF_FRAMES else "image"
            yield f"{named(tag)} differs from the {what}: it should be {value}"
    stored = number(dataset, BITS_STORED)
    if stored is not None and not 0 < stored <= pixels.bits:
        yield f"{named(BITS_STORED)} differs from the image, which has {pixels.bits}"
    high = number(dataset, HIGH_BIT)
    if high is not None and high != (stored or pixels.bits) - 1:
        yield f"{named(HIGH_BIT)} is not one less than Bits Stored"
    syntax = text(dataset, TRANSFER_SYNTAX_UID)
    if syntax and syntax not in pixels.syntaxes:
        own = pixels.syntaxes[0]
        yield f"{named(TRANSFER_SYNTAX_UID)} differs from the image, which is in {own}"
    colours = text(dataset, PHOTOMETRIC_INTERPRETATION)
    if colours and colours.startswith(("RGB", "YBR")) is not (pixels.samples == 3):
        name = named(PHOTOMETRIC_INTERPRETATION)
        yield f"{name} differs from the image, which is {pixels.photometric}"


def _complaints_of_unknown(
    dataset: Dataset, contents: Sequence[MediaFile], syntax: str
) -> Iterator[str]:
    """Check files of unknown kind, which the metadata must describe completely."""
    it = "it" if len(contents) == 1 else contents[0].path
    if contents[0].kind is Kind.PDF:
        yield f"{named(PIXEL_DATA)} cannot hold a document"
    elif syntax not in _TOLD and syntax not in _NATIVE:
        yield f"{it} is not an image of a kind that DICOM supports"
    elif missing := [tag for tag in _DESCRIPTION if not text(dataset, tag)]:
        yield f"{named(missing[0])} is missing, and cannot be read from {it}"
    elif any(content.pixels is not None for content in contents):
        yield "the frames are of different kinds"
    elif syntax == _RLE and not all(map(_is_rle, contents)):
        yield f"{named(TRANSFER_SYNTAX_UID)} is RLE, but a file is not"
    elif syntax in _NATIVE:
        yield from _wrong_length(dataset, contents)
    elif syntax == _RLE and (number(dataset, NUMBER_OF_FRAMES) or 1) != len(contents):
        yield f"{named(NUMBER_OF_FRAMES)} is not {len(contents)}, the number of files"
    elif syntax != _RLE and len(contents) > 1 and ".4.11" not in syntax:
        yield "a video is one file"


def _is_rle(content: MediaFile) -> bool:
    """Return True if a file begins like RLE, with the number of segments (PS3.5 section G.5)."""
    return len(content.head) >= 64 and (
        1 <= struct.unpack("<L", content.head[:4])[0] <= 15 and content.head[4:8] == b"\x40\0\0\0"
    )


def _wrong_length(dataset: Dataset, contents: Sequence[MediaFile]) -> Iterator[str]:
    frames = number(dataset, NUMBER_OF_FRAMES) or 1
    bits = frames
    for tag in (ROWS, COLUMNS, SAMPLES_PER_PIXEL, BITS_ALLOCATED):
        bits *= number(dataset, tag) or 0
    if text(dataset, PHOTOMETRIC_INTERPRETATION) == "YBR_FULL_422":
        bits = bits // 3 * 2
    if len(contents) > 1:
        yield "uncompressed pixel data is one file"
        return
    size, told = contents[0].size, -(-bits // 8)
    if size not in (told, told + told % 2):
        yield f"it has {plural(size, 'byte')}, but by the metadata it should have {told:,}"
