"""Chooses the authentication for a server by what the user gave, and by the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dcmweb.errors import UsageError
from dcmweb.http.auth import hosts
from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.unused import refuse_unused, unused
from dcmweb.settings import AuthScheme, Credentials, Secret, Settings
from dcmweb.settings.from_options import field_of, is_credential, settings_from


def choose(settings: Settings) -> Authentication:
    """Choose the authentication for a server by what the user gave, and by the host.

    Raises UsageError if something is lacking for the scheme that was asked for.
    """
    scheme = resolve(settings)
    refuse_unused(settings.credentials, scheme)
    if scheme in _SCHEMES:
        chosen = _SCHEMES[scheme](settings)
    else:
        from dcmweb.http.auth.plugins import load

        chosen = load(settings)
    given = settings.credentials
    if not given.headers and not given.query:
        return chosen
    from dcmweb.http.auth.fields import FieldsAuth

    return FieldsAuth(chosen, given.headers, given.query)


def resolve(settings: Settings) -> AuthScheme | str:
    """Return the scheme that `auto` stands for, or the one that was asked for."""
    given = settings.credentials
    if given.headers:
        from dcmweb.http.auth.fields import is_authorized_by_header

        if is_authorized_by_header(given):
            return AuthScheme.NONE
    if given.scheme is not AuthScheme.AUTO:
        return given.scheme
    by_what_is_given = (
        (given.user, AuthScheme.BASIC),
        (given.token or given.token_file or given.token_command, AuthScheme.BEARER),
        (given.token_url, AuthScheme.OAUTH2),
        # Last, as a variable may be set for other servers.
        (given.secret("token").is_given, AuthScheme.BEARER),
    )
    for is_given, scheme in by_what_is_given:
        if is_given:
            return scheme
    return _by_host(settings)


def without_overridden(
    base_url: str, values: dict[str, Any], layers: Mapping[str, int]
) -> dict[str, Any]:
    """Leave out credentials that are of no use beside those of a layer above theirs.

    `values` are by the keys of options. So `--auth none` and `--user` go with a profile that holds
    a token, though both in one place are an error.
    """
    of = {key: layers[key] for key in values if is_credential(key)}
    if not base_url or len(set(of.values())) < 2:
        return values
    settings = settings_from(base_url, values)
    idle = unused(settings.credentials, resolve(settings))
    highest = max(of.values())
    return {
        key: value
        for key, value in values.items()
        if key not in of or of[key] == highest or field_of(key) not in idle
    }


def _by_host(settings: Settings) -> AuthScheme:
    """Return the scheme for servers of those whose own credentials are found by themselves."""
    url = settings.base_url
    if hosts.is_aws(url):
        return AuthScheme.AWS
    if hosts.is_google(url):
        return AuthScheme.GOOGLE
    if hosts.is_google_host(url):
        raise UsageError("BASE_URL leads to Google without encryption", "write https://")
    if settings.credentials.service_account:
        raise UsageError(
            "--service-account is for Google, and BASE_URL does not lead there",
            "give --auth google to send Google's token to this server all the same",
        )
    return AuthScheme.AZURE if _is_azure(url) else AuthScheme.NONE


def _is_azure(url: str) -> bool:
    """Return True for Azure, if the package that finds its credentials is installed."""
    if not hosts.is_azure(url):
        return False
    from dcmweb.http.auth.azure import is_installed

    return is_installed()


def _none(_settings: Settings) -> Authentication:
    return Authentication()


def _basic(settings: Settings) -> Authentication:
    from dcmweb.http.auth.basic import BasicAuth

    given = settings.credentials
    return BasicAuth(_user(given), _password(given))


def _digest(settings: Settings) -> Authentication:
    from dcmweb.http.auth.digest import DigestAuth

    given = settings.credentials
    return DigestAuth(_user(given), _password(given))


def _netrc(settings: Settings) -> Authentication:
    from dcmweb.http.auth.basic import BasicAuth
    from dcmweb.http.auth.netrc import read_netrc

    return BasicAuth(*read_netrc(settings.base_url, settings.credentials.user))


def _aws(settings: Settings) -> Authentication:
    from dcmweb.http.auth.aws import AwsAuth

    given = settings.credentials
    return AwsAuth(settings.base_url, given.aws_profile, given.aws_region)


def _user(given: Credentials) -> str:
    if not given.user:
        scheme = AuthScheme.DIGEST if given.scheme is AuthScheme.DIGEST else AuthScheme.BASIC
        raise UsageError(f"--auth {scheme.value} needs a user name", "give it with --user")
    return given.user


def _password(given: Credentials) -> str:
    secret = given.secret("password")
    if not secret.is_given:
        raise UsageError(
            f"there is no password for user {given.user}",
            f"set {secret.variable}, or start dcmweb in a terminal to be asked",
        )
    from dcmweb.http.auth.secrets import SecretReader

    return SecretReader(secret).read()


def _bearer(settings: Settings) -> Authentication:
    from dcmweb.http.auth.bearer import BearerAuth, GivenToken
    from dcmweb.http.auth.secrets import SecretReader

    secret = settings.credentials.secret("token")
    reader = SecretReader(secret)
    if not secret.is_given:
        raise UsageError(
            "--auth bearer needs a token",
            f"give --token-file or --token-command, or set {secret.variable}",
        )
    bearer = BearerAuth(GivenToken(reader))
    if not secret.command:  # which is run when the token is needed
        bearer.token.current()
    return bearer


def _oauth2(settings: Settings) -> Authentication:
    from dcmweb.http.auth.oauth2 import OAuth2Auth

    return OAuth2Auth(settings)


def _google(settings: Settings) -> Authentication:
    from dcmweb.http.auth.google import GoogleAuth

    return GoogleAuth(settings)


def _azure(settings: Settings) -> Authentication:
    from dcmweb.http.auth.azure import AzureAuth

    return AzureAuth(settings.credentials)


_SCHEMES: dict[AuthScheme | str, Callable[[Settings], Authentication]] = {
    AuthScheme.NONE: _none,
    AuthScheme.BASIC: _basic,
    AuthScheme.DIGEST: _digest,
    AuthScheme.NETRC: _netrc,
    AuthScheme.AWS: _aws,
    AuthScheme.BEARER: _bearer,
    AuthScheme.OAUTH2: _oauth2,
    AuthScheme.GOOGLE: _google,
    AuthScheme.AZURE: _azure,
}


def read_token(path: str) -> str:
    """Read the token in a file or, without a path, in DCMWEB_TOKEN; "" if there is neither.

    A server that compares tokens reads them as its clients do. Raises AuthError.
    """
    from dcmweb.http.auth.secrets import SecretReader
    from dcmweb.http.auth.token_text import token_in

    secret = Secret("token", file=path)
    if not secret.is_given:
        return ""
    reader = SecretReader(secret)
    text = reader.read()
    return token_in(text, reader.origin) if text.strip() or path else ""
