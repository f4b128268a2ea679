"""An example of a package that brings schemes of authentication: entry points of `dcmweb.auth`.

Each callable gets `dcmweb.SchemeArguments`, and returns a `requests.auth.AuthBase`. `Negotiate`
works as `HTTPSPNEGOAuth` of requests-gssapi does: it answers a challenge in a hook, with a ticket
that is good for one request, and wants to see the server authenticate itself as well.
"""

from __future__ import annotations

import itertools
from typing import Any

import requests
from requests.auth import AuthBase

from dcmweb import SchemeArguments

_NUMBERS = itertools.count()


class Negotiate(AuthBase):
    """Answers `WWW-Authenticate: Negotiate` with a ticket (RFC 4559)."""

    def __init__(self, principal: str) -> None:
        self.principal = principal

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.hooks["response"].append(self.handle)
        return request

    def handle(self, response: requests.Response, **options: Any) -> requests.Response:
        """Send the request again with a ticket; as requests does, with what is left of its body."""
        if response.status_code != 401:
            raise AssertionError("mutual authentication is not asked for")
        if "negotiate" not in response.headers.get("www-authenticate", "").lower():
            return response
        response.content  # noqa: B018 - read it, so that the connection can be used again
        response.raw.release_conn()
        ticket = f"ticket-{self.principal}-{next(_NUMBERS)}"
        response.request.headers["Authorization"] = f"Negotiate {ticket}"
        connection: Any = response.connection
        again: requests.Response = connection.send(response.request, **options)
        again.history.append(response)
        return again


class Key(AuthBase):
    """Adds a header field, without a challenge."""

    def __init__(self, field: str, key: str) -> None:
        self.field, self.key = field, key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self.field] = self.key
        return request


class Breaks(AuthBase):
    """Fails at each request."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        raise RuntimeError("no ticket\nand more lines")


def negotiate(arguments: SchemeArguments) -> AuthBase:
    """Make the authentication of `--auth example-negotiate --auth-option principal=NAME`."""
    return Negotiate(arguments.options.get("principal", "nobody"))


def key(arguments: SchemeArguments) -> AuthBase:
    """Make that of `--auth example-key`, with a token as --token-file and its like give it."""
    return Key(arguments.options.get("field", "X-Api-Key"), arguments.secret("token"))


def wrong(arguments: SchemeArguments) -> str:
    """Make what is not an authentication."""
    return arguments.base_url


def breaks(_: SchemeArguments) -> AuthBase:
    """Make one that fails."""
    return Breaks()
