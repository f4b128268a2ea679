"""Secrets for worker processes: by reference where they can be read there, else by value.

Settings leave out secrets when they are pickled. What was given as a value goes along here, and
only where nobody else can read it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

from dcmweb.errors import UsageError
from dcmweb.library.profiles import read_profile
from dcmweb.settings import Credentials, Settings
from dcmweb.settings.credentials import SECRETS, is_reference
from dcmweb.settings.options import BY_KEY, Kind
from dcmweb.settings.proxy_url import without_login

_PAIRS = {"headers": "--header", "query": "--query", "options": "--auth-option"}


@dataclass(frozen=True, repr=False)
class HandedSecrets:
    """What settings lack after they were pickled: values, and secrets that are in a profile."""

    values: dict[str, Any] = field(default_factory=dict)
    proxy: str = ""
    profile: str = ""
    of_profile: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, profile: str, *, is_private: bool, on: str) -> HandedSecrets:
        """Find the secrets of settings. Raises UsageError if one would be sent in clear."""
        given = settings.credentials
        known = read_profile(profile).secrets if profile else {}
        values: dict[str, Any] = {}
        of_profile = []
        for name in SECRETS:
            secret = given.secret(name)
            if secret.value and known.get(name) == secret.value:
                of_profile.append(name)
            elif secret.value:
                values[name] = secret.value
            elif is_private and not (secret.file or secret.command):
                values |= {name: os.environ[secret.variable]} if secret.is_given else {}
        for name in _PAIRS:
            pairs = getattr(given, name)
            if any(not is_reference(value) for _, value in pairs):
                values[name] = pairs
        proxy = settings.proxy if settings.proxy != without_login(settings.proxy) else ""
        if not is_private and (values or proxy):
            raise _in_clear(values, on)
        return cls(values, proxy, profile, tuple(of_profile))

    def added_to(self, settings: Settings) -> Settings:
        """Return settings with the secrets. Raises UsageError if there is no such profile here."""
        values = dict(self.values)
        if self.of_profile:
            known = read_profile(self.profile).secrets
            for name in self.of_profile:
                if name not in known:
                    raise UsageError(f"profile {self.profile} has no {name.replace('_', '-')}")
                values[name] = known[name]
        credentials: Credentials = replace(settings.credentials, **values)
        return replace(settings, credentials=credentials, proxy=self.proxy or settings.proxy)


def _in_clear(values: dict[str, Any], on: str) -> UsageError:
    """Say which secret cannot be sent, and how to give it instead."""
    name = next(iter(values), "")
    if name in SECRETS:
        option = name.replace("_", "-")
        what = f"the {name.replace('_', ' ')}"
        instead = f"let the workers read it: --{option}-file, or DCMWEB_{name.upper()} there"
    elif name:
        what, instead = f"the value of {_PAIRS[name]}", "give it as @FILE or $NAME"
    else:
        what, instead = "the password of the proxy", "set HTTPS_PROXY on the workers"
    return UsageError(
        f"{what} would go to the workers in clear by {on}", f"{instead}; or use tls://"
    )


def with_whole_paths(settings: Settings) -> Settings:
    """Return settings whose files have paths that do not depend on the current folder."""
    credentials = settings.credentials
    changed: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for option in BY_KEY.values():
        if option.kind is not Kind.FILE or not option.field:
            continue
        owner = credentials if hasattr(credentials, option.field) else settings
        if path := getattr(owner, option.field):
            (own if owner is credentials else changed)[option.field] = os.path.abspath(path)
    for name in _PAIRS:
        own[name] = tuple(
            (key, f"@{os.path.abspath(value[1:])}" if value[:1] == "@" and value[1:] else value)
            for key, value in getattr(credentials, name)
        )
    return replace(settings, credentials=replace(credentials, **own), **changed)
