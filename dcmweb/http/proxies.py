"""Chooses the proxy for each request, and explains what proxies answer."""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import urllib3.exceptions
from requests.utils import get_environ_proxies, select_proxy

from dcmweb.errors import DcmwebError, Unreachable
from dcmweb.http import tls_errors
from dcmweb.settings import Settings
from dcmweb.settings.proxy_url import has_login, parse_proxy, without_login

_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})([ -~]{0,100})")
# What a proxy may answer itself to a request that it should pass on: tinyproxy 1.11 has 401 for a
# wrong password, and 500 if it cannot reach the server, for which others have 502 to 504.
_OWN_ANSWERS = (401, 403, 500, 502, 503, 504)
# They name themselves in the answers that they make, and pass on the names of servers.
_PROGRAMS = re.compile(r"(tinyproxy|squid)\b", re.IGNORECASE)
# Servers of clouds that give a machine its identity: no proxy leads there.
_ON_THE_LINK = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
# Elsewhere, the system may have settings of its own, which can change at any time.
_IS_FOUND_IN_VARIABLES = sys.platform not in ("win32", "darwin")
_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")
_VARIABLES = (*_NAMES, *map(str.upper, _NAMES))
_MOST_FOUND = 64
_SOCKS_CODE = re.compile(r"0x([0-9A-Fa-f]{2}): ?(.*)")
_NOT_ALLOWED = (0x02, 0x5B, 0x5C, 0x5D)  # RFC 1928 section 6, and SOCKS 4


@dataclass(frozen=True)
class Proxy:
    """A proxy, and what named it: an option or a variable."""

    url: str = field(repr=False)  # there may be a password in it
    name: str

    @property
    def shown(self) -> str:
        """How messages call it: without its password."""
        return f"the proxy {without_login(self.url)}"

    @property
    def names(self) -> str:
        """What to check if it does not do its work."""
        return self.name if self.name == "--proxy" else f"{self.name} and NO_PROXY"


class Proxies:
    """The proxies of a client: that of --proxy for all hosts, or those of the environment."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.proxy
        self.secrets: tuple[str, ...] = ()  # of the proxies that were used, which may repeat them
        self._found: dict[tuple[str, str, tuple[str | None, ...]], Proxy | None] = {}

    def of(self, url: str) -> Proxy | None:
        """Return the proxy for a URL. Raises UsageError for one that cannot be used."""
        proxy = self._chosen(url)
        if proxy and (login := basic_login(proxy.url)) and login not in self.secrets:
            password = unquote(urlsplit(proxy.url).password or "", errors="surrogateescape")
            self.secrets = (*self.secrets, login, password)
        return proxy

    def _chosen(self, url: str) -> Proxy | None:
        """Return the proxy for a URL; that of a host is found again only if variables change."""
        if not _IS_FOUND_IN_VARIABLES:
            return self._find(url)
        parts = urlsplit(url)
        key = parts.scheme, parts.netloc, tuple(map(os.environ.get, _VARIABLES))
        if key not in self._found:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[key] = self._find(url)
        return self._found[key]

    def _find(self, url: str) -> Proxy | None:
        if urlsplit(url).hostname in _ON_THE_LINK:
            return None
        if self._given:
            return Proxy(self._given, "--proxy")
        found: dict[str, Any] = dict(get_environ_proxies(url))
        text = select_proxy(url, found)
        if not text:
            return None
        name = _variable_of(url, text)
        return Proxy(parse_proxy(text, name), name)


def basic_login(proxy: str) -> str:
    """Return the user and password in the URL of a proxy as Base64 of UTF-8 (RFC 7617)."""
    user, at, _ = urlsplit(proxy).netloc.rpartition("@")
    if not at:
        return ""
    name, _, password = user.partition(":")
    return base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()


def _variable_of(url: str, text: str) -> str:
    """Return the variable that names a proxy; on macOS and Windows, the system may as well."""
    for name in (f"{urlsplit(url).scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if os.environ.get(variable) == text:
                return variable
    return "the proxy of the system"


def refused(proxy: Proxy | None, words: str = "") -> Unreachable:
    """Make the error of a proxy that wants a user and password, or others (407)."""
    shown = proxy.shown if proxy else "the proxy"
    said = f" ({words})" if words else ""
    if proxy and has_login(proxy.url):
        return Unreachable(
            f"{shown} refuses the user name or the password{said}",
            f"check those in {proxy.name}; in it, write @ as %40, : as %3A and / as %2F",
            retryable=False,
        )
    name = proxy.name if proxy else "HTTP_PROXY"
    scheme = urlsplit(proxy.url).scheme if proxy else "http"
    assigned = f"{name} " if name.startswith("-") else f"{name}="
    return Unreachable(
        f"{shown} asks for a user and password{said}",
        f"give them in its address: {assigned}{scheme}://USER:PASSWORD@HOST:PORT",
        retryable=False,
    )


def own_answer(
    proxy: Proxy | None, status: int, headers: Mapping[str, str], host: str
) -> DcmwebError | None:
    """Make the error of an answer that a proxy made itself, and says so; None for others."""
    names_itself = _PROGRAMS.match(headers.get("server", ""))
    if proxy is None or status not in _OWN_ANSWERS or not names_itself:
        return None
    said = f"{status} {HTTPStatus(status).phrase}"
    if status == HTTPStatus.UNAUTHORIZED:
        return refused(proxy, said)
    return _not_connected(said, host, proxy, is_refusal=status < 500)


def doubt(error: DcmwebError, status: int, proxy: Proxy | None) -> None:
    """Add to the error of an answer that a proxy may have made it."""
    if proxy and status in _OWN_ANSWERS and not isinstance(error, Unreachable):
        said = f"it may be {proxy.shown} that answers this"
        error.hint = f"{error.hint}; {said}" if error.hint else said


def explain(
    causes: list[BaseException], host: str, proxy: Proxy | None, trusted: str
) -> DcmwebError | None:
    """Make the error of an exception that is the proxy's; None if it is not.

    `causes` are the exception and what it was made from.
    """
    if proxy is None:
        return None
    if tunnel := _TUNNEL_FAILED.search(str(causes[-1])):
        return _no_tunnel(int(tunnel[1]), tunnel[2].strip(), host, proxy)
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        return _not_reached(causes, proxy, trusted)
    # PySocks wraps its own errors once more.
    of_socks = [cause for cause in causes if type(cause).__module__ == "socks"]
    return _of_socks(of_socks[-1], causes[-1], host, proxy) if of_socks else None


def _no_tunnel(status: int, phrase: str, host: str, proxy: Proxy) -> DcmwebError:
    said = f"{status} {phrase}".strip()
    if status in (401, 407):  # tinyproxy 1.11 has 401 for a wrong password
        return refused(proxy, said)
    return _not_connected(said, host, proxy, is_refusal=status < 500)


def _not_connected(said: str, host: str, proxy: Proxy, *, is_refusal: bool) -> Unreachable:
    verb, hint = "cannot connect", f"check BASE_URL, {proxy.names}"
    if is_refusal:
        verb, hint = "refuses to connect", f"ask who runs the proxy, or check {proxy.names}"
    return Unreachable(f"{proxy.shown} {verb} to {host}: {said}", hint, retryable=not is_refusal)


def _not_reached(causes: list[BaseException], proxy: Proxy, trusted: str) -> DcmwebError:
    last = causes[-1]
    text = " ".join(str(cause) for cause in causes)
    if isinstance(last, ssl.SSLCertVerificationError):
        return tls_errors.not_trusted(last, f"the certificate of {proxy.shown}", trusted)
    if any(isinstance(c, urllib3.exceptions.NameResolutionError) for c in causes):
        return Unreachable(f"{proxy.shown} is an unknown host", f"check {proxy.names}")
    if "only use HTTP and not HTTPS" in text or isinstance(last, ssl.SSLError):
        return Unreachable(
            f"{proxy.shown} does not speak TLS",
            f"write its address with http:// in {proxy.name}",
            retryable=False,
        )
    reason = "it does not answer"
    if isinstance(last, OSError) and last.strerror:
        reason = last.strerror
    return Unreachable(f"{proxy.shown} cannot be reached: {reason}", f"check {proxy.names}")


def _of_socks(error: BaseException, last: BaseException, host: str, proxy: Proxy) -> DcmwebError:
    """Make the error of an exception of PySocks, and of the one that it was made from."""
    text, kind = str(getattr(error, "msg", error)), type(error).__name__
    if isinstance(last, socket.gaierror) and kind != "ProxyConnectionError":
        return Unreachable(
            f"unknown host {host}", "with socks5h:// the proxy looks it up; or check BASE_URL"
        )
    if kind == "ProxyConnectionError":
        reason = getattr(last, "strerror", None) or str(last)
        return Unreachable(f"{proxy.shown} cannot be reached: {reason}", f"check {proxy.names}")
    if kind == "SOCKS5AuthError":
        return refused(proxy)
    if kind in ("SOCKS5Error", "SOCKS4Error") and (code := _SOCKS_CODE.search(text)):
        said = code[2].lower() or f"code {code[1]}"
        return _not_connected(said, host, proxy, is_refusal=int(code[1], 16) in _NOT_ALLOWED)
    reason = str(last) if last is not error else text
    return Unreachable(
        f"{proxy.shown} broke off: {reason}",
        f"does it speak {urlsplit(proxy.url).scheme}? Or check {proxy.names}",
    )
