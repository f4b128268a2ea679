"""Content codings of answers (RFC 9110 section 8.4.1), undone piece by piece.

No more is in memory than was asked for, however much a body inflates to, and a body that ends
before its coding does is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from dcmweb.errors import ProtocolError, Truncated

ACCEPTED = "gzip, deflate"
MOST_CODINGS = 3
_PIECE = 64 * 1024
_GZIP = zlib.MAX_WBITS | 16

Read = Callable[[int], bytes]


def decoded(read: Read, content_encoding: str) -> Read:
    """Return a function that reads what `read` does, without its codings.

    Raises Truncated for a coding that was not asked for.
    """
    codings = [one.strip().lower() for one in content_encoding.split(",")]
    codings = [one for one in codings if one not in ("", "identity")]
    if len(codings) > MOST_CODINGS:
        raise Truncated("the answer is encoded over and over")
    for coding in reversed(codings):
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise Truncated("the answer has a content coding that was not asked for")
        read = _Inflater(read, is_gzip=coding != "deflate").read
    return read


class _Inflater:
    """Inflates what it reads: gzip, zlib, or deflate without a frame, which some servers send."""

    def __init__(self, read: Read, *, is_gzip: bool) -> None:
        self._read = read
        self._is_gzip = is_gzip
        self._inflate: zlib._Decompress | None = None
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes, none at the end."""
        try:
            while data := self._waiting or self._read(_PIECE):
                if piece := self._piece(data, size):
                    return piece
            return self._last(size)
        except zlib.error as error:
            raise Truncated(f"the answer cannot be decoded: {error}") from None

    def _piece(self, data: bytes, size: int) -> bytes:
        if self._inflate is None or self._inflate.eof:
            data = self._start(data)
        if self._inflate is None or not data:
            return b""
        piece = self._inflate.decompress(data, size)
        self._waiting = self._inflate.unused_data or self._inflate.unconsumed_tail
        return piece

    def _start(self, data: bytes) -> bytes:
        """Begin to inflate: gzip may have several members, and zeros after them."""
        self._waiting = b""
        if not self._is_gzip:
            if self._inflate is not None:
                raise ProtocolError("the answer goes on after the end of its coding")
            while len(data) < 2 and (more := self._read(_PIECE)):
                data += more
            has_frame = (
                data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
            )
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if has_frame else -zlib.MAX_WBITS)
            return data
        if self._inflate is not None:
            data = data.lstrip(b"\0")
            if not data:
                return b""
        self._inflate = zlib.decompressobj(_GZIP)
        return data

    def _last(self, size: int) -> bytes:
        """Return what is left when all was read."""
        if self._inflate is None or self._inflate.eof:
            return b""
        piece = self._inflate.decompress(b"", size)
        if not piece and not self._inflate.eof:
            raise Truncated("the answer broke off: its coding has not ended")
        return piece
