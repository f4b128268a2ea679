"""What a client authenticates with, and where its secrets come from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from dcmweb.errors import UsageError
from dcmweb.settings.checks import check_text

SECRETS = ("password", "token", "client_secret", "key_password")
VARIABLES = "DCMWEB_"  # how variables begin that hold secrets
VARIABLES_OF_DESTINATION = "DCMWEB_TO_"  # those of a server that is copied to
_LEFT_OUT = "\0left out"  # in a pickle, in place of a value that was given as such


class AuthScheme(str, Enum):
    """How requests are authenticated; `AUTO` picks by what is given and by the host.

    Packages can add schemes of other names (see docs/authentication.md).
    """

    AUTO = "auto"
    NONE = "none"
    GOOGLE = "google"
    BASIC = "basic"
    DIGEST = "digest"
    BEARER = "bearer"
    OAUTH2 = "oauth2"
    AWS = "aws"
    AZURE = "azure"
    NETRC = "netrc"


_WITHOUT_USER = frozenset(AuthScheme) - {
    *(AuthScheme.AUTO, AuthScheme.BASIC, AuthScheme.DIGEST, AuthScheme.NETRC)
}


class Secret:
    """Where a secret comes from: it is given, in a file, or printed by a command.

    Where it is none of these, it is in the environment variable `variable`.
    """

    def __init__(
        self,
        name: str,
        value: str = "",
        file: str = "",
        command: str = "",
        variables: str = VARIABLES,
    ) -> None:
        self.name = name
        self.value = value  # no repr has it
        self.file = file
        self.command = command
        self.variables = variables

    @property
    def variable(self) -> str:
        """The environment variable that can hold the secret."""
        return f"{self.variables}{self.name.upper()}"

    @property
    def option(self) -> str:
        """The name of the secret, as options and profiles have it."""
        return self.name.replace("_", "-")

    @property
    def is_given(self) -> bool:
        """Whether it is known where the secret comes from; a password may be empty."""
        is_set = os.environ.get(self.variable) or (
            self.name == "password" and self.variable in os.environ
        )
        return bool(self.value or self.file or self.command or is_set)


@dataclass(frozen=True, kw_only=True, repr=False)
class Credentials:
    """What the user gave to authenticate with.

    Secrets never show in a repr, and are left out of pickles and copies: another process takes
    them from where they are kept: a variable such as DCMWEB_PASSWORD, a file, a command.

    `headers` are names and values of header fields that go with each request, `query` those of
    parameters. A value of `@FILE` is read from a file, one of `$NAME` from a variable.
    `options` are names and values for a scheme that another package brings, or parameters of the
    request for an OAuth2 token.
    `variables` is how the names of variables begin in which secrets are looked for.
    """

    scheme: AuthScheme | str = AuthScheme.AUTO
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    password_command: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    token_command: str = ""
    service_account: str = ""  # file of Google credentials
    quota_project: str = ""
    token_url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: str = ""
    client_secret_command: str = ""
    scopes: tuple[str, ...] = ()
    aws_profile: str = ""
    aws_region: str = ""
    cert: str = ""  # file
    key: str = ""  # file; by default, it is in that of the certificate
    key_password: str = field(default="", repr=False)
    key_password_file: str = ""
    key_password_command: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    variables: str = VARIABLES

    def __post_init__(self) -> None:
        """Check that all is text; what it is instead is not shown."""
        check_text("scheme", self.scheme)
        object.__setattr__(self, "scheme", _scheme(self.scheme))
        for name, value in self.__dict__.items():
            if name in _PAIRS:
                _check_pairs(name, value)
            elif name == "scopes":
                for scope in value:
                    check_text(name, scope)
            else:
                check_text(name, value)
        for name in SECRETS:
            _check_one_source(self.secret(name))

    def secret(self, name: str) -> Secret:
        """Return where one of the secrets comes from."""
        value, file, command = (getattr(self, f"{name}{end}") for end in ("", "_file", "_command"))
        return Secret(name, value, file, command, self.variables)

    def __repr__(self) -> str:
        """Show what was given, without secrets."""
        given = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if one.repr and getattr(self, one.name) != one.default
        ]
        return f"Credentials({', '.join(given)})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the secrets, but not that there were some: without them it is an error."""
        scheme = self.scheme
        if scheme is AuthScheme.AUTO and self.token and not self.user:
            scheme = AuthScheme.BEARER
        left_out = dict.fromkeys(SECRETS, "")
        pairs = {name: _without_secrets(getattr(self, name)) for name in _PAIRS}
        return {**self.__dict__, "scheme": scheme, **left_out, **pairs}


_PAIRS = ("headers", "query", "options")


def _scheme(name: str) -> AuthScheme | str:
    try:
        return AuthScheme(name)
    except ValueError:
        return name  # of another package, or unknown; that is found out when it is needed


def _check_pairs(name: str, pairs: Any) -> None:
    if not isinstance(pairs, tuple) or any(
        not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs
    ):
        raise UsageError(f"{name} are not pairs of a name and a value", "give a tuple of tuples")
    for pair in pairs:
        for text in pair:
            check_text(name, text)


def _check_one_source(secret: Secret) -> None:
    given = [bool(secret.value), bool(secret.file), bool(secret.command)]
    if sum(given) > 1:
        words = secret.name.replace("_", " ")
        raise UsageError(f"the {words} is given in two ways", "give a file or a command, not both")


def _without_secrets(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Leave out values, but not where to read them."""
    return tuple((name, value if is_reference(value) else _LEFT_OUT) for name, value in pairs)


def is_reference(value: str) -> bool:
    """Return True for `@FILE` and `$NAME`, which say where to read a value."""
    return value[:1] in ("@", "$") and len(value) > 1


def is_left_out(value: str) -> bool:
    """Return True for a value that did not come along with a pickle."""
    return value == _LEFT_OUT


def with_user(given: Credentials, user: str, password: str) -> Credentials:
    """Add the user and password of a URL, unless there are others, or a scheme without them."""
    if not user or given.user or given.scheme in _WITHOUT_USER:
        return given
    if given.password_file or given.password_command:
        password = ""
    return replace(given, user=user, password=password)
