"""Authentication: what is added to requests, and what can be renewed after a refusal."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from dcmweb.errors import AuthError, LocalError, NetworkError, UsageError
from dcmweb.settings import AuthScheme, Credentials
from dcmweb.user_text import read_text

PASSWORD_VARIABLE = "DCMWEB_PASSWORD"  # noqa: S105 - names of variables, not secrets
TOKEN_VARIABLE = "DCMWEB_TOKEN"  # noqa: S105
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

# What people copy along with a token, as from a header field.
_BEFORE_TOKEN = re.compile(r"(Authorization:\s*)?(Bearer\s+)?", re.IGNORECASE)


class Authentication(AuthBase):
    """No authentication, and the base class of all. It keeps requests from reading ~/.netrc."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Leave the request as it is."""
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:  # noqa: ARG002
        """Get other credentials than those of a request refused with 401 or 403.

        Return False if there are none.
        """
        return False


class BasicAuth(Authentication):
    """User name and password (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        # Bytes that are not UTF-8, as a script in Latin-1 has them, are sent as they are.
        self._apply = HTTPBasicAuth(
            user.encode("utf-8", "surrogateescape"), password.encode("utf-8", "surrogateescape")
        )

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        self._apply(request)
        return request


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


class GoogleAuth(Authentication):
    """Google Application Default Credentials, found and refreshed when they are first needed."""

    def __init__(self) -> None:
        self._credentials: Any = None
        self._lock = Lock()  # one refresh at a time: google-auth has no lock of its own

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header, and that of the quota project."""
        with self._lock:
            if self._credentials is None:
                self._credentials = _google(_find_google_credentials)
            if not self._credentials.valid:
                self._refresh()
            self._credentials.apply(request.headers)
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Refresh after a 401, unless another thread has already."""
        if status != 401:
            return False
        with self._lock:
            current = f"Bearer {self._credentials.token}"
            if refused.headers.get("Authorization") == current:
                self._refresh()
        return True

    def _refresh(self) -> None:
        from google.auth.transport.requests import Request

        _google(lambda: self._credentials.refresh(Request()))


def _find_google_credentials() -> Any:
    import google.auth

    return google.auth.default(scopes=[GOOGLE_SCOPE])[0]


def _google(action: Callable[[], Any]) -> Any:
    """Translate what google-auth raises."""
    from google.auth import exceptions

    try:
        return action()
    except exceptions.TransportError as error:
        raise NetworkError(f"Google's token server cannot be reached: {error}") from error
    except exceptions.GoogleAuthError as error:
        reason = str(error).partition("\n")[0] or "no reason given"
        raise AuthError(
            f"no usable Google credentials: {reason}",
            "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS",
        ) from error


def is_google(url: str) -> bool:
    """Return True if a URL leads to Google over https."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (
        host == "googleapis.com" or host.endswith(".googleapis.com")
    )


def choose(base_url: str, given: Credentials) -> Authentication:
    """Choose the authentication for a server by what the user gave, and by the host.

    Raises UsageError if something is lacking for the scheme that was asked for.
    """
    match _resolve(base_url, given):
        case AuthScheme.GOOGLE:
            return GoogleAuth()
        case AuthScheme.BASIC:
            return BasicAuth(given.user, _password(given))
        case AuthScheme.BEARER:
            return BearerAuth(_token_source(given))
        case _:
            return Authentication()


def _resolve(base_url: str, given: Credentials) -> AuthScheme:
    if given.scheme is not AuthScheme.AUTO:
        return given.scheme
    if given.user:
        return AuthScheme.BASIC
    if given.token or given.token_file or os.environ.get(TOKEN_VARIABLE):
        return AuthScheme.BEARER
    return AuthScheme.GOOGLE if is_google(base_url) else AuthScheme.NONE


def _password(given: Credentials) -> str:
    if not given.user:
        raise UsageError("--auth basic needs a user name", "give it with --user")
    password = given.password or os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        raise UsageError(
            f"there is no password for user {given.user}",
            f"set {PASSWORD_VARIABLE}, or start dcmweb in a terminal to be asked",
        )
    return password


def read_token(path: str) -> str:
    """Read the token in a file or, without a path, in DCMWEB_TOKEN; "" if there is neither.

    A server that compares tokens reads them as its clients do. Raises AuthError.
    """
    if path:
        return _TokenFile(path).read()
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return _token_in(token, TOKEN_VARIABLE) if token else ""


def _token_source(given: Credentials) -> Callable[[], str]:
    if given.token_file:
        return _TokenFile(given.token_file).read
    if given.token:
        return lambda: _token_in(given.token, "token")
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise UsageError(
            "--auth bearer needs a token", f"give --token-file or set {TOKEN_VARIABLE}"
        )
    return lambda: _token_in(token, TOKEN_VARIABLE)


class _TokenFile:
    """A file with a token. What can be read only once, such as a pipe, is remembered."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._token = ""
        self._is_file = os.path.isfile(path)

    def read(self) -> str:
        """Read the token. Raises AuthError if there is none."""
        if not self._token or self._is_file:
            try:
                self._token = _token_in(read_text(self._path), self._path)
            except LocalError as error:
                said = f"{self._path} does not hold a token: " if error.hint else "no token: "
                raise AuthError(f"{said}{error.message}", error.hint) from None
        return self._token


def _token_in(text: str, origin: str) -> str:
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
