"""Instances made of metadata in the DICOM JSON model and bulk data (PS3.18 10.5.1, annex F)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.config import IGNORE
from pydicom.uid import UID
from werkzeug.exceptions import BadRequest

from dcmweb.dicom.byte_ranges import pieces_of, read_range
from dcmweb.dicom.element_walk import DEFLATED, EXPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.json_model import Dataset, number, text
from dcmweb.dicom.json_to_part10 import (
    BulkData,
    Unwritable,
    check_uids,
    is_uid,
    prepared,
    with_bulk_data,
    write_file,
    wrong,
)
from dcmweb.dicom.tags import NUMBER_OF_FRAMES, PIXEL_DATA, TRANSFER_SYNTAX_UID
from dcmweb.errors import LocalError
from dcmweb.http.media_types import OCTET_STREAM, MediaType, frame_media_type

Write = Callable[[bytes], None]


@dataclass(frozen=True)
class BulkFile:
    """Received bulk data: its file, its size in bytes, its media type."""

    path: str
    size: int
    media_type: MediaType

    @property
    def transfer_syntax(self) -> str:
        """The transfer syntax its media type names; "" if unknown (PS3.18 section 8.7.3)."""
        default = EXPLICIT_VR_LITTLE_ENDIAN if self.media_type.name == OCTET_STREAM else ""
        return self.media_type.parameters.get("transfer-syntax", default).strip()

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes."""
        too_short = LocalError("bulk data has become shorter", path=self.path)
        with open(self.path, "rb") as source:
            yield from read_range(source, 0, self.size, too_short)


def write_instance(metadata: Dataset, bulk: Mapping[str, BulkFile], write: Write) -> None:
    """Write an instance as a DICOM file; `bulk` is named as in the BulkDataURIs.

    The transfer syntax is that of the metadata (0002,0010), or else of the pixel data, or else
    Explicit VR Little Endian. Compressed pixel data becomes one fragment, text UTF-8. Raises
    BadRequest for an invalid instance, possibly after a part of it has been written.
    """
    try:
        is_ascii = json.dumps(metadata, ensure_ascii=False).isascii()
        dataset = prepared(metadata, is_ascii=is_ascii)
        check_uids(dataset)
        _check_names(dataset, bulk)
        syntax = _transfer_syntax(text(metadata, TRANSFER_SYNTAX_UID), dataset, bulk)
        chunks = write_file(dataset, syntax, _encapsulated(dataset, bulk, syntax))
        write(
            b"".join(pieces_of([next(chunks)]))
        )  # the file meta information, which is never deflated
        pieces = pieces_of(chunks)
        for piece in _deflated(pieces) if syntax == DEFLATED else pieces:
            write(piece)
    except Unwritable as error:
        raise BadRequest(str(error)) from None
    except RecursionError:
        raise BadRequest("its sequences are nested too deep") from None


def _check_names(metadata: Dataset, bulk: Mapping[str, BulkFile]) -> None:
    """Check that BulkDataURIs and parts belong together, one to one or more."""
    names = set()
    for tag, element in with_bulk_data(metadata):
        name = element["BulkDataURI"]
        if not isinstance(name, str) or name not in bulk:
            raise wrong(tag, f"refers to {name!r}, but no part has that Content-Location")
        names.add(name)
    if unused := bulk.keys() - names:
        raise Unwritable(f"no BulkDataURI names the part {min(unused)}")


def _transfer_syntax(told: str, dataset: Dataset, bulk: Mapping[str, BulkFile]) -> str:
    """Find the transfer syntax: the one in the metadata, or else that of the pixel data."""
    pixels = bulk.get(dataset.get(PIXEL_DATA, {}).get("BulkDataURI", ""))
    syntax = told or (pixels.transfer_syntax if pixels else "")
    if not syntax and pixels and pixels.media_type.name:
        raise wrong(
            PIXEL_DATA, f"is {pixels.media_type}, which does not determine the transfer syntax"
        )
    syntax = syntax or EXPLICIT_VR_LITTLE_ENDIAN
    if not (is_uid(syntax) and _uid(syntax).is_transfer_syntax):
        raise wrong(TRANSFER_SYNTAX_UID, f"is not a known transfer syntax: {syntax!r}")
    if pixels:
        _check_pixels(pixels, syntax)
        frames = number(dataset, NUMBER_OF_FRAMES) or 1
        is_video = frame_media_type(syntax).startswith("video/")
        if _is_compressed(syntax) and frames > 1 and not is_video:
            raise wrong(NUMBER_OF_FRAMES, f"is {frames}, but a part in {syntax} is one frame")
    elif _is_compressed(syntax) and PIXEL_DATA in dataset:
        raise wrong(PIXEL_DATA, f"must be bulk data in transfer syntax {syntax}")
    return syntax


def _check_pixels(pixels: BulkFile, syntax: str) -> None:
    """Check bulk data against the transfer syntax of the data set (PS3.18 table 8.7.3-5)."""
    own = pixels.transfer_syntax or syntax
    if own != syntax and (_is_compressed(own) or _is_compressed(syntax)):
        raise wrong(PIXEL_DATA, f"is in transfer syntax {own}, not in {syntax}")
    name = pixels.media_type.name
    if name not in ("", OCTET_STREAM, frame_media_type(syntax).lower()):
        raise wrong(PIXEL_DATA, f"is {name}, which cannot be in transfer syntax {syntax}")


def _encapsulated(
    dataset: Dataset, bulk: Mapping[str, BulkFile], syntax: str
) -> dict[str, BulkData]:
    """Decide how bulk data is written; pixel data of items may be native in any case."""
    compressed = set()
    for tag, element in with_bulk_data(dataset):
        file = bulk[element["BulkDataURI"]]
        own = file.transfer_syntax or syntax
        if tag != PIXEL_DATA or (file.media_type.name == OCTET_STREAM and not _is_compressed(own)):
            continue
        _check_pixels(file, syntax)
        if _is_compressed(own):
            compressed.add(element["BulkDataURI"])
    return {name: BulkData([file], name in compressed) for name, file in bulk.items()}


def _is_compressed(syntax: str) -> bool:
    """Return True if pixel data is encapsulated; assume so for unknown transfer syntaxes."""
    uid = _uid(syntax)
    return not uid.is_transfer_syntax or (uid.is_compressed and syntax != DEFLATED)


def _uid(text: str) -> UID:
    return UID(text, validation_mode=IGNORE)


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Deflate a data set, to an even number of bytes (PS3.5 annex A.5)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for piece in pieces:
        done = deflater.compress(piece)
        size += len(done)
        yield done
    end = deflater.flush()
    yield end + b"\0" * ((size + len(end)) % 2)
