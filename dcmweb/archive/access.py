"""Who may use the archive, and which web pages may read its answers."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.wrappers import Request, Response

from dcmweb.archive.routes import LOOPBACK_NAMES

_READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing (RFC 9110 section 9.2.1)
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_OF_BROWSERS = ("same-origin", "none")  # what Sec-Fetch-Site says where no other page is involved
_READABLE_HEADERS = "Content-Location, Warning, WWW-Authenticate"


class MisdirectedRequest(HTTPException):
    """The request is for another host (RFC 9110 section 15.5.20)."""

    code = 421


@dataclass(frozen=True)
class Access:
    """Who may use the archive: everyone, or those with a password or token."""

    user: str = ""
    password: str = ""
    token: str = ""
    # Of web pages that may read and change; those from this machine may read. `*` is for all.
    origins: tuple[str, ...] = ()
    is_local: bool = False  # whether only this machine can reach the archive

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request has valid credentials.

        Raises Forbidden if a web page of another origin asks for a change, and is not allowed by
        name; being of this machine is not enough. Raises MisdirectedRequest if an archive that only
        this machine can reach is called by another name: web pages do that to get around the
        same-origin policy (DNS rebinding).
        """
        if self.is_local and not self._knows_host(request):
            raise MisdirectedRequest("this host is not served here; --allow-origin may name it")
        if request.method not in _READING and not self._may_change(request):
            raise Forbidden("a page of another origin changes nothing; --allow-origin may name it")
        if not (self.user or self.token) or request.method == "OPTIONS":
            return
        given = request.authorization
        if given and given.type == "basic" and self.user and _same(given.username, self.user):
            passes = _same(given.password, self.password)
        else:
            bearer = given.token if given and given.type == "bearer" else None
            passes = bool(self.token) and _same(bearer, self.token)
        if passes:
            return
        challenges = [WWWAuthenticate("basic", {"realm": "dcmweb"})] if self.user else []
        challenges += [WWWAuthenticate("bearer", {"realm": "dcmweb"})] if self.token else []
        raise Unauthorized("credentials are required", www_authenticate=challenges)

    def add_cors_headers(self, request: Request, response: Response) -> None:
        """Let web pages from this machine and from allowed origins read an answer."""
        origin = request.headers.get("Origin", "")
        if not origin or not self._allows_origin(origin):
            return
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        response.headers.update(
            {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": ", ".join(
                    (*_READING, *(_CHANGING if self._is_named(origin) else ()))
                ),
                "Access-Control-Allow-Headers": wanted or "*",
                "Access-Control-Expose-Headers": _READABLE_HEADERS,
                "Vary": "Origin",
            }
        )

    def _allows_origin(self, origin: str) -> bool:
        return self._is_named(origin) or _host_of(origin) in LOOPBACK_NAMES

    def _is_named(self, origin: str) -> bool:
        return bool({"*", origin} & set(self.origins))

    def _may_change(self, request: Request) -> bool:
        """Return True unless a page of another origin sends the request; browsers say who does."""
        origin = request.headers.get("Origin")
        if origin is None:
            return request.headers.get("Sec-Fetch-Site", "none") in _OF_BROWSERS
        return is_own_origin(request) or self._is_named(origin)

    def _knows_host(self, request: Request) -> bool:
        given = request.environ.get("HTTP_HOST", "")
        if not given or "*" in self.origins:
            return True
        host = _host_of(f"//{given}")
        if host and host in (*LOOPBACK_NAMES, *map(_host_of, self.origins)):
            return True
        return host.endswith(".localhost") or _is_loopback_address(host)


def is_own_origin(request: Request) -> bool:
    """Compare the host of Origin with that of the request; a proxy may have changed the scheme."""
    try:
        origin = urlsplit(request.headers.get("Origin", "")).netloc
    except ValueError:
        return False
    return bool(origin) and origin.lower() == request.environ.get("HTTP_HOST", "").lower()


def _host_of(url: str) -> str:
    """Return the host of a URL, "" if it has none or is malformed."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same(given: str | None, known: str) -> bool:
    return hmac.compare_digest((given or "").encode(), known.encode())
