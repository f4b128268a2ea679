"""An answer to a request: its status, its header fields, and its body as a stream."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from dcmweb.errors import DcmwebError, NetworkError, ProtocolError
from dcmweb.http import error_mapping, media_types
from dcmweb.http.media_types import MediaType

LONGEST_ANSWER = 512 * 1024 * 1024  # of answers that are held in memory: JSON, XML, errors
LONGEST_PROBLEM = 64 * 1024
_EPILOGUE = 64 * 1024

# Makes one of our errors from an exception that was raised while the URL was read.
Translate = Callable[[Exception, str], DcmwebError]


class Response:
    """An answer whose body is read as a stream; closing it early gives up its connection."""

    def __init__(
        self, answer: requests.Response, request: requests.PreparedRequest, translate: Translate
    ) -> None:
        self._answer = answer
        self._translate = translate
        self.request = request
        self.status: int = answer.status_code
        self.headers: CaseInsensitiveDict[str] = answer.headers
        self.url: str = answer.url

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def media_type(self) -> MediaType:
        """The media type of the body."""
        return media_types.parse(self.headers.get("Content-Type", ""))

    @property
    def has_framing(self) -> bool:
        """Whether HTTP says where the body ends, other than by closing the connection."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        return chunked or "Content-Length" in self.headers

    @property
    def size(self) -> int | None:
        """The bytes of the body, as HTTP announces them; None if it does not, or compressed."""
        told = self.headers.get("Content-Length", "")
        return int(told) if told.isdigit() and "Content-Encoding" not in self.headers else None

    def read(self, size: int) -> bytes:
        """Read up to this many bytes of the body; none at its end."""
        try:
            is_encoded = "Content-Encoding" in self.headers  # what is not saves a copy
            data: bytes = self._answer.raw.read(size, decode_content=is_encoded)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two: what reading from a connection cut by another thread can raise.
            raise self._translate(error, self.url) from error
        return data

    def content(self, limit: int = LONGEST_ANSWER) -> bytes:
        """Read the whole body into memory. Raises ProtocolError when there is no end to it."""
        pieces: list[bytes] = []
        size = 0
        while piece := self.read(256 * 1024):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise ProtocolError(f"the answer of {self.url} is too large", "narrow the search")
        return b"".join(pieces)

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
        error = error_mapping.from_status(self.status, self.headers, body)
        # Without the query: there may be a patient's name in it.
        error.request = f"{self.request.method} {self.url.partition('?')[0]}"
        return error

    def check(self, *good: int) -> None:
        """Raise the error this answer is, unless its status is one of the good ones."""
        if self.status not in (good or range(200, 300)):
            raise self.problem()

    def close(self) -> None:
        """Give the connection back, or up if there is still something to be read."""
        self._answer.close()


def not_dicomweb(response: Response, body: bytes) -> ProtocolError:
    """Make the error for an answer that is something else than DICOMweb, a login page perhaps."""
    if error_mapping.looks_like_html(body) or response.media_type.name == "text/html":
        return ProtocolError(
            f"{response.url} answers with a web page, not with DICOMweb",
            "is BASE_URL the root of the DICOMweb service, or does it want a login first?",
        )
    name = response.media_type.name or "no media type"
    return ProtocolError(
        f"{response.url} does not answer with DICOMweb ({name})",
        "is BASE_URL the root of the DICOMweb service?",
    )
