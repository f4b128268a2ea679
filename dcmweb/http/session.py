"""One pooled session to one server: addresses, headers, credentials, timeouts, errors."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from requests_toolbelt.utils.user_agent import UserAgentBuilder

from dcmweb import __version__
from dcmweb.errors import DcmwebError, Interrupted, NetworkError, ProtocolError, UsageError
from dcmweb.http import auth, error_mapping, exchange_log, media_types
from dcmweb.http.adapter import Adapter
from dcmweb.http.media_types import MediaType
from dcmweb.http.multipart import Body
from dcmweb.settings import Settings

LONGEST_ANSWER = 512 * 1024 * 1024  # of answers that are held in memory: JSON, XML, errors
LONGEST_PROBLEM = 64 * 1024
_EPILOGUE = 64 * 1024


class _Http(requests.Session):
    """A requests session whose redirects carry credentials neither along nor from ~/.netrc."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop the credentials of a request that is redirected to another host."""
        if _origin(str(response.request.url)) != _origin(str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)


class Session:
    """HTTP exchanges with the server at BASE_URL; safe to be used by many threads.

    Credentials go to the origin of BASE_URL and nowhere else.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._auth = auth.choose(settings.base_url, settings.credentials)
        self._adapter = Adapter(settings.workers + 1, settings.idle_timeout)
        self._http = _Http()
        self._http.mount("http://", self._adapter)
        self._http.mount("https://", self._adapter)
        self._http.headers["User-Agent"] = (
            UserAgentBuilder("dcmweb", __version__).include_implementation().build()
        )
        # None lets the environment name a bundle, as it does for curl.
        self._verify = False if settings.insecure else settings.ca_bundle or None
        self.is_cut = False
        if settings.ca_bundle:
            _check_bundle(settings.ca_bundle)
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def is_own(self, url: str) -> bool:
        """Whether a URL is on the server at BASE_URL."""
        return _origin(url) == _origin(self._settings.base_url)

    def url(self, path: str) -> str:
        """Return the URL of a path below BASE_URL; a URL stays what it is."""
        return path if "://" in path else f"{self._settings.base_url}/{path}"

    @property
    def sends_raw_carets(self) -> bool:
        """Whether `^` is sent as it is; servers exist that want the one, others the other."""
        return self._adapter.raw_carets

    @sends_raw_carets.setter
    def sends_raw_carets(self, value: bool) -> None:
        self._adapter.raw_carets = value

    def get(self, path: str, *, accept: str, bulk: bool = False) -> Response:
        """Get a resource. Bulk data is asked for uncompressed: it compresses slowly and badly."""
        headers = {"Accept": accept}
        if bulk:
            headers["Accept-Encoding"] = "identity"
        return self._exchange("GET", path, headers)

    def post(
        self, path: str, body: Body, *, accept: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Post a body, its length along with it, and further header fields."""
        headers = {**(headers or {}), "Accept": accept, "Content-Type": body.content_type}
        return self._exchange("POST", path, headers, body)

    def delete(self, path: str, *, accept: str) -> Response:
        """Delete a resource."""
        return self._exchange("DELETE", path, {"Accept": accept})

    def cut(self) -> None:
        """End everything in flight, in whatever thread, and let nothing begin."""
        self.is_cut = True
        self._adapter.cut()

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Response:
        """Send a request, once more with renewed credentials if these were turned down."""
        response = self._send(method, path, headers, body)
        if response.status == 401 and self._auth.renew(response.request):
            response.close()
            response = self._send(method, path, headers, body)
        return response

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: Body | None
    ) -> Response:
        if self.is_cut:
            raise Interrupted
        url = self.url(path)
        request = requests.Request(
            method,
            url,
            headers=dict(headers),
            data=body,
            auth=self._auth if self.is_own(url) else auth.Authentication(),
        )
        timeouts = (self._settings.connect_timeout, self._settings.idle_timeout)
        began = time.monotonic()
        try:
            prepared = self._http.prepare_request(request)
            environment = self._http.merge_environment_settings(url, {}, True, self._verify, None)
            exchange_log.log_headers(">", prepared.headers)
            answer = self._http.send(
                prepared,
                timeout=timeouts,
                # A redirected POST would turn into a GET, and a DELETE hit something else.
                allow_redirects=method == "GET",
                **environment,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self.translate(error, url) from error
        except ValueError as error:  # of an address that BASE_URL did not have: it was checked
            raise ProtocolError(f"{url} redirects to what is no address: {error}") from error
        seconds = time.monotonic() - began
        exchange_log.log_answer(method, url, len(body or ()), answer.status_code, seconds)
        exchange_log.log_headers("<", answer.headers)
        return Response(answer, self, prepared)

    def translate(self, error: Exception, url: str) -> DcmwebError:
        """Translate an exception; after a cut, whatever it was, it was the cut."""
        if self.is_cut:
            return Interrupted()
        return error_mapping.from_exception(error, url, self._settings.idle_timeout)


class Response:
    """An answer whose body is read as a stream; closing it early gives up its connection."""

    def __init__(
        self, answer: requests.Response, session: Session, request: requests.PreparedRequest
    ) -> None:
        self._answer = answer
        self._session = session
        self.request = request
        self.status: int = answer.status_code
        self.headers: CaseInsensitiveDict[str] = answer.headers
        self.url: str = answer.url

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def media_type(self) -> MediaType:
        """The media type of the body."""
        return media_types.parse(self.headers.get("Content-Type", ""))

    @property
    def has_framing(self) -> bool:
        """Whether HTTP says where the body ends, other than by closing the connection."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        return chunked or "Content-Length" in self.headers

    @property
    def size(self) -> int | None:
        """The bytes of the body, as HTTP announces them; None if it does not, or compressed."""
        told = self.headers.get("Content-Length", "")
        return int(told) if told.isdigit() and "Content-Encoding" not in self.headers else None

    def read(self, size: int) -> bytes:
        """Read up to this many bytes of the body; none at its end."""
        try:
            is_encoded = "Content-Encoding" in self.headers  # what is not saves a copy
            data: bytes = self._answer.raw.read(size, decode_content=is_encoded)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two: what reading from a connection cut by another thread can raise.
            if isinstance(error, (ValueError, AttributeError)) and not self._session.is_cut:
                raise
            raise self._session.translate(error, self.url) from error
        return data

    def content(self, limit: int = LONGEST_ANSWER) -> bytes:
        """Read the whole body into memory. Raises ProtocolError when there is no end to it."""
        pieces: list[bytes] = []
        size = 0
        while piece := self.read(256 * 1024):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise ProtocolError(f"the answer of {self.url} is too large", "narrow the search")
        return b"".join(pieces)

    def finish(self) -> None:
        """Read a little past what was wanted, so that the connection can be used again."""
        try:
            self.read(_EPILOGUE)
        except (NetworkError, ProtocolError):
            self.close()

    def problem(self) -> DcmwebError:
        """Make the error that this answer is, with the server's own words."""
        try:
            body = self.read(LONGEST_PROBLEM)
        except (NetworkError, ProtocolError):
            body = b""
        error = error_mapping.from_status(self.status, self.headers, body)
        # Without the query: there may be a patient's name in it.
        error.request = f"{self.request.method} {self.url.partition('?')[0]}"
        return error

    def check(self, *good: int) -> None:
        """Raise the error this answer is, unless its status is one of the good ones."""
        if self.status not in (good or range(200, 300)):
            raise self.problem()

    def close(self) -> None:
        """Give the connection back, or up if there is still something to be read."""
        self._answer.close()


def not_dicomweb(response: Response, body: bytes) -> ProtocolError:
    """Make the error for an answer that is something else than DICOMweb, a login page perhaps."""
    if error_mapping.looks_like_html(body) or response.media_type.name == "text/html":
        return ProtocolError(
            f"{response.url} answers with a web page, not with DICOMweb",
            "is BASE_URL the root of the DICOMweb service, or does it want a login first?",
        )
    name = response.media_type.name or "no media type"
    return ProtocolError(
        f"{response.url} does not answer with DICOMweb ({name})",
        "is BASE_URL the root of the DICOMweb service?",
    )


def _check_bundle(path: str) -> None:
    """Raise UsageError if a file of certificates is none."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # which is what SSLError is, too
        raise UsageError(f"{path} holds no certificates: {error.strerror or error}") from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default: dict[str, Any] = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or default.get(parts.scheme)
