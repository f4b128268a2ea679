"""What every authentication is to the requests of a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from requests import PreparedRequest, Request, Response
from requests.auth import AuthBase


class Send(Protocol):
    """Sends a request to another server than that at BASE_URL, such as one that issues tokens."""

    def __call__(self, request: Request, timeouts: tuple[float, float]) -> Response:
        """Send it without redirects, over the proxies and with the trust that the user chose.

        Timeouts are for the connection, and between two bytes. The body is to be read from `raw`.
        """


class Authentication(AuthBase):
    """No authentication, and the base class of all. It keeps requests from reading ~/.netrc.

    One object serves all threads of a client. It is asked for requests to the origin of BASE_URL
    alone, and again for each redirect within it.
    """

    signs_urls = False  # what is sent must be the URL as it was signed, to the letter
    sends_raw_carets = True  # `^` is sent unescaped; the session keeps this true to what it does
    carries = ""  # what the user gave beside an Authorization field, for messages

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, wherever a server repeats it."""
        return ()

    @property
    def is_ready(self) -> bool:
        """Whether this thread can send a body; if not, a challenge has to be asked for first."""
        return True

    @property
    def advice(self) -> str:
        """What to do when the server refuses what was added; "" for what is always advised."""
        return ""

    def connect(self, send: Send) -> None:
        """Take the way to reach other servers. It is called once, before the first request."""

    def take_notes(self) -> Sequence[str]:
        """Return what a user should know of the credentials, each text once."""
        return ()

    @property
    def identity(self) -> str:
        """As whom it lets requests be sent, in words, without secrets."""
        return "nobody: no credentials are sent"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add to a request what authenticates it: header fields, or to its URL.

        Raises AuthError if there is nothing to add, NetworkError if it cannot be got now.
        """
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:  # noqa: ARG002
        """Get other credentials than those of a request refused with 401 or 403.

        Return False if there are none: then the refusal stands.
        """
        return False
