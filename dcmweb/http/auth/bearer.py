"""Bearer tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from requests import PreparedRequest

from dcmweb.errors import AuthError
from dcmweb.http.auth.base import Authentication

# What people copy along with a token, as from a header field.
_BEFORE_TOKEN = re.compile(r"(Authorization:\s*)?(Bearer\s+)?", re.IGNORECASE)


class BearerAuth(Authentication):
    """A bearer token (RFC 6750), read again when the server refuses it: it may be short-lived.

    Gateways of AWS, for one, answer an expired token with 403.
    """

    def __init__(self, read_token: Callable[[], str]) -> None:
        self._read_token = read_token
        self._token = read_token()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Read the token again."""
        try:
            self._token = self._read_token()
        except AuthError:
            if status == 401:
                raise
            return False  # the token may be good, and its owner may not do this
        return refused.headers.get("Authorization") != f"Bearer {self._token}"


def token_in(text: str, origin: str) -> str:
    """Find the token in a text: a token, a header field, or the JSON of a token server.

    Raises AuthError if there is none; `origin` is where the text came from.
    """
    text = text.strip().removeprefix("\ufeff").strip()
    if text[:1] in ("{", '"'):
        text = _token_in_json(text, origin)
    token = _BEFORE_TOKEN.sub("", text, count=1)
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise AuthError(f"{origin} does not hold a token", "it must be one line of plain text")
    return token


def _token_in_json(text: str, origin: str) -> str:
    """Find the token in an answer of a token server (RFC 6749 section 5.1), or of Azure's CLI."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = found.get("access_token") or found.get("accessToken")
    if not isinstance(found, str):
        raise AuthError(f"{origin} holds JSON without an access_token", "give the token alone")
    return found.strip()
