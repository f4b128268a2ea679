"""Requests that find out about a server: timed, tried twice at most, and never long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dcmweb.errors import DcmwebError, NetworkError
from dcmweb.http.response import Response
from dcmweb.transactions.context import RunContext

LONGEST = 30.0  # seconds for an answer to begin
MOST_BYTES = 16 * 1024 * 1024  # of an answer that is read
MOST_SECONDS = 3.0  # for which it is read


@dataclass
class Tried:
    """What came of one request: an answer with the start of its body, or an error."""

    status: int = 0
    seconds: float = 0.0  # until the head of the answer came
    media_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0  # bytes of the body that were read
    reading: float = 0.0  # seconds in which they were read
    error: DcmwebError | None = None

    @property
    def is_good(self) -> bool:
        """Whether the answer is success."""
        return self.error is None

    @property
    def why(self) -> str:
        """Why it is not, in a few words."""
        return self.error.message if self.error else ""


def get(context: RunContext, path: str, accept: str, *, held: int = 1024 * 1024) -> Tried:
    """Get a resource; hold the first `held` bytes of it, and count the others."""
    return _tried(context, lambda: _exchange(context, "GET", path, accept), held)


def options(context: RunContext, path: str) -> Tried:
    """Ask what can be done with a resource (RFC 9110 section 9.3.7)."""
    return _tried(context, lambda: _exchange(context, "OPTIONS", path, "*/*"), 64 * 1024)


def _exchange(context: RunContext, method: str, path: str, accept: str) -> Response:
    url = context.session.url(path)
    return context.session.probe(url, accept=accept, method=method, longest=LONGEST)


def _tried(context: RunContext, send: Callable[[], Response], held: int) -> Tried:
    """Send a request, once more if the connection broke: servers close those that are idle."""
    for is_last in (False, True):
        context.stop.check()
        tried = _once(send, held)
        if is_last or not isinstance(tried.error, NetworkError) or tried.error.fatal:
            break
    return tried


def _once(send: Callable[[], Response], held: int) -> Tried:
    tried = Tried()
    began = time.monotonic()
    try:
        with send() as response:
            tried.seconds = time.monotonic() - began
            tried.status = response.status
            tried.media_type = response.media_type.name
            tried.headers = {name.lower(): value for name, value in response.headers.items()}
            response.check()
            _read(response, tried, held)
    except DcmwebError as error:
        tried.error = error
    return tried


def _read(response: Response, tried: Tried, held: int) -> None:
    began = time.monotonic()
    pieces: list[bytes] = []
    while tried.size < MOST_BYTES and tried.reading < MOST_SECONDS:
        if not (piece := response.read(256 * 1024)):
            break
        if tried.size < held:
            pieces.append(piece)
        tried.size += len(piece)
        tried.reading = time.monotonic() - began
    tried.body = b"".join(pieces)
