"""The bytes of a `multipart/related` body that is read: where delimiters are, and what is between.

RFC 2046 section 5.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from dcmweb.errors import DcmwebError, NothingMatched, ProtocolError, Truncated

PIECE = 256 * 1024
LONGEST_HEADERS = 64 * 1024
_LONGEST_LINE = 200  # of a delimiter with white space behind it
_LONGEST_START = 512  # of the first lines, by which a boundary is known
# The first line of a body, its delimiter, with a header field, the end of the header fields, or the
# close delimiter's dashes behind it.
_FIRST_LINE = re.compile(
    rb"\s*(?=--([^\r\n]{1,100}?)(?:--)?[ \t]*\r\n(?:[!-9;-~]+[ \t]*:|\r\n|\Z))"
)

Read = Callable[[int], bytes]
Piece = bytes | memoryview


class PartStream:
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
