"""Who may use the archive, and which web pages may read its answers."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Request, Response

from dcmweb.archive.routes import LOOPBACK_NAMES

_READABLE_HEADERS = "Content-Location, Warning, WWW-Authenticate"


@dataclass(frozen=True)
class Access:
    """Who may use the archive: everyone, or those with a password or token."""

    user: str = ""
    password: str = ""
    token: str = ""
    origins: tuple[str, ...] = ()  # of web pages, beside those from this machine; `*` for all

    def check(self, request: Request) -> None:
        """Raise Unauthorized unless the request has valid credentials."""
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
                "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
                "Access-Control-Allow-Headers": wanted or "*",
                "Access-Control-Expose-Headers": _READABLE_HEADERS,
                "Vary": "Origin",
            }
        )

    def _allows_origin(self, origin: str) -> bool:
        return bool({"*", origin} & set(self.origins)) or (
            urlsplit(origin).hostname in LOOPBACK_NAMES
        )


def _same(given: str | None, known: str) -> bool:
    return hmac.compare_digest((given or "").encode(), known.encode())
