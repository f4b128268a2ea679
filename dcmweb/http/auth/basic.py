"""User name and password."""

from __future__ import annotations

from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from dcmweb.http.auth.base import Authentication


class BasicAuth(Authentication):
    """User name and password (RFC 7617)."""

    advice = "the user name or the password is wrong: check --user and the password"

    def __init__(self, user: str, password: str) -> None:
        # Bytes that are not UTF-8, as a script in Latin-1 has them, are sent as they are.
        self._user = user
        self._apply = HTTPBasicAuth(
            user.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape")
        )
        self._password = password

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password."""
        return (self._password,)

    @property
    def identity(self) -> str:
        """The user."""
        return f"user {self._user}"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        self._apply(request)
        return request
