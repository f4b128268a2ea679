"""Google's Application Default Credentials, and files of credentials for Google."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timezone
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest

from dcmweb.errors import AuthError, DcmwebError, LocalError, NetworkError, ProtocolError
from dcmweb.http.auth.base import Send
from dcmweb.http.auth.bearer import BearerAuth
from dcmweb.http.auth.token_server import is_loopback
from dcmweb.http.auth.token_session import TokenSession
from dcmweb.http.auth.tokens import RenewingToken, Token
from dcmweb.settings import Settings
from dcmweb.user_text import read_text

GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN = (
    "run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, "
    "or give --service-account FILE"
)
_METADATA_VARIABLES = ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP")
_METADATA_HOSTS = ("metadata.google.internal", "169.254.169.254")
_METADATA_TIMEOUT = 2.0  # seconds; where there is such a server, it answers at once
_PRODUCT = Path("/sys/class/dmi/id/product_name")  # of a virtual machine
_NONE = "Your default credentials were not found"  # as google-auth has it, with an address
_LONGEST_REASON = 300

_T = TypeVar("_T")


class GoogleAuth(BearerAuth):
    """Credentials for Google, found when they are first needed."""

    advice = "Google's token is refused: does BASE_URL lead to Google?"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._warning = _warning(settings.base_url)

    def connect(self, send: Send) -> None:
        """Take the way to reach Google's token server, and others that vouch for an identity."""
        given = self._settings.credentials
        self._source = GoogleCredentials(
            send, given.service_account, given.quota_project, given.scopes or (GOOGLE_SCOPE,)
        )
        self.token = RenewingToken(self._source)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header, and that of the quota project."""
        token = self.token.current()
        self._source.found.apply(request.headers, token=token.value)
        return request

    def take_notes(self) -> Sequence[str]:
        """Return what a user should know of the credentials, once."""
        notes = [self._warning] if self._warning else []
        self._warning = ""
        return [*notes, *super().take_notes()]


class GoogleCredentials:
    """Finds credentials, and has google-auth get tokens for them; by one thread at a time."""

    is_free = False

    def __init__(self, send: Send, file: str, quota_project: str, scopes: Sequence[str]) -> None:
        self.found: Any = None
        self._file = file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        self._quota_project = quota_project or None
        self._scopes = list(scopes)
        self._session = _Session(send)

    @property
    def identity(self) -> str:
        """Whose credentials were found, as far as they say."""
        if self.found is None:
            return "Google credentials"
        email = getattr(self.found, "service_account_email", "")
        return (
            f"Google's service account {email}" if "@" in email else "the owner of a Google login"
        )

    def fetch(self) -> Token:
        """Get a token. Raises AuthError if there are no credentials, or Google refuses them."""
        from google.auth.transport.requests import Request

        # It has of a session what google-auth calls.
        request = Request(cast(requests.Session, self._session))
        if self.found is None:
            self.found = self._find(request)
            has_token = self.found.valid  # google-auth needs one to look for the project
        else:
            has_token = False
        found = self.found
        if not has_token:
            self._translating(lambda: _refresh(found, request), self._login_hint())
        expiry = found.expiry
        return Token(
            str(found.token), expiry.replace(tzinfo=timezone.utc).timestamp() if expiry else None
        )

    def _find(self, request: Any) -> Any:
        """Load the file that was given, or look for credentials as all tools of Google do."""
        import google.auth

        options = {
            "scopes": self._scopes,
            "quota_project_id": self._quota_project,
            "request": request,
        }
        load: Any = google.auth.load_credentials_from_dict
        with warnings.catch_warnings():
            # Of a quota project that is missing, and that files can lead to other servers.
            warnings.simplefilter("ignore")
            if not self._file:
                return self._translating(lambda: google.auth.default(**options)[0], _LOGIN)
            content = self._read()
            return self._translating(
                lambda: load(content, **options)[0],
                f"{self._file} must hold credentials of Google as JSON, such as a key of a "
                "service account",
            )

    def _read(self) -> Mapping[str, Any]:
        try:
            content = json.loads(read_text(self._file))
        except LocalError as error:
            raise AuthError(f"no usable Google credentials: {error.message}", error.hint) from None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise AuthError(
                f"no usable Google credentials: {self._file} is not a JSON object",
                "give a key file of a service account, or one that gcloud has written",
            )
        return content

    def _translating(self, action: Callable[[], _T], hint: str) -> _T:
        return translating(action, hint, self._session.hide)

    def _login_hint(self) -> str:
        """Return what to do when Google refuses the credentials."""
        if hasattr(self.found, "service_account_email"):
            return (
                "is the key or the account deleted or disabled, or the clock of this machine off?"
            )
        return "log in again with `gcloud auth application-default login`"


class _Session(TokenSession):
    """The session for google-auth, that gives up early where there is no metadata server.

    google-auth would try three times for some seconds, which is too long for a laptop.
    """

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request as `TokenSession` does."""
        if not _is_search(url):
            return super().request(method, url, **options)
        try:
            return super().request(method, url, **{**options, "timeout": _METADATA_TIMEOUT})
        except (requests.RequestException, OSError):
            from google.auth.exceptions import DefaultCredentialsError

            # Not as an error of the connection, after which it would try again.
            raise DefaultCredentialsError(  # type: ignore[no-untyped-call]
                "there are none on this machine, and it is not one of Google's"
            ) from None


def _is_search(url: str) -> bool:
    """Return True for a metadata server that is asked on a machine that is not known to have one.

    Its name or address can be given in variables.
    """
    is_given = any(os.environ.get(name) for name in _METADATA_VARIABLES)
    if is_given or urlsplit(url).hostname not in _METADATA_HOSTS:
        return False
    try:
        return not _PRODUCT.read_text().startswith("Google")
    except OSError:
        return True


def _refresh(found: Any, request: Any) -> None:
    """Refresh credentials; translate what google-auth raises for an answer that is not JSON."""
    from google.auth.exceptions import GoogleAuthError

    try:
        found.refresh(request)
    except GoogleAuthError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ProtocolError(
            "Google's token server answered with no token", "does a proxy or a login page answer?"
        ) from None


def translating(action: Callable[[], _T], hint: str, hide: Callable[[str], str]) -> _T:
    """Do something that google-auth may raise errors in, and translate them.

    `hide` takes secrets out of what a server said.
    """
    from google.auth import exceptions

    failed: DcmwebError
    try:
        return action()
    except exceptions.DefaultCredentialsError as error:
        failed = AuthError(f"no usable Google credentials: {_reason(error, hide)}", hint)
    except exceptions.GoogleAuthError as error:
        if isinstance(error, exceptions.TransportError) or error.retryable:
            failed = NetworkError(
                f"Google's token server cannot be reached: {_reason(error, hide)}"
            )
            failed.fatal = True  # no other item of the run has a token either
        else:
            failed = AuthError(f"Google refuses the credentials: {_reason(error, hide)}", hint)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        # What google-auth raises for a file with other content than it expects.
        failed = AuthError(f"no usable Google credentials: {type(error).__name__}", hint)
    raise failed


def _reason(error: Exception, hide: Callable[[str], str]) -> str:
    text = hide(str(error.args[0])) if error.args else ""
    if text.startswith(_NONE):
        return "none were found"
    return text.strip().partition("\n")[0][:_LONGEST_REASON] or "no reason given"


def _warning(base_url: str) -> str:
    """Return the warning that Google's token can be read on the way, if it can."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return ""
    return f"Please note: Google credentials go to {parts.netloc} without encryption (http://)"
