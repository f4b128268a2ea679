"""Reads and writes media types (PS3.18 section 8.7), and chooses file extensions for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from dcmweb.errors import UsageError

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
OCTET_STREAM = "application/octet-stream"
ZIP = "application/zip"
MULTIPART_RELATED = "multipart/related"

EXTENSIONS: Mapping[str, str] = {
    DICOM: ".dcm",
    DICOM_JSON: ".json",
    "application/json": ".json",
    DICOM_XML: ".xml",
    OCTET_STREAM: ".raw",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/jls": ".jls",
    "image/jp2": ".jp2",
    "image/jpx": ".jpx",
    "image/jph": ".jph",
    "image/jphc": ".jphc",
    "image/jxl": ".jxl",
    "image/dicom-rle": ".rle",
    "application/x-deflate": ".deflate",
    "video/mpeg": ".mpg",
    "video/mpeg2": ".mpg",
    "video/mp4": ".mp4",
    "video/h265": ".h265",
    "application/pdf": ".pdf",
    ZIP: ".zip",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/xml": ".xml",
    "text/rtf": ".rtf",
}
OTHER_EXTENSION = ".bin"

_PREFIX = "1.2.840.10008.1.2."

# In the order of PS3.18 table 8.7.3-5, with additions of newer editions.
FRAME_MEDIA_TYPES: dict[str, str] = {
    _PREFIX + suffix: media_type
    for media_type, suffixes in (
        ("image/jpeg", ("4.70", "4.50", "4.51", "4.57")),
        ("image/dicom-rle", ("5",)),
        ("image/jls", ("4.80", "4.81")),
        ("image/jp2", ("4.90", "4.91")),
        ("image/jpx", ("4.92", "4.93")),
        ("image/jphc", ("4.201", "4.202", "4.203")),
        ("image/jxl", ("4.110", "4.111", "4.112")),
        ("video/mpeg2", ("4.100", "4.101")),
        ("video/mp4", ("4.102", "4.103", "4.104", "4.105", "4.106")),
        ("video/H265", ("4.107", "4.108")),
    )
    for suffix in suffixes
}

# Names that older servers and editions of the standard use.
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-jls": "image/jls",
    "image/x-dicom-rle": "image/dicom-rle",
}
_LONGEST_NAME = 255  # of a type, with 127 characters before the slash and behind it (RFC 6838, 4.2)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(
    r"""\s*;\s*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*)))?\s*"""
)


class MediaType(NamedTuple):
    """A media type with its parameters; type, subtype and parameter names in lower case."""

    name: str
    parameters: Mapping[str, str] = MappingProxyType({})

    @property
    def extension(self) -> str:
        """The extension of files of this type."""
        return EXTENSIONS.get(self.name, OTHER_EXTENSION)

    @property
    def is_multipart(self) -> bool:
        """Whether the body is made of parts."""
        return self.name.startswith("multipart/")

    def __str__(self) -> str:
        """Write the media type, with quotes around values that need them."""
        return self.name + "".join(f"; {k}={_quoted(v)}" for k, v in self.parameters.items())


# Instances and bulk data in their stored transfer syntax (PS3.18 section 8.7.3.5.2).
DICOM_AS_STORED = MediaType(DICOM, {"transfer-syntax": "*"})
BYTES_AS_STORED = MediaType(OCTET_STREAM, {"transfer-syntax": "*"})


def parse(text: str) -> MediaType:
    """Read a Content-Type, with the mistakes that servers make.

    Parameters come in any order and case, quoted or not; a `/` may be unquoted, and a `;`
    may be inside quotes. Unreadable parameters are left out.
    """
    name, _, _ = text.partition(";")
    parameters: dict[str, str] = {}
    position = len(name)
    while match := _PARAMETER.match(text, position):
        position = match.end()
        if match[1]:
            quoted, bare = match[2], match[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            parameters.setdefault(match[1].lower(), value)
    name = name.strip().lower()[:_LONGEST_NAME]
    return MediaType(_ALIASES.get(name, name), parameters)


def parse_wanted(text: str) -> MediaType:
    """Read the media type that a user asks for; `multipart/related; type=X` asks for X.

    Raises UsageError for anything else.
    """
    wanted = parse(text)
    if wanted.name == MULTIPART_RELATED and "type" in wanted.parameters:
        parameters = {k: v for k, v in wanted.parameters.items() if k not in ("type", "boundary")}
        inner = parse(wanted.parameters["type"])
        wanted = MediaType(inner.name, {**inner.parameters, **parameters})
    if not re.fullmatch(f"{_TOKEN.pattern}/{_TOKEN.pattern}", wanted.name):
        raise UsageError(
            f"{text!r} is not a media type",
            "write it like image/png or 'application/dicom; transfer-syntax=*'",
        )
    return wanted


def frame_media_type(transfer_syntax: str) -> str:
    """Return the media type of frames in a transfer syntax; that of bytes if uncompressed."""
    return FRAME_MEDIA_TYPES.get(transfer_syntax, OCTET_STREAM)


def multipart(inner: MediaType | str, *, boundary: str = "") -> str:
    """Write `multipart/related` with parts of a type, for Accept or, with a boundary, Content-Type.

    The parameters of the inner type follow its name, as in PS3.18 section 8.7.4. The
    boundary is not quoted, since some servers treat quotes as a part of it.
    """
    inner = parse(inner) if isinstance(inner, str) else inner
    rest = "".join(f"; {k}={_quoted(v)}" for k, v in inner.parameters.items())
    end = f"; boundary={boundary}" if boundary else ""
    return f'{MULTIPART_RELATED}; type="{inner.name}"{rest}{end}'


def _quoted(value: str) -> str:
    if _TOKEN.fullmatch(value):
        return value
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'
