"""Bearer tokens: those that the user gives, and what all schemes with tokens share."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from requests import PreparedRequest

from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.secrets import SecretReader
from dcmweb.http.auth.token_text import read_token
from dcmweb.http.auth.tokens import RenewingToken, Token, TokenSource

_SCHEME = "Bearer "


class BearerAuth(Authentication):
    """A bearer token (RFC 6750) of any source, renewed ahead of its expiry and when refused."""

    def __init__(self, source: TokenSource) -> None:
        self.token = RenewingToken(source)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        request.headers["Authorization"] = _SCHEME + self.token.current().value
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Get another token, unless another thread has."""
        sent = str(refused.headers.get("Authorization") or "")
        return self.token.renew(sent.removeprefix(_SCHEME), status)

    def take_notes(self) -> Sequence[str]:
        """Return what a user should know of the token, once."""
        return self.token.take_notes()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, wherever a server repeats it."""
        token = self.token.known
        return (token.value,) if token else ()

    @property
    def identity(self) -> str:
        """Whose token is sent, in words."""
        return self.token.source.identity

    @property
    def advice(self) -> str:
        """What to do when the server refuses the token."""
        expired_at = self.token.expired_at
        if expired_at is None:
            return "the token is wrong or has expired: get another one"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(expired_at))
        return f"the token expired at {when}: get another one"


class GivenToken:
    """The token that a user gives in a variable, a file or a pipe, or has a command print."""

    def __init__(self, reader: SecretReader) -> None:
        self._reader = reader

    @property
    def identity(self) -> str:
        """Whose token it is: that is only known to those who issued it."""
        return f"the owner of the bearer token of {self._reader.origin}"

    @property
    def is_free(self) -> bool:
        """Whether asking costs next to nothing: no command is run."""
        return not self._reader.secret.command

    def fetch(self) -> Token:
        """Read the token; `expires_in` in a file counts from when the file was written."""
        issued = time.time()
        file = self._reader.secret.file
        if os.path.isfile(file):
            issued = min(issued, os.path.getmtime(file))
        return read_token(self._reader.read(), self._reader.origin, issued)
