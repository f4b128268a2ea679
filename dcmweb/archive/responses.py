"""Answer bodies of PS3.18: DICOM JSON, native XML, and multipart bodies, as streams."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from werkzeug.wrappers import Response

from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.native_xml import write_native_xml
from dcmweb.http import media_types
from dcmweb.http.media_types import MediaType, multipart
from dcmweb.http.multipart import write_parts
from dcmweb.http.part_stream import PIECE

_TOGETHER = 100  # data sets to a piece of a body
_LARGEST_IN_MEMORY = 4 * 1024 * 1024


class FilePieces(Iterator[bytes]):
    """The bytes of an open file, which is closed even if none are asked for, as after HEAD."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __next__(self) -> bytes:
        piece = self._file.read(PIECE)
        if not piece:
            self._file.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Close the file; WSGI asks for that at the end of each answer (PEP 3333)."""
        self._file.close()


def file_pieces(path: str) -> FilePieces:
    """Return the bytes of a file, which is opened at once; raise OSError if it is missing."""
    return FilePieces(open_regular(path, buffering=0))


def spooled(data: bytes) -> Iterator[bytes]:
    """Yield bytes; many of them are in a file while a client, perhaps slowly, takes them."""
    with tempfile.SpooledTemporaryFile(max_size=_LARGEST_IN_MEMORY) as spool:
        spool.write(data)
        del data
        spool.seek(0)
        while piece := spool.read(PIECE):
            yield piece


def json_response(datasets: Iterable[Dataset]) -> Response:
    """Answer with an array of data sets in the DICOM JSON model."""
    return Response(_json_pieces(datasets), content_type=media_types.DICOM_JSON)


def _json_pieces(datasets: Iterable[Dataset]) -> Iterator[bytes]:
    waiting: list[str] = []
    start = "["
    for dataset in datasets:
        waiting.append(json.dumps(dataset, ensure_ascii=False, allow_nan=False))
        if len(waiting) >= _TOGETHER:
            yield (start + ",\n".join(waiting)).encode("utf-8", "replace")
            start, waiting = ",\n", []
    yield ((start if waiting or start == "[" else "") + ",\n".join(waiting) + "]").encode(
        "utf-8", "replace"
    )


def as_xml_parts(datasets: Iterable[Dataset]) -> Response:
    """Answer with a part for each data set in the native XML model."""
    headers = {"Content-Type": media_types.DICOM_XML}
    parts = ((headers, [write_native_xml(dataset)]) for dataset in datasets)
    return as_parts(parts, MediaType(media_types.DICOM_XML))


def as_parts(
    parts: Iterable[tuple[Mapping[str, str], Iterable[bytes]]], media_type: MediaType
) -> Response:
    """Answer with parts of a media type."""
    boundary = secrets.token_hex(16)
    return Response(
        write_parts(parts, boundary),
        content_type=multipart(MediaType(media_type.name), boundary=boundary),
    )


def as_single(media_type: MediaType, pieces: Iterable[bytes], size: int | None) -> Response:
    """Answer with one body; its size in bytes is sent if known."""
    response = Response(pieces, content_type=str(media_type))
    if size is not None:
        response.content_length = size
    return response
