"""Chooses the authentication for a server by what the user gave, and by the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dcmweb.errors import UsageError
from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.secrets import SecretReader
from dcmweb.settings import AuthScheme, Credentials, Secret, Settings


def choose(settings: Settings) -> Authentication:
    """Choose the authentication for a server by what the user gave, and by the host.

    Raises UsageError if something is lacking for the scheme that was asked for.
    """
    scheme = resolve(settings)
    if scheme not in _SCHEMES:
        raise UsageError(
            f"there is no authentication {scheme}",
            f"it can be {', '.join(one.value for one in AuthScheme)}",
        )
    return _SCHEMES[scheme](settings)


def resolve(settings: Settings) -> AuthScheme | str:
    """Return the scheme that `auto` stands for, or the one that was asked for."""
    given = settings.credentials
    if given.scheme is not AuthScheme.AUTO:
        return given.scheme
    if given.user:
        return AuthScheme.BASIC
    if given.secret("token").is_given:
        return AuthScheme.BEARER
    from dcmweb.http.auth.google import is_google

    return AuthScheme.GOOGLE if is_google(settings.base_url) else AuthScheme.NONE


def _none(_settings: Settings) -> Authentication:
    return Authentication()


def _basic(settings: Settings) -> Authentication:
    from dcmweb.http.auth.basic import BasicAuth

    given = settings.credentials
    if not given.user:
        raise UsageError("--auth basic needs a user name", "give it with --user")
    return BasicAuth(given.user, _password(given))


def _password(given: Credentials) -> str:
    secret = given.secret("password")
    if not secret.is_given:
        raise UsageError(
            f"there is no password for user {given.user}",
            f"set {secret.variable}, or start dcmweb in a terminal to be asked",
        )
    return SecretReader(secret).read()


def _bearer(settings: Settings) -> Authentication:
    from dcmweb.http.auth.bearer import BearerAuth, token_in

    secret = settings.credentials.secret("token")
    reader = SecretReader(secret)
    if not secret.is_given:
        raise UsageError(
            "--auth bearer needs a token",
            f"give --token-file or --token-command, or set {secret.variable}",
        )
    return BearerAuth(lambda: token_in(reader.read(), reader.origin))


def _google(_settings: Settings) -> Authentication:
    from dcmweb.http.auth.google import GoogleAuth

    return GoogleAuth()


_SCHEMES: dict[AuthScheme | str, Callable[[Settings], Authentication]] = {
    AuthScheme.NONE: _none,
    AuthScheme.BASIC: _basic,
    AuthScheme.BEARER: _bearer,
    AuthScheme.GOOGLE: _google,
}


def read_token(path: str) -> str:
    """Read the token in a file or, without a path, in DCMWEB_TOKEN; "" if there is neither.

    A server that compares tokens reads them as its clients do. Raises AuthError.
    """
    from dcmweb.http.auth.bearer import token_in

    secret = replace(Secret("token"), file=path)
    if not secret.is_given:
        return ""
    reader = SecretReader(secret)
    text = reader.read()
    return token_in(text, reader.origin) if text.strip() or path else ""
