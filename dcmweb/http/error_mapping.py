"""Maps HTTP responses and exceptions of libraries to our errors, each in one place."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from dcmweb.errors import (
    AuthError,
    DcmwebError,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Refused,
    Stalled,
    Truncated,
    Unreachable,
    UsageError,
)
from dcmweb.http import auth_hints, proxy_errors, tls_errors
from dcmweb.http.framing import FramingError
from dcmweb.http.lowest_speed import LOWEST_SPEED, TooSlow
from dcmweb.http.proxies import Proxy
from dcmweb.http.redaction import without_query, without_values
from dcmweb.http.server_words import server_words, shortened
from dcmweb.http.tls import Situation

RETRYABLE_STATUSES = frozenset([408, 425, 429, 500, 502, 503, 504])
LONGEST_RETRY_AFTER = 24 * 3600.0  # seconds

_CHECK_ROOT = "check that BASE_URL is the service's root"
_HINTS = {
    400: f"check the path and the parameters, and {_CHECK_ROOT.removeprefix('check ')}",
    405: "the server does not offer this here; is BASE_URL the root of its DICOMweb service?",
    406: "the server cannot answer in this media type; try another --type",
    413: "the server, or a proxy before it, limits the size of requests",
    414: "the server, or a proxy before it, limits the length of URLs: use fewer parameters",
    415: "the server does not accept this kind of content",
    501: "the server does not offer this",
}
# What a status means instead for a request that is not a GET: it has no parameters and no --type.
_OTHER_HINTS = {400: _CHECK_ROOT, 406: ""}


def from_status(  # noqa: PLR0913 - what is known of an exchange
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str = "GET",
    sent: str = "",
    accept: str = "",
    advice: str = "",
    hide: Callable[[str], str] = str,
) -> DcmwebError:
    """Make the error for an answer with an error status.

    `method` is that of the request, `accept` its Accept field, `sent` its Authorization field, or
    the option that gave other credentials; `advice` what to do if what was sent is wrong. `hide`
    takes secrets out of what the server says.
    """
    words = server_words(headers, body, hide)
    said = f"answered {status} {_phrase(status)}"
    message = f"{said}: {words}" if words else said
    if 300 <= status < 400:
        return Refused(
            f"{said}, to {_address(headers.get('location', ''))}",
            "if that is the server you mean, use it as BASE_URL",
            status=status,
        )
    if hint := auth_hints.refused(status, headers, message, sent, advice):
        return AuthError(message, hint)
    if status == 407:
        return proxy_errors.refused(None, said)
    if status == 403:
        return AuthError(message, auth_hints.after_403(headers, sent), fatal=False)
    if status in (404, 410):
        path = "check the path, and that" if method == "GET" else "check that"
        return NothingMatched(message, f"{path} BASE_URL is the service's root")
    hint = _HINTS.get(status, "")
    if method != "GET":
        hint = _OTHER_HINTS.get(status, hint)
    elif status == 406 and accept.startswith("application/dicom+json"):
        hint = "the server does not answer with DICOM JSON here"
    return Refused(
        message,
        hint,
        status=status,
        retryable=status in RETRYABLE_STATUSES,
        retry_after=retry_after(headers),
    )


class _Translation(NamedTuple):
    """Maps a library's exception to ours: by its class, or that of one it was made from."""

    causes: tuple[type[BaseException], ...]
    error: Callable[[str, str], DcmwebError]
    message: str
    hint: str = ""


# The first match counts. {host}, {url}, {reason} and {timeout} are filled in.
_TRANSLATIONS = (
    _Translation((ssl.SSLEOFError,), NetworkError, "the TLS connection to {host} broke: {reason}"),
    _Translation(
        (ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError),
        Unreachable,
        "the TLS connection to {host} failed: {reason}",
        "does the server speak https?",
    ),
    _Translation(
        (urllib3.exceptions.NameResolutionError,),
        Unreachable,
        "unknown host {host}",
        "check BASE_URL",
    ),
    _Translation(
        (urllib3.exceptions.NewConnectionError,),
        Unreachable,
        "no connection to {host}: {reason}",
        "check BASE_URL, and that the server runs",
    ),
    _Translation(
        (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError),
        Unreachable,
        "{host} does not answer",
        "check BASE_URL, or a firewall between",
    ),
    _Translation(
        (TooSlow,),
        Stalled,
        "the connection to {host} is too slow: {reason}",
        f"it has to move {LOWEST_SPEED} bytes a second, over the time of --timeout",
    ),
    _Translation(
        (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError),
        Stalled,
        "nothing moved between here and {host} for {timeout:g} s",
        "a longer --timeout may help",
    ),
    _Translation((FramingError,), Truncated, "the answer of {host} is broken: {reason}"),
    _Translation(
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead),
        Truncated,
        "the answer of {host} broke off: {reason}",
    ),
    _Translation(
        (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError),
        ProtocolError,
        "the answer of {host} cannot be decoded: {reason}",
    ),
    _Translation(
        (requests.exceptions.TooManyRedirects,),
        ProtocolError,
        "{host} redirects in a circle",
        "check BASE_URL",
    ),
    _Translation(
        (requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema),
        ProtocolError,
        "{host} redirects to what is not a web address",
        "check BASE_URL",
    ),
    _Translation(
        (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError),
        UsageError,
        "{url} is not a valid URL: {reason}",
    ),
    _Translation((Exception,), NetworkError, "the connection to {host} broke: {reason}"),
)


def asked_url(error: Exception, url: str) -> str:
    """Return the URL of the request that failed: after a redirect, it is another one."""
    return getattr(getattr(error, "request", None), "url", None) or url


def from_exception(
    error: Exception,
    url: str,
    timeout: float,
    tls: Situation | None = None,
    proxy: Proxy | None = None,
) -> DcmwebError:
    """Translate an exception of requests, urllib3 or the socket.

    `tls` is what was trusted and presented, `proxy` what the request went through.
    """
    causes = _causes(error)
    asked = asked_url(error, url)
    known = {
        "host": urlsplit(asked).netloc.rpartition("@")[2],
        "url": without_query(asked),
        "reason": without_values(_plain(causes[-1])),
    }
    tls = tls or Situation()
    special = proxy_errors.explain(causes, known["host"], proxy, tls.trusted)
    if special := special or tls_errors.explain(causes, known["host"], tls):
        return special
    found = next(
        translation
        for translation in _TRANSLATIONS
        if any(isinstance(cause, translation.causes) for cause in causes)
    )
    if proxy:
        known["host"] = f"{known['host']} (through {proxy.shown})"
    if _server(asked) != _server(url):
        known["host"] = f"{known['host']} (redirected from {urlsplit(url).hostname})"
    hint = found.hint
    if asked.startswith("http:") and isinstance(causes[-1], http.client.RemoteDisconnected):
        hint = "does BASE_URL begin with https://?"  # as HAProxy 2.6 does at a port of TLS
    return found.error(found.message.format(timeout=timeout, **known), hint)


def _address(location: str) -> str:
    place = without_query(location)
    return shortened(place) or ("an address that is too long to show" if place else "nowhere")


def _server(url: str) -> str:
    return urlsplit(url).netloc.lower().rstrip(":")  # a port may be left empty (RFC 3986, 3.2.3)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After in either of its forms, as seconds from now (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, when - time.time()), LONGEST_RETRY_AFTER)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(not a status of HTTP)"


def _causes(error: BaseException) -> list[BaseException]:
    """List an exception and what it was made from, outermost first."""
    found: list[BaseException] = []
    current: object = error
    while isinstance(current, BaseException) and current not in found:
        found.append(current)
        inside = getattr(current, "reason", None)
        nested = [arg for arg in current.args if isinstance(arg, BaseException)]
        if isinstance(inside, BaseException):
            current = inside
        elif nested:
            current = nested[0]
        else:
            current = current.__cause__ or current.__context__
    return found


def _plain(error: BaseException) -> str:
    """Describe an exception without the addresses and class names that some libraries add."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(
        r"<[^<>]*object at 0x[0-9a-f]+>:?\s*|HTTPS?Connection\([^)]*\):\s*", "", str(error)
    )
    return text.splitlines()[0] if text else type(error).__name__
