"""Content negotiation (PS3.18 section 8.7, RFC 9110 section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.exceptions import NotAcceptable
from werkzeug.wrappers import Request

from dcmweb.http import media_types
from dcmweb.http.media_types import MULTIPART_RELATED, MediaType, parse

ANY_TYPE = "*/*"
_MOST_RANGES = 100
_QUALITY = re.compile(r"[0-9]{0,3}\.?[0-9]{0,17}(?<=[0-9])")
JSON_TYPES = (media_types.DICOM_JSON, "application/json")


@dataclass(frozen=True)
class MediaRange:
    """A media range of an Accept header; for multipart, `name` is that of the parts."""

    name: str
    is_multipart: bool
    is_single: bool
    transfer_syntax: str = ""
    quality: float = 1.0

    def covers(self, name: str) -> bool:
        """Return True if a media type is within this range."""
        kind = self.name.partition("/")[0]
        return self.name in (ANY_TYPE, name) or (
            self.name.endswith("/*") and name.startswith(f"{kind}/")
        )


def accepted(request: Request) -> list[MediaRange]:
    """Read the media ranges that a request accepts, preferred ones first; default to any.

    The query parameter `accept` takes precedence over the header (PS3.18 section 8.3.3.1).
    """
    text = request.args.get("accept") or request.headers.get("Accept") or ANY_TYPE
    ranges = [_range(parse(part)) for part in _split(text)[:_MOST_RANGES]]
    wanted = [r for r in ranges if r.quality > 0]
    return sorted(wanted, key=lambda r: -r.quality)


def _split(text: str) -> list[str]:
    """Split at the commas that are not within quotes."""
    parts, start, is_quoted, is_escaped = [], 0, False, False
    for at, char in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif is_quoted:
            is_escaped, is_quoted = char == "\\", char != '"'
        elif char == '"':
            is_quoted = True
        elif char == ",":
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _range(media_type: MediaType) -> MediaRange:
    parameters = media_type.parameters
    syntax = parameters.get("transfer-syntax", "")
    told = parameters.get("q", "1").strip()
    quality = float(told) if _QUALITY.fullmatch(told) else 1.0
    if media_type.name in (MULTIPART_RELATED, "multipart/*"):
        # Older clients put the transfer syntax inside the quotes of the type.
        inner = parse(parameters.get("type", ANY_TYPE))
        syntax = syntax or inner.parameters.get("transfer-syntax", "")
        return MediaRange(inner.name or ANY_TYPE, True, False, syntax, quality)
    return MediaRange(media_type.name, media_type.name == ANY_TYPE, True, syntax, quality)


def choose_type(ranges: Sequence[MediaRange], offered: Sequence[str]) -> str:
    """Choose a media type that is sent as a single body; raises NotAcceptable if none fits.

    If a range covers several types, the first one offered is chosen.
    """
    for wanted in ranges:
        for name in offered:
            if wanted.is_single and wanted.covers(name):
                return name
    raise not_acceptable(offered)


def not_acceptable(offered: Sequence[str]) -> NotAcceptable:
    """Make the error that lists the available media types."""
    return NotAcceptable(f"this is available as {', '.join(offered)}")
