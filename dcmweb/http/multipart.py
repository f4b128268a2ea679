"""Bodies of `multipart/related` as streams, both ways (RFC 2046 section 5.1, PS3.18 section 8.6).

Neither way holds more than a few pieces in memory, whatever the size of the parts.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from dcmweb.errors import DcmwebError, NothingMatched, ProtocolError, Truncated
from dcmweb.http.media_types import MediaType, multipart, parse
from dcmweb.sources import Source

PIECE = 256 * 1024
MOST_TOGETHER = 512  # pieces that are sent in one call; of more, systems may refuse the rest
LONGEST_HEADERS = 64 * 1024
LONGEST_HELD = 256 * 1024 * 1024  # of a part that is held in memory
_LONGEST_LINE = 200  # of a delimiter with white space behind it
_LONGEST_START = 512  # of the first lines, by which a boundary is known
# The first line of a body, its delimiter, with a header field, the end of the header fields, or the
# close delimiter's dashes behind it.
_FIRST_LINE = re.compile(
    rb"\s*(?=--([^\r\n]{1,100}?)(?:--)?[ \t]*\r\n(?:[!-9;-~]+[ \t]*:|\r\n|\Z))"
)

Read = Callable[[int], bytes]
Piece = bytes | memoryview
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
    stream = _Stream(read)
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


class _Stream:
    """Bytes from `read`: a buffer, and how much at its beginning has been used.

    Each byte is searched for the delimiter once, from the end of what came to its beginning, which
    takes half the time of a search in the other direction.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = b"\r\n"  # the first delimiter may stand at the very beginning
        self._used = 0
        self._delimiter = b""  # with the line end before it
        self._places: list[int] = []  # of delimiters in the buffer, the last one first
        self._searched = 0  # bytes of the buffer that were searched for them
        self._start = b""
        self.is_over = False  # there is nothing more to be read

    def _more(self) -> bool:
        data = self._read(PIECE)
        used, self._used = self._used, 0
        self._searched -= used
        self._places = [place - used for place in self._places if place >= used]
        self._buffer = self._buffer[used:] + data
        self.is_over = not data
        return bool(data)

    def _left(self) -> int:
        return len(self._buffer) - self._used

    def find_boundary(self, told: bytes) -> None:
        """Find out the boundary: what the first line of the body shows, or else what was told.

        Servers exist that tell none, or another one: dicomweb-pacs before March 2026 and
        dicomweb-proxy before 2023 put single quotes around it. A first line only counts where
        header fields follow it, as a preamble may look like a delimiter.
        """
        while self._left() < _LONGEST_START and self._more():
            pass
        self._start = bytes(self._buffer[:_LONGEST_START])
        match = _FIRST_LINE.match(self._start)  # and not more, however much came at once
        if match:
            self._buffer = b"\r\n" + self._buffer[match.end() :]
        elif not told:
            if self._left() < _LONGEST_START:
                raise Truncated("the answer breaks off before its first delimiter")
            raise self.no_delimiter()
        self._delimiter = b"\r\n--" + (match[1] if match else told)
        self._searched = 0

    def no_delimiter(self) -> DcmwebError:
        """Make the error for a body that came to its end without a delimiter."""
        start = self._start.strip()
        if not start:
            return NothingMatched("the answer is multipart, but empty")
        if re.match(rb"--[^\r\n]+\n", start):
            return ProtocolError("the answer is multipart, but its lines end with LF, not CRLF")
        return ProtocolError("the answer is multipart, but has no line with its boundary")

    def _next_delimiter(self) -> int:
        """Return where the text of the next delimiter is in the buffer; -1 if it is not there."""
        if self._searched < len(self._buffer):
            self._search()
        places = self._places
        while places and places[-1] < self._used:
            places.pop()
        return places[-1] if places else -1

    def _search(self) -> None:
        """Find the delimiters in what is new, and in a delimiter's length before it."""
        length = len(self._delimiter)
        end = len(self._buffer)
        start = max(self._used, self._searched - length + 1)
        self._searched = end
        found: list[int] = []
        if length <= _LONGEST_LINE:
            while (place := self._buffer.rfind(self._delimiter, start, end)) >= 0:
                found.append(place)
                end = place + length - 1
        else:  # Python only bounds the time of a search for a long text in this direction
            while (place := self._buffer.find(self._delimiter, start)) >= 0:
                found.insert(0, place)
                start = place + 1
        self._places = found + self._places

    def whole_body(self) -> Piece | None:
        """Return the bytes before the next delimiter line if they are few, and pass it.

        That is, if no more than another piece has to be read. None otherwise, or if it is not known
        at once that the line ends there.
        """
        place = self._next_delimiter()
        if place < 0 and self._left() < PIECE and self._more():
            place = self._next_delimiter()
        end = place + len(self._delimiter)
        if place < 0 or self._buffer[end : end + 2] not in (b"\r\n", b"--"):
            return None
        self._places.pop()
        body = memoryview(self._buffer)[self._used : place]
        self._used = end
        return body

    def until_delimiter(self) -> Iterator[Piece]:
        """Yield the bytes before the next delimiter line, leaving the stream after it.

        The delimiter text with anything but white space and a line end, or `--`, behind it belongs
        to the data.
        """
        while True:
            place = self._next_delimiter()
            if place >= 0:
                size = place - self._used
                is_line = self._line_ends(size + len(self._delimiter))  # may read more
                self._places.pop()
                if is_line:
                    piece = memoryview(self._buffer)[self._used : self._used + size]
                    self._used += size + len(self._delimiter)
                    if piece:
                        yield piece
                    return
                continue
            sure = self._sure_end()
            if sure > self._used:
                piece = memoryview(self._buffer)[self._used : sure]
                self._used = sure
                yield piece
            if not self._more():
                raise Truncated("the answer breaks off before its close delimiter")

    def _sure_end(self) -> int:
        """Return where a delimiter may begin of which more has to come; else the buffer's end.

        Mostly it is the end, and then no copy of the rest is joined with what comes.
        """
        length, end = len(self._delimiter), len(self._buffer)
        first = max(self._used, end - length + 1)
        if length > _LONGEST_LINE:  # then looking closer could take long
            return first
        place = self._buffer.find(b"\r", first)
        while place >= 0 and not self._delimiter.startswith(self._buffer[place:]):
            place = self._buffer.find(b"\r", place + 1)
        return end if place < 0 else place

    def _line_ends(self, offset: int) -> bool:
        """Return True if a delimiter line ends here: with `--`, or white space and CRLF."""
        while True:
            start = self._used + offset
            rest = self._buffer[start : start + _LONGEST_LINE]
            line = rest.lstrip(b" \t")
            if rest.startswith(b"--") or line.startswith(b"\r\n"):
                return True
            undecided = line in (b"", b"\r") or rest == b"-"
            if not undecided or len(rest) >= _LONGEST_LINE:
                return False
            if not self._more():
                raise Truncated("the answer breaks off within a delimiter")

    def at_close(self) -> bool:
        """Return True if the delimiter before was the close delimiter."""
        return self._buffer.startswith(b"--", self._used)

    def headers(self) -> Mapping[str, str]:
        """Read a part's header fields: from the line end of its delimiter to the empty line.

        The next delimiter may follow at once (RFC 2046 section 5.1.1: the body is optional), and
        the line end before it is then that of the last header field.
        """
        while (end := self._buffer.find(b"\r\n\r\n", self._used)) < 0:
            if self._left() > LONGEST_HEADERS:
                raise ProtocolError("a part of the answer has endless header fields")
            if not self._more():
                raise Truncated("the answer breaks off within the header fields of a part")
        block = self._buffer[self._used : end]
        self._used = end + 2
        length = len(self._delimiter)
        while self._left() < length and self._more():
            pass
        is_empty = self._buffer.startswith(self._delimiter, self._used)
        if not (is_empty and self._line_ends(length)):
            self._used += 2
        return _header_fields(block)


@lru_cache(maxsize=16)  # for most parts of an answer they are the same
def _header_fields(block: bytes) -> Mapping[str, str]:
    text = block.decode("utf-8", "replace").strip(" \t\r\n")
    fields = {}
    for line in re.sub(r"\r\n[ \t]+", " ", text).split("\r\n") if text else ():
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[!-9;-~]+", name.strip()):
            raise ProtocolError("a part of the answer has malformed header fields")
        fields[name.strip().lower()] = value.strip()
    return fields
