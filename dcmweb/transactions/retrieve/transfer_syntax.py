"""The transfer syntax of what came: found out, and compared with the one that was asked for."""

from __future__ import annotations

import struct

from dcmweb.dicom.dictionary import uid_name
from dcmweb.folders import NewFile
from dcmweb.http.media_types import OCTET_STREAM, MediaType, frame_media_type
from dcmweb.transactions.context import RunContext

_SYNTAX = "transfer-syntax"
_RLE = "1.2.840.10008.1.2.5"
_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_END_OF_IMAGE, _PADDED_END = b"\xff\xd9", 3
_RLE_HEADER = 64  # bytes: the number of segments, and 15 offsets (PS3.5 section G.5)


def syntax_of(kind: MediaType | None) -> str:
    """Return the transfer syntax that a media type names, "" if it names none."""
    named = kind.parameters.get(_SYNTAX, "") if kind else ""
    return "" if named == "*" else named


def kind_of_frame(file: NewFile, kind: MediaType | None) -> MediaType:
    """Return the media type of a frame: by its transfer syntax where it came as mere bytes.

    Servers send compressed frames as application/octet-stream, with their transfer syntax as a
    parameter (PS3.18 section 8.7.3.3.2), or without.
    """
    kind = kind or MediaType(OCTET_STREAM)
    if kind.name not in ("", OCTET_STREAM):
        return kind
    if syntax := syntax_of(kind) or _recognised(file):
        return MediaType(frame_media_type(syntax).lower(), {_SYNTAX: syntax})
    return MediaType("image/jpeg") if _is_jpeg(file) else kind


def _recognised(file: NewFile) -> str:
    """Return a transfer syntax that a compressed frame can be in, by its content; "" if none."""
    from dcmweb.dicom.images.codestreams import BadImage, read_jpeg, read_jpeg_2000

    with file.reader() as reader:
        reader.seek(0)
        head = reader.read(_RLE_HEADER)
        try:
            if head.startswith(_JPEG):
                return read_jpeg(reader, file.size).syntaxes[0]
            if head.startswith(_JPEG_2000):
                return read_jpeg_2000(reader, 0, file.size).syntaxes[0]
        except BadImage:
            return ""
    return _RLE if _is_rle(head, file.size) else ""


def _is_jpeg(file: NewFile) -> bool:
    """Return True for a JPEG of a process that DICOM has no more, such as a progressive one."""
    with file.reader() as reader:
        reader.seek(0)
        starts = reader.read(len(_JPEG)) == _JPEG
        reader.seek(max(0, file.size - _PADDED_END))
        return starts and reader.read().rstrip(b"\0").endswith(_END_OF_IMAGE)


def _is_rle(head: bytes, size: int) -> bool:
    if len(head) < _RLE_HEADER or size <= _RLE_HEADER:
        return False
    count, *offsets = struct.unpack("<16I", head)
    used, unused = offsets[:count], offsets[count:]
    is_ordered = all(low < high for low, high in zip(used, [*used[1:], size], strict=False))
    return 0 < count <= 15 and used[0] == _RLE_HEADER and is_ordered and not any(unused)


def note_other_syntax(context: RunContext, asked: str, came: str) -> str:
    """Say once that another transfer syntax came than was asked for; return it as a note."""
    if asked in ("", "*") or not came or asked == came:
        return ""
    return _noted(context, _named(came), _named(asked))


def note_other_kind(context: RunContext, asked: MediaType | None, came: MediaType) -> str:
    """Say once that another media type or transfer syntax came; return it as a note."""
    if asked is None:
        return ""
    if "*" not in asked.name and asked.name != came.name:
        return _noted(context, came.name, asked.name)
    return note_other_syntax(context, asked.parameters.get(_SYNTAX, ""), syntax_of(came))


def _noted(context: RunContext, came: str, asked: str) -> str:
    note = f"the server sent {came} instead of {asked}"
    context.notify_once(f"{note}; it is kept as it came")
    return note


def _named(uid: str) -> str:
    name = uid_name(uid)
    return uid if name == uid else f"{name} ({uid})"
