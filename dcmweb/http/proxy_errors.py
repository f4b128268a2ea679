"""Explains errors of proxies: what they answer themselves, and why they cannot be reached."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import urllib3.exceptions

from dcmweb.errors import DcmwebError, Unreachable
from dcmweb.http import tls_errors
from dcmweb.http.proxies import Proxy
from dcmweb.settings.proxy_url import has_login

_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})([ -~]{0,100})")
# What a proxy may answer itself to a request that it should pass on: tinyproxy 1.11 has 401 for a
# wrong password, and 500 if it cannot reach the server, for which others have 502 to 504.
_OWN_ANSWERS = (401, 403, 500, 502, 503, 504)
# They name themselves in the answers that they make, and pass on the names of servers.
_PROGRAMS = re.compile(r"(tinyproxy|squid)\b", re.IGNORECASE)
_SOCKS_CODE = re.compile(r"0x([0-9A-Fa-f]{2}): ?(.*)")
_NOT_ALLOWED = (0x02, 0x5B, 0x5C, 0x5D)  # RFC 1928 section 6, and SOCKS 4


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
