"""Google's Application Default Credentials."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest

from dcmweb.errors import AuthError, NetworkError
from dcmweb.http.auth.base import Authentication

GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


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
