"""Authentication: what is added to requests, and what can be renewed when it is turned down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from dcmweb.errors import AuthError, NetworkError, UsageError
from dcmweb.settings import AuthScheme, Credentials

PASSWORD_VARIABLE = "DCMWEB_PASSWORD"  # noqa: S105 - names of variables, not secrets
TOKEN_VARIABLE = "DCMWEB_TOKEN"  # noqa: S105
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Authentication(AuthBase):
    """None at all: the base of all others. That it is set keeps requests away from ~/.netrc."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Leave the request as it is."""
        return request

    def renew(self, turned_down: PreparedRequest) -> bool:  # noqa: ARG002
        """After a 401: get other credentials than those turned down; False if there are none."""
        return False


class BasicAuth(Authentication):
    """User name and password (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._apply = HTTPBasicAuth(user.encode(), password.encode())

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        self._apply(request)
        return request


class BearerAuth(Authentication):
    """A bearer token (RFC 6750), read anew when the server turns it down: it may be short-lived."""

    def __init__(self, read_token: Callable[[], str]) -> None:
        self._read_token = read_token
        self._token = read_token()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self, turned_down: PreparedRequest) -> bool:
        """Read the token again."""
        self._token = self._read_token()
        return turned_down.headers.get("Authorization") != f"Bearer {self._token}"


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

    def renew(self, turned_down: PreparedRequest) -> bool:
        """Refresh, unless another thread has already."""
        with self._lock:
            current = f"Bearer {self._credentials.token}"
            if turned_down.headers.get("Authorization") == current:
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
    """Tell whether a URL leads to Google over https."""
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


def _token_source(given: Credentials) -> Callable[[], str]:
    if given.token_file:
        return lambda: _read_token(given.token_file)
    if given.token:
        return lambda: _checked(given.token, "token")
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise UsageError(
            "--auth bearer needs a token", f"give --token-file or set {TOKEN_VARIABLE}"
        )
    return lambda: _checked(token, TOKEN_VARIABLE)


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise AuthError(f"cannot read the token file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    return _checked(token, path)


def _checked(token: str, origin: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise AuthError(f"{origin} does not hold a token", "it must be one line of plain text")
    return token
