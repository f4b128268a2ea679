"""The settings of a server that is copied to: its own credentials, and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from dcmweb.errors import DcmwebError, UsageError
from dcmweb.library.other_side import is_server
from dcmweb.library.profiles import URL, read_profile
from dcmweb.settings import Settings
from dcmweb.settings.base_url import PROFILE_MARK
from dcmweb.settings.credentials import SECRETS, VARIABLES_OF_DESTINATION
from dcmweb.settings.from_options import settings_from
from dcmweb.settings.options import to_destination

# What both servers share, unless the destination has a profile.
_SHARED = ("retries", "retry_time", "connect_timeout", "idle_timeout", "operation_time")
_SHARED_LIMITS = ("requests_per_second", "rate_limit", "batch_bytes", "batch_count")
_CONNECTION = ("ca_bundle", "insecure", "proxy")  # unless the destination has its own


@contextmanager
def named() -> Iterator[None]:
    """Let errors name the options of the destination, not those of the source."""
    try:
        yield
    except DcmwebError as error:
        error.message, error.hint = to_destination(error.message), to_destination(error.hint)
        raise


def read_destination(
    given: Settings | str, first: Settings, values: Mapping[str, Any] | None = None
) -> Settings:
    """Make the settings of the server that is copied to.

    `values` are those of options, by key. Secrets that are given nowhere are in variables of their
    own, such as DCMWEB_TO_PASSWORD: those of the first server are not for the second. Raises
    UsageError if both are the same.
    """
    if isinstance(given, Settings):
        other = given
    elif is_server(given):
        other = _settings(given, first, values or {})
    else:
        raise UsageError(
            f"{given!r} is not a server to copy to",
            "give its URL, which begins with http:// or https://, or @PROFILE",
        )
    if other.base_url == first.base_url:
        raise UsageError("source and destination are the same server", "name another one")
    own = replace(other.credentials, variables=VARIABLES_OF_DESTINATION)
    return replace(other, credentials=own, workers=first.workers, adapts=first.adapts)


def _settings(given: str, first: Settings, values: Mapping[str, Any]) -> Settings:
    if given.startswith(PROFILE_MARK):
        return _of_profile(given.removeprefix(PROFILE_MARK), values)
    other = settings_from(given, values)
    shared = {name: getattr(first, name) for name in (*_SHARED, *_SHARED_LIMITS)}
    shared |= {name: getattr(first, name) for name in _CONNECTION if name not in values}
    return replace(other, **shared)


def _of_profile(name: str, values: Mapping[str, Any]) -> Settings:
    profile = read_profile(name)
    known = {key: value for key, value in profile.values.items() if key != URL}
    known |= profile.secrets
    for secret in SECRETS:
        keys = (secret, f"{secret}_file", f"{secret}_command")
        is_variable = f"{VARIABLES_OF_DESTINATION}{secret.upper()}" in os.environ
        if is_variable or any(key in values for key in keys):
            for key in keys:
                known.pop(key, None)
    from dcmweb.http.auth import without_overridden

    layers = {**dict.fromkeys(known, 0), **dict.fromkeys(values, 1)}
    return settings_from(profile.url, without_overridden(profile.url, {**known, **values}, layers))
