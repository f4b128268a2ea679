"""What every authentication is to the requests of a client."""

from __future__ import annotations

from requests import PreparedRequest
from requests.auth import AuthBase


class Authentication(AuthBase):
    """No authentication, and the base class of all. It keeps requests from reading ~/.netrc.

    One object serves all threads of a client. It is asked for requests to the origin of BASE_URL
    alone.
    """

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
