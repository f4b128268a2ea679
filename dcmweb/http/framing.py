"""The framing of answers: where each head and each body ends (RFC 9112 sections 2 to 8).

Python's own class takes the end of a connection for the end of a head, and reads what it does not
understand until the connection ends. Here whatever leaves an end in doubt is an error, so that
nothing above can take a broken answer for a short one.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from dcmweb.counted import plural
from dcmweb.http.lowest_speed import Pace

LONGEST_HEAD = 256 * 1024  # bytes
MOST_LINES = 1000  # of a head
LONGEST_CHUNK_LINE = 16 * 1024
MOST_INTERIM = 1000  # interim answers before the final one
MOST_BLANKS = 1000  # pieces of white space with which a server says that it still works
PIECE = 256 * 1024
_AFTER = 16  # bytes behind the end of a body that tell what they are
_ANSWER = b"HTTP/"
_MOST_DIGITS = 18  # of a length that fits into 64 bits

_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.([0-9]) ([1-9][0-9]{2})(?: ([^\r]*))?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_BODILESS = (204, 304)
_SWITCHING_PROTOCOLS = 101

Fields = list[tuple[str, str]]


class FramingError(http.client.HTTPException):
    """The answer broke off, or does not show where it ends."""


class FramedResponse(http.client.HTTPResponse):
    """An answer whose head and body are checked as they are read.

    Its header fields say the framing that was found: either one Content-Length, or chunked, or
    neither where the end of the connection is the end of the body. What came before an answer
    broke off is handed out first; the next read raises, and so does every later one.
    """

    fp: Any
    length: int | None
    _method: str | None

    def __init__(
        self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self._raw = _Incoming(self.fp.detach(), Pace(sock.gettimeout()))
        self.fp = io.BufferedReader(self._raw)
        self._pending: Callable[[], int] = getattr(sock, "pending", lambda: 0)
        self._is_over = self._is_clean = False
        self._failure: FramingError | None = None
        self._received = 0
        self._left = 0  # in the chunk that is being read
        self._announced: int | None = None  # the Content-Length of a chunked body
        self._is_chunked_twice = False  # as the head has it

    @property
    def is_reusable(self) -> bool:
        """Whether the answer came to its end, and nothing that nobody asked for came after it."""
        return self._is_over and self._is_clean and not self.will_close

    def begin(self) -> None:
        """Read the head of the final answer, past interim ones (RFC 9110 section 15.2)."""
        if self.headers is not None:
            return
        for _ in range(MOST_INTERIM):
            version, status, reason = self._read_status()
            fields = _read_fields(_Lines(self.fp))
            if status == _SWITCHING_PROTOCOLS:
                raise FramingError("it switches to another protocol, which nobody asked for")
            if status >= 200:
                break
            self._raw.pace.renew()  # it says that it still works
        else:
            raise FramingError("interim answers came without end")
        self.code = self.status = status
        self.reason = reason
        self.version = 10 if version == "HTTP/1.0" else 11
        self._frame(fields)
        if self.length == 0:
            self._end()

    def _read_status(self) -> tuple[str, int, str]:
        """Read a status line (RFC 9112 section 4); http.client calls this for tunnels as well."""
        if not self.fp.peek(1):
            raise http.client.RemoteDisconnected("the connection was closed without an answer")
        line = _Lines(self.fp).next()
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise FramingError("it does not begin with a status line of HTTP")
        if match[1] != b"1":
            raise FramingError("it has a version of HTTP that was not asked for")
        version = f"HTTP/1.{int(match[2])}"
        return version, int(match[3]), (match[4] or b"").decode("latin-1").strip()

    def _frame(self, fields: Fields) -> None:
        """Find out where the body ends (RFC 9112 section 6.3)."""
        length, codings = _content_length(fields), _transfer_codings(fields)
        kept = [pair for pair in fields if pair[0].lower() not in _FRAMING_FIELDS]
        is_bodiless = self.status in _BODILESS or self._method == "HEAD"
        self.chunked = bool(codings) and not is_bodiless
        self.length = 0 if is_bodiless else None if self.chunked else length
        self._raw.is_body = not self.chunked
        if self.chunked:
            self._is_chunked_twice = len(codings) > 1
            self._announced = None if _has(fields, "content-encoding") else length
            kept.append(("Transfer-Encoding", "chunked"))
        elif self.length is not None and not is_bodiless:
            kept.append(("Content-Length", str(self.length)))
        is_odd = self.chunked and (length is not None or self.version == 10)
        has_no_end = not self.chunked and self.length is None
        self.will_close = is_odd or has_no_end or not self._is_kept(fields)
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in kept:
            self.headers[name] = value

    def _is_kept(self, fields: Fields) -> bool:
        """Whether the connection outlives the answer (RFC 9112 section 9.3)."""
        options = {option.lower() for option in _members(fields, "connection")}
        return "close" not in options and (self.version == 11 or "keep-alive" in options)

    def read(self, amt: int | None = None) -> bytes:
        """Read up to `amt` bytes of the body, none at its end. Raises FramingError."""
        if amt is None or amt < 0:
            return b"".join(iter(partial(self.read, PIECE), b""))
        if self._failure is not None:
            raise self._failure
        if self._is_over or not amt:
            return b""
        if self.fp is None:
            raise FramingError("it was closed before its end")
        try:
            return self._read_chunks(amt) if self.chunked else self._read_plain(amt)
        except FramingError as error:
            self._failure = error
            raise

    def readinto(self, b: Any) -> int:
        """Read up to len(b) bytes into b."""
        data = self.read(len(b))
        b[: len(data)] = data
        return len(data)

    def read1(self, n: int = -1) -> bytes:
        """Read up to n bytes, as `read` does."""
        return self.read(n if n >= 0 else PIECE)

    def _read_plain(self, size: int) -> bytes:
        wanted = size if self.length is None else min(size, self.length)
        data: bytes = self.fp.read(wanted)
        self._received += len(data)
        if self.length is not None:
            if not data:
                raise FramingError(f"it broke off, {plural(self.length, 'byte')} before its end")
            self.length -= len(data)
            if not self.length:
                self._end()
        elif not data:
            if not self._received:
                raise FramingError("it ended before it began, and says no length")
            self._end()
        return data

    def _read_chunks(self, size: int) -> bytes:
        pieces: list[bytes] = []
        is_first = not self._received
        while size > 0 and not self._is_over:
            try:
                data = self._read_chunk(size)
            except FramingError as error:
                if not pieces:
                    raise
                self._failure = error
                break
            if data:
                pieces.append(data)
                size -= len(data)
        found = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        if is_first and self._is_chunked_twice and _CHUNK_LINE.match(found):
            raise FramingError("its transfer coding is chunked twice")
        return found

    def _read_chunk(self, size: int) -> bytes:
        """Read of one chunk; nothing where there is none left (RFC 9112 section 7.1)."""
        waited = self._raw.pace.waited
        if not self._left:
            self._left = self._chunk_size()
            if not self._left:
                self._end_chunks()
                return b""
        data: bytes = self.fp.read(min(size, self._left))
        if not data:
            raise FramingError("it broke off within a chunk")
        self._left -= len(data)
        self._received += len(data)
        self._raw.forgive_blanks(data, waited)
        if not self._left and self.fp.read(2) != b"\r\n":
            self._failure = FramingError("it broke off at the end of a chunk, or in a longer one")
        return data

    def _chunk_size(self) -> int:
        if self._failure is not None:
            raise self._failure
        line = self.fp.readline(LONGEST_CHUNK_LINE)
        match = _CHUNK_LINE.fullmatch(line)
        if not match:
            raise FramingError("a chunk does not begin with its size" if line else "it broke off")
        return int(match[1], 16)

    def _end_chunks(self) -> None:
        """Skip trailers. The last chunk is the end, though servers may close right after."""
        if self.fp.peek(1):
            _read_fields(_Lines(self.fp))
        if self._announced not in (None, self._received):
            raise FramingError(
                f"it has {plural(self._received, 'byte')}, and says {self._announced}"
            )
        self._end()

    def _end(self) -> None:
        """Note that all came. Raises FramingError if more of the body than its length says came."""
        self._is_over = True
        self._raw.is_paused = True
        rest = self.fp.peek(_AFTER)
        self._is_clean = not (self.will_close or rest or self._pending())
        fp, self.fp = self.fp, None
        fp.close()
        is_success = 200 <= self.status < 300 and self.status not in _BODILESS
        if is_success and not self.chunked and self._method != "HEAD" and not _may_follow(rest):
            raise FramingError("it goes on after the end that its Content-Length says")


def _may_follow(rest: bytes) -> bool:
    """Return True if bytes behind a body do not look like more of it: an answer, white space."""
    rest = rest.lstrip(b" \t\r\n")
    return rest[: len(_ANSWER)] == _ANSWER[: len(rest)]


class _Incoming(io.RawIOBase):
    """Bytes of a socket, no slower than they may be; it can be told to wait for no more of them.

    White space is what servers send to keep a connection open while they work, as Amazon S3 does.
    """

    def __init__(self, raw: Any, pace: Pace) -> None:
        self._raw = raw
        self.pace = pace
        self.is_paused = False
        self.is_body = False  # without a head, or lines of chunks, between
        self._blanks = MOST_BLANKS

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def readinto(self, buffer: Any) -> int | None:
        if self.is_paused:
            return None
        waited = self.pace.waited
        size = self.pace.move(self._raw.readinto, buffer)
        if size and self.pace.is_watched and self.is_body:
            self.forgive_blanks(bytes(buffer[:size]), waited)
        return size

    def forgive_blanks(self, data: bytes, waited: float) -> None:
        """Do not count the time after `waited` if data that came then is nothing but a sign."""
        if self.pace.is_watched and self._blanks and data.isspace():
            self._blanks -= 1
            self.pace.waited = min(waited, self.pace.waited)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Lines:
    """The lines of a head, or of trailers; no more of them, and no longer, than is sensible."""

    def __init__(self, fp: io.BufferedReader) -> None:
        self._fp = fp
        self._bytes = LONGEST_HEAD
        self._lines = MOST_LINES

    def next(self) -> bytes:
        """Read a line, without its end; a bare LF will do (RFC 9112 section 2.2)."""
        line = self._fp.readline(self._bytes + 1)
        self._bytes -= len(line)
        self._lines -= 1
        if self._bytes < 0 or self._lines < 0:
            raise FramingError("its header fields are too long, or too many")
        if not line.endswith(b"\n"):
            raise FramingError("it broke off within its header fields")
        line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if b"\r" in line or b"\0" in line:
            raise FramingError("its header fields have characters that are not allowed")
        return line


def _read_fields(lines: _Lines) -> Fields:
    """Read header fields and the empty line after them (RFC 9112 section 5)."""
    fields: Fields = []
    while line := lines.next():
        if line[:1] in (b" ", b"\t"):  # folded, which is obsolete
            if not fields:
                raise FramingError("its header fields begin with white space")
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {_text(line)}".strip())
            continue
        field, colon, rest = line.partition(b":")
        field = field.rstrip(b" \t")
        if not colon or not _TOKEN.fullmatch(field):
            raise FramingError("it has a line that is not a header field")
        fields.append((field.decode("ascii"), _text(rest)))
    return fields


def _text(value: bytes) -> str:
    return value.strip(b" \t").decode("latin-1")


_FRAMING_FIELDS = ("content-length", "transfer-encoding")


def _values(fields: Fields, name: str) -> Iterable[str]:
    return (value for field, value in fields if field.lower() == name)


def _has(fields: Fields, name: str) -> bool:
    return any(True for _ in _values(fields, name))


def _members(fields: Fields, name: str) -> list[str]:
    """Return the members of a list, from all fields of the name (RFC 9110 section 5.6.1)."""
    return [one.strip(" \t") for value in _values(fields, name) for one in value.split(",")]


def _content_length(fields: Fields) -> int | None:
    """Read Content-Length; several times the same is one (RFC 9112 section 6.3)."""
    told = _members(fields, "content-length")
    if not told:
        return None
    if not all(re.fullmatch("[0-9]+", one) for one in told):
        raise FramingError("its Content-Length is not a number")
    numbers = {one.lstrip("0") or "0" for one in told}
    if len(numbers) > 1:
        raise FramingError("it has several lengths")
    number = numbers.pop()
    if len(number) > _MOST_DIGITS:
        raise FramingError("its Content-Length is larger than anything can be")
    return int(number)


def _transfer_codings(fields: Fields) -> list[str]:
    """Read Transfer-Encoding: how often the body is chunked, as nothing else was asked for.

    `identity` stands for no coding at all (RFC 2616 section 3.6).
    """
    if not _has(fields, "transfer-encoding"):
        return []
    told = [one.lower() for one in _members(fields, "transfer-encoding") if one]
    codings = [one for one in told if one != "identity"]
    if not told or any(one != "chunked" for one in codings):
        raise FramingError("its transfer coding is not understood")
    return codings
