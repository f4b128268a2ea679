"""An answer to a request: its status, its header fields, and its body as a stream."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from dcmweb.errors import (
    DcmwebError,
    IncompletePayload,
    Interrupted,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Truncated,
)
from dcmweb.http import content_coding, media_types
from dcmweb.http.exchange_log import named
from dcmweb.http.media_types import MediaType
from dcmweb.http.multipart import Part, read_parts
from dcmweb.http.redaction import Redaction, without_query
from dcmweb.http.server_words import looks_like_html

LONGEST_ANSWER = 512 * 1024 * 1024  # of answers that are held in memory: JSON, XML, errors
# Bytes of an answer that is held in memory and that were compressed, or so many times what came.
LONGEST_INFLATED = 16 * 1024 * 1024
MOST_INFLATION = 100
LONGEST_PROBLEM = 64 * 1024
_EPILOGUE = 64 * 1024
# In the 400 with which Orthanc 1.10 answers a search at the root of its own API.
_ORTHANC_API = 'Missing "since" argument'
# The address of a search, where that of a resource was given as the root.
_BELOW_RESOURCE = r"/(studies|series|instances)(/[0-9.]+)?/studies$"

# Success whose answer has no content (RFC 9110 sections 15.3.5 and 15.3.6): nothing was found.
NO_CONTENT = (204, 205)
PARTIAL_CONTENT = 206


def is_success(status: int) -> bool:
    """Whether a status means success; what it is success of is in the body."""
    return 200 <= status < 300


class Exchanges(Protocol):
    """Whom an answer belongs to: a run's exchanges, which may be cut."""

    @property
    def is_cut(self) -> bool:
        """Whether the exchanges have been ended."""

    def note_data(self) -> None:
        """Take note that something has come."""

    @property
    def largest_read(self) -> int | None:
        """The most bytes to read at a time; None if the rate is not limited."""

    def note_received(self, size: int) -> None:
        """Take note of bytes that were read; waits where their rate is limited."""

    def note_error(self, body: bytes) -> None:
        """Take note of the body of an error."""

    def advice(self, status: int) -> str:
        """Return what is known to help after an error status; "" if nothing is."""

    @property
    def redaction(self) -> Redaction:
        """What hides secrets and patient data."""

    @property
    def carries(self) -> str:
        """What the user gave beside an Authorization field, such as `--header`."""

    def translate(self, error: Exception, url: str) -> DcmwebError:
        """Make one of our errors from an exception that was raised while the URL was read."""

    def refusal(
        self, status: int, headers: Mapping[str, str], body: bytes, url: str
    ) -> DcmwebError | None:
        """Make the error of an answer that is not about the resource; None for another answer."""

    def doubt(self, error: DcmwebError, status: int, url: str) -> None:
        """Add to the error of an answer that a proxy on the way may have made it."""


class Response:
    """An answer whose body is read as a stream; closing it early gives up its connection."""

    def __init__(
        self,
        answer: requests.Response,
        request: requests.PreparedRequest,
        exchanges: Exchanges,
        advice: str = "",
    ) -> None:
        """Take an answer; `advice` is what to do if the credentials of its request are wrong."""
        self._advice = advice
        self._answer = answer
        self._exchanges = exchanges
        self.request = request
        self.status: int = answer.status_code
        self.headers: CaseInsensitiveDict[str] = answer.headers
        self.url = without_query(answer.url)  # for messages: a query may name a patient
        self._decoded: Callable[[int], bytes] | None = None
        self._failure: DcmwebError | None = None
        self._is_over = self._is_closed = False
        self._received = 0  # bytes, as they came

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, DcmwebError):
            error.attempted = named(str(self.request.method), str(self.request.url))
            # Servers repeat what they were asked for.
            self._exchanges.redaction.redact(error, str(self.request.url))

    @property
    def media_type(self) -> MediaType:
        """The media type of the body."""
        return media_types.parse(self.headers.get("Content-Type", ""))

    @property
    def has_framing(self) -> bool:
        """Whether HTTP says where the body ends, other than by closing the connection."""
        return "Transfer-Encoding" in self.headers or "Content-Length" in self.headers

    @property
    def has_end(self) -> bool:
        """Whether the end of the body shows that all of it came."""
        return self.has_framing or self._is_encoded

    @property
    def is_nothing(self) -> bool:
        """Whether the status says that there is nothing."""
        return self.status in NO_CONTENT

    @property
    def is_partial(self) -> bool:
        """Whether the status says that something is missing."""
        return self.status == PARTIAL_CONTENT

    @property
    def _is_encoded(self) -> bool:
        return self.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")

    @property
    def size(self) -> int | None:
        """The bytes of the body, as HTTP announces them; None if it does not, or compressed."""
        told = self.headers.get("Content-Length")
        return int(told) if told and not self._is_encoded else None

    def read(self, size: int) -> bytes:
        """Read up to this many bytes of the body; none at its end.

        Raises an error of ours where it breaks off, and again whenever it is read after that.
        """
        if self._failure is None and self._is_closed and not self._is_over:
            self._failure = Truncated("the answer was closed before its end")
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            return b""
        try:
            data = self._read(size)
            if not data and size and not self.has_framing and self._exchanges.is_cut:
                raise Interrupted  # then the connection was cut, and the body is not complete
        except DcmwebError as error:
            self._failure = error
            raise
        self._is_over = self._is_over or not (data or not size)
        return data

    def _read(self, size: int) -> bytes:
        if self._decoded is None:
            coding = self.headers.get("Content-Encoding", "")
            self._decoded = content_coding.decoded(self._read_encoded, coding)
        return self._decoded(size)

    def _read_encoded(self, size: int) -> bytes:
        largest = self._exchanges.largest_read
        if largest is None:
            return self._read_raw(size)
        pieces = []
        while size and (piece := self._read_raw(min(size, largest))):
            self._exchanges.note_received(len(piece))
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _read_raw(self, size: int) -> bytes:
        try:
            data: bytes = self._answer.raw.read(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two: what reading from a connection cut by another thread can raise.
            raise self._exchanges.translate(error, str(self.request.url)) from error
        self._received += len(data)
        self._exchanges.note_data()
        return data

    def parts(self) -> Iterator[Part]:
        """Yield the parts of a multipart body, as `read_parts` does."""
        boundary = self.media_type.parameters.get("boundary", "")
        return read_parts(self.read, boundary, is_whole=self.has_end)

    def held_parts(self) -> Iterator[Part]:
        """Yield the parts of a multipart body that is held in memory, with the limits of `content`.

        For parts that are used as a whole, and all of them at once.
        """
        boundary = self.media_type.parameters.get("boundary", "")
        file = io.BytesIO(self.content())
        return read_parts(file.read, boundary, is_whole=self.has_end)

    def content(self, limit: int = LONGEST_ANSWER) -> bytes:
        """Read the whole body into memory. Raises ProtocolError when there is no end to it.

        A compressed body may not grow far beyond what came: 100 KB can inflate to 100 MB of rows.
        """
        pieces: list[bytes] = []
        size = 0
        while piece := self.read(256 * 1024):
            pieces.append(piece)
            size += len(piece)
            most = max(LONGEST_INFLATED, MOST_INFLATION * self._received)
            if size > min(limit, most if self._is_encoded else limit):
                raise ProtocolError(f"the answer of {self.url} is too large", "narrow the search")
        found = b"".join(pieces)
        if refusal := self._refusal(found):
            raise refusal
        return found

    def _refusal(self, body: bytes) -> DcmwebError | None:
        if is_success(self.status):
            return None
        url = str(self._answer.request.url)
        return self._exchanges.refusal(self.status, self.headers, body, url)

    def finish(self) -> None:
        """Read a little past what was wanted, so that the connection can be used again."""
        try:
            self.read(_EPILOGUE)
        except (NetworkError, ProtocolError):
            self.close()

    def problem(self) -> DcmwebError:
        """Make the error that this answer is, with the server's own words."""
        try:
            body = self.read(LONGEST_PROBLEM)
        except (NetworkError, ProtocolError):
            body = b""
        self._exchanges.note_error(body)
        from dcmweb.http.error_mapping import from_status  # only what fails needs its words

        error = self._refusal(body) or from_status(
            self.status,
            self.headers,
            body,
            method=str(self.request.method),
            sent=self._sent_credentials(),
            accept=str(self.request.headers.get("Accept") or ""),
            advice=self._advice,
            hide=self.hide,
        )
        error.hint = self._exchanges.advice(self.status) or error.hint
        self._exchanges.doubt(error, self.status, str(self._answer.request.url))
        error.request = f"{self.request.method} {self.url}"
        error.may_be_wrong_root = self.request.method != "DELETE" and (
            self.status in (404, 405)
            or _ORTHANC_API in error.message
            or re.search(_BELOW_RESOURCE, self.url) is not None
        )
        return self._exchanges.redaction.redact(error, str(self.request.url))

    def _sent_credentials(self) -> str:
        """Return the Authorization field of the request, or what was sent in its place."""
        sent: Any = self._answer.request.headers.get("Authorization") or self._exchanges.carries
        return sent.decode("latin-1") if isinstance(sent, bytes) else str(sent)

    def hide(self, text: str) -> str:
        """Return a text of this answer without secrets and patient data that it repeats."""
        return self._exchanges.redaction.hide(text, str(self.request.url))

    def check(self, *good: int) -> None:
        """Raise the error this answer is, unless its status is success or one of the good ones."""
        if not is_success(self.status) and self.status not in good:
            raise self.problem()

    def check_content(self, *, may_be_partial: bool = False) -> None:
        """Raise an error unless this is success with content: all there is, or maybe less."""
        self.check()
        if self.is_nothing:
            raise NothingMatched(f"answered {self.status}: the server has nothing of it")
        if self.is_partial and not may_be_partial:
            raise IncompletePayload("the server says that it sent only a part of it (206)")

    def close(self) -> None:
        """Give the connection back, or up if there is still something to be read."""
        self._is_closed = True
        self._decoded = None  # it knows this response: together they would keep the bytes sent
        raw = self._answer.raw
        if raw.isclosed():
            raw.release_conn()
        else:
            raw.close()


def not_dicomweb(response: Response, body: bytes) -> ProtocolError:
    """Make the error for an answer that is something else than DICOMweb, a login page perhaps."""
    if looks_like_html(body) or response.media_type.name == "text/html":
        error = ProtocolError(
            f"{response.url} answers with a web page, not with DICOMweb",
            "is BASE_URL the root of the DICOMweb service, or does it want a login first?",
        )
    else:
        name = response.media_type.name or "no media type"
        error = ProtocolError(
            f"{response.url} does not answer with DICOMweb ({name})",
            "is BASE_URL the root of the DICOMweb service?",
        )
    error.may_be_wrong_root = response.request.method != "DELETE"
    return error
