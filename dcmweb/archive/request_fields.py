"""Header fields of requests, read strictly, so that a proxy and the archive agree where they end.

What two servers read in two ways lets a client hide a request in the body of another one.
"""

from __future__ import annotations

import re
from typing import IO

from cheroot.server import HeaderReader

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110 section 5.6.2
_FORBIDDEN = re.compile(rb"[\r\0]")  # a line ends with its first LF
_ONCE = (b"Content-Length", b"Transfer-Encoding", b"Host", b"Content-Type", b"Authorization")


class FieldReader(HeaderReader):
    """Reads header fields (RFC 9112 section 5).

    Replaces the reader of cheroot 11.1, which takes the last of two lengths, and names with
    spaces or a NUL in them. Raises ValueError for what a request must not have.
    """

    def __call__(
        self, rfile: IO[bytes], hdict: dict[bytes, bytes] | None = None
    ) -> dict[bytes, bytes]:
        """Read fields up to the empty line, into a dictionary if there is one."""
        fields: dict[bytes, bytes] = {} if hdict is None else hdict
        while (line := rfile.readline()) != b"\r\n":
            name, value = _field(line)
            if b"_" in name:  # in its environment, it could not be told from one with a hyphen
                continue
            if name in fields and name in _ONCE:
                raise ValueError(f"{name.decode()} is there twice")
            fields[name] = fields[name] + b", " + value if name in fields else value
        return fields


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line[:-2].partition(b":")
    if not line.endswith(b"\r\n") or _FORBIDDEN.search(line[:-2]):
        raise ValueError("a header field does not end with CR and LF")
    if not (colon and _NAME.fullmatch(name)):
        raise ValueError("a line is not a header field")
    return name.title(), value.strip(b" \t")


def why_no_end(fields: dict[bytes, bytes], protocol: str) -> str:
    """Say why the end of a body is in doubt (RFC 9112 section 6.1); "" if it is not.

    The protocol is the one that the archive answers in: clients write `HTTP/1.00` as well.
    """
    if b"Transfer-Encoding" not in fields:
        length = fields.get(b"Content-Length", b"0")
        return (
            "" if re.fullmatch(rb"[0-9]+", length) else "the Content-Length is not a valid length"
        )
    if b"Content-Length" in fields:
        return "Content-Length with Transfer-Encoding"
    if protocol == "HTTP/1.0":
        return "HTTP/1.0 has no Transfer-Encoding"
    is_chunked = fields[b"Transfer-Encoding"].lower() == b"chunked"
    return "" if is_chunked else "the Transfer-Encoding is not chunked"
