"""What another package is given to make an authentication of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcmweb.http.auth.secrets import SecretReader
from dcmweb.settings import Credentials


@dataclass(frozen=True)
class SchemeArguments:
    """What the callable of an entry point is given to make an authentication of.

    `base_url` is the root of the service, `options` what `--auth-option NAME=VALUE` gave, with
    `@FILE` and `$NAME` read, and `credentials` everything else that the user gave. `secret` reads a
    password or token, wherever it is kept.
    """

    base_url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Credentials = field(default_factory=Credentials)
    secrets: list[str] = field(default_factory=list, repr=False)  # those that were read

    def secret(self, name: str) -> str:
        """Read a secret: `password`, `token`, `client_secret` or `key_password`.

        Raises UsageError if it is nowhere, AuthError if it cannot be read.
        """
        found = SecretReader(self.credentials.secret(name)).read()
        self.secrets.append(found)
        return found
