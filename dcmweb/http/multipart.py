"""Bodies of `multipart/related` as streams, both ways (RFC 2046 section 5.1, PS3.18 section 8.6).

Neither way holds more than a few pieces in memory, whatever the size of the parts.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dcmweb.errors import ProtocolError, Truncated
from dcmweb.http.media_types import MediaType, multipart, parse
from dcmweb.http.part_stream import PIECE, PartStream, Piece, Read
from dcmweb.sources import Source

MOST_TOGETHER = 512  # pieces that are sent in one call; of more, systems may refuse the rest
LONGEST_HELD = 256 * 1024 * 1024  # of a part that is held in memory

Count = Callable[[int], object]


def _not_counted(_size: int) -> None:
    pass


class Body:
    """A request body of known length that starts anew each time it is iterated over.

    So that every attempt to send it sends all of it.
    """

    def __init__(
        self, chunks: Sequence[bytes | Source], content_type: str, count: Count = _not_counted
    ) -> None:
        """Make a body; `count` is told of the bytes of sources as they are sent."""
        self.content_type = content_type
        self.count = count
        self._chunks = chunks
        self._length = sum(c.size if not isinstance(c, bytes) else len(c) for c in chunks)

    @classmethod
    def single(cls, source: Source, media_type: str, count: Count = _not_counted) -> Body:
        """Make a body of one source as it is."""
        return cls([source], media_type, count)

    @classmethod
    def related(
        cls, sources: Sequence[Source], media_type: str, count: Count = _not_counted
    ) -> Body:
        """Make a `multipart/related` body with one part of the type for each source."""
        headers = {"Content-Type": media_type}
        return cls.parts([(headers, source) for source in sources], media_type, count)

    @classmethod
    def parts(
        cls,
        parts: Iterable[tuple[Mapping[str, str], bytes | Source]],
        root_type: str,
        count: Count = _not_counted,
    ) -> Body:
        """Make a `multipart/related` body of parts, each with its header fields."""
        boundary = secrets.token_hex(16)
        last: Mapping[str, str] | None = None  # header fields; nearly all parts have the same
        chunks: list[bytes | Source] = []
        for headers, content in parts:
            if headers is not last:
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                head = f"\r\n--{boundary}\r\n{lines}\r\n".encode("ascii")
                last = headers
            chunks += (head if chunks else head[2:], content)
        chunks.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
        return cls(chunks, multipart(root_type, boundary=boundary), count)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body; small pieces are joined, so that few are sent."""
        return map(b"".join, self.gathered())

    def gathered(self) -> Iterator[list[bytes]]:
        """Yield the body as lists of pieces, each to be sent at once without joining them."""
        return _gathered(self._chunks, self.count)

    def pieces_uncounted(self) -> Iterator[bytes]:
        """Yield the body without progress, for what reads it before it is sent."""
        return map(b"".join, _gathered(self._chunks, _not_counted))


def _gathered(chunks: Iterable[bytes | Source], count: Count) -> Iterator[list[bytes]]:
    waiting: list[bytes] = []
    size = own = 0  # bytes that wait; those of them that are between sources
    for chunk in chunks:
        is_own = isinstance(chunk, bytes)
        for piece in (chunk,) if isinstance(chunk, bytes) else chunk.pieces():
            waiting.append(piece)
            size += len(piece)
            if is_own:
                own += len(piece)
            if size >= PIECE:
                count(size - own)
                yield waiting
                waiting, size, own = [], 0, 0
            elif len(waiting) >= MOST_TOGETHER:
                waiting = [b"".join(waiting)]
    if waiting:
        count(size - own)
        yield waiting


def write_parts(
    parts: Iterable[tuple[Mapping[str, str], Iterable[bytes]]], boundary: str
) -> Iterator[bytes]:
    """Yield a body of parts as they come, each with its header fields and the pieces of its body.

    An error in a part ends the body before its close delimiter, so that it does not pass for whole.
    Pieces that can be closed are, even if none were taken.
    """
    before = b""
    for headers, pieces in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        try:
            yield before + f"--{boundary}\r\n{lines}\r\n".encode()
            yield from pieces
        finally:
            getattr(pieces, "close", _nothing)()
        before = b"\r\n"
    yield before + f"--{boundary}--\r\n".encode()


def _nothing() -> None:
    pass


class Part(NamedTuple):
    """A part of an answer: header fields by lower-case name, and the body, to be read once.

    `whole` is all of the body where it is in memory anyway; None for a large one, as a rule.
    """

    headers: Mapping[str, str]
    body: Iterator[Piece]
    whole: Piece | None = None

    @property
    def media_type(self) -> MediaType:
        """The media type of this part; "" where it has none."""
        return parse(self.headers.get("content-type", ""))

    def content(self, limit: int = LONGEST_HELD) -> bytes:
        """Read the body into memory; raise ProtocolError if it has more than `limit` bytes."""
        pieces: list[Piece] = []
        for piece in self.body:
            pieces.append(bytes(piece))
            limit -= len(piece)
            if limit < 0:
                raise ProtocolError("a part of the answer is too large")
        return b"".join(pieces)

    @property
    def declared_size(self) -> int | None:
        """The Content-Length of this part: a hint, no more. The delimiter decides."""
        text = self.headers.get("content-length")
        return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def read_parts(read: Read, boundary: str, *, is_whole: bool = False) -> Iterator[Part]:
    """Yield the parts of a body as it arrives; each must be read before the next is asked for.

    `read(n)` returns up to n bytes, none at the end, and with `is_whole` it raises an error rather
    than end too early. The boundary is what the body shows, where that is another than it is said
    to be. Raises Truncated if the body ends before the close delimiter, ProtocolError if it is
    malformed or there is no part in it, NothingMatched if it is empty.
    """
    stream = PartStream(read)
    try:
        stream.find_boundary(boundary.encode("latin-1", "replace"))
        for _ in stream.until_delimiter():
            pass  # the preamble
    except Truncated:
        if not (is_whole and stream.is_over):
            raise
        raise stream.no_delimiter() from None
    count = 0
    while not stream.at_close():
        count += 1
        headers = stream.headers()
        whole = stream.whole_body()
        if whole is not None:
            yield Part(headers, iter((whole,) if whole else ()), whole)
            continue
        body = stream.until_delimiter()
        yield Part(headers, body)
        for _ in body:
            pass  # what the caller did not read
    if not count:
        raise ProtocolError("the answer is a multipart body without a part")
