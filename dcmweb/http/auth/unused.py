"""Credentials that a scheme has no use for: to accept them would be to ignore them."""

from __future__ import annotations

from dataclasses import fields

from dcmweb.errors import UsageError
from dcmweb.settings import AuthScheme, Credentials
from dcmweb.settings.credentials import SECRETS


def _with_sources(*names: str) -> frozenset[str]:
    """Add the fields that say where secrets come from."""
    secrets = [name for name in names if name in SECRETS]
    ends = ("_file", "_command")
    return frozenset((*names, *(f"{name}{end}" for name in secrets for end in ends)))


_USED = {
    AuthScheme.NONE: _with_sources(),
    AuthScheme.BASIC: _with_sources("user", "password"),
    AuthScheme.DIGEST: _with_sources("user", "password"),
    AuthScheme.NETRC: _with_sources("user"),
    AuthScheme.BEARER: _with_sources("token"),
    AuthScheme.OAUTH2: _with_sources(
        "token_url", "client_id", "client_secret", "scopes", "options"
    ),
    AuthScheme.GOOGLE: _with_sources("service_account", "quota_project", "scopes"),
    AuthScheme.AZURE: _with_sources("client_id", "scopes"),
    AuthScheme.AWS: _with_sources("aws_profile", "aws_region"),
}
# Of all schemes; the last ones are of use with a certificate.
_OF_ALL = _with_sources("scheme", "headers", "query", "variables", "cert", "key")
_OF_CERTIFICATE = _with_sources("key_password")

_OPTIONS = {"scopes": "scope", "options": "auth-option"}  # where the name is not that of the field
_HINTS = {
    "user": "give --auth basic as well",
    "password": "give --user as well",
    "token": "give --auth bearer as well",
    "token-url": "give --auth oauth2 as well",
    "client": "give --token-url as well",
    "scope": "it is for OAuth2 (give --token-url as well), Google and Azure",
    "auth": "it is for OAuth2 (give --token-url as well), and for schemes of other packages",
    "aws": "give --auth aws as well",
    "service": "give --auth google as well",
    "quota": "give --auth google as well",
}
_CHOSEN_BY = {
    AuthScheme.NONE: "where nothing says how to authenticate",
    AuthScheme.BASIC: "beside a user",
    AuthScheme.BEARER: "beside a token",
    AuthScheme.OAUTH2: "beside --token-url",
}


def unused(given: Credentials, scheme: AuthScheme | str) -> list[str]:
    """Return the names of what is given and a scheme does not use; other packages use anything."""
    if not isinstance(scheme, AuthScheme):
        return []
    used = _USED[scheme] | _OF_ALL | (_OF_CERTIFICATE if given.cert else frozenset())
    return [
        one.name
        for one in fields(given)
        if one.name not in used and getattr(given, one.name) != one.default
    ]


def refuse_unused(given: Credentials, scheme: AuthScheme | str) -> None:
    """Raise UsageError for what a scheme does not use."""
    for name in unused(given, scheme):
        option = _OPTIONS.get(name, name.replace("_", "-"))
        if name in _OF_CERTIFICATE:
            raise UsageError(f"--{option} is of no use without --cert", "give --cert as well")
        if given.scheme is not AuthScheme.AUTO:
            raise UsageError(
                f"--{option} is of no use with --auth {AuthScheme(given.scheme).value}",
                "leave out one of them",
            )
        beside = _CHOSEN_BY.get(AuthScheme(scheme), f"with credentials of {scheme}")
        hint = _HINTS.get(option) or _HINTS.get(option.partition("-")[0], "leave it out")
        raise UsageError(f"--{option} is of no use {beside}", hint)
