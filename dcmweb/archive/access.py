"""Who may use the archive, and which web pages may read its answers."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, Unauthorized
from werkzeug.wrappers import Request, Response

from dcmweb.archive.routes import LOOPBACK_NAMES

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
    origins: tuple[str, ...] = ()  # of web pages, beside those from this machine; `*` for all
    is_local: bool = False  # whether only this machine can reach the archive

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request has valid credentials.

        Raises MisdirectedRequest if an archive that only this machine can reach is called by
        another name: web pages do that to get around the same-origin policy (DNS rebinding).
        """
        if self.is_local and not self._knows_host(request):
            raise MisdirectedRequest("this host is not served here; --allow-origin may name it")
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
                "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
                "Access-Control-Allow-Headers": wanted or "*",
                "Access-Control-Expose-Headers": _READABLE_HEADERS,
                "Vary": "Origin",
            }
        )

    def _allows_origin(self, origin: str) -> bool:
        return bool({"*", origin} & set(self.origins)) or _host_of(origin) in LOOPBACK_NAMES

    def _knows_host(self, request: Request) -> bool:
        given = request.environ.get("HTTP_HOST", "")
        if not given or "*" in self.origins:
            return True
        host = _host_of(f"//{given}")
        if host and host in (*LOOPBACK_NAMES, *map(_host_of, self.origins)):
            return True
        return host.endswith(".localhost") or _is_loopback_address(host)


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
