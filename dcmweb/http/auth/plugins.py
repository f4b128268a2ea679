"""Schemes of authentication that other packages bring, by entry points of `dcmweb.auth`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from requests.auth import AuthBase

from dcmweb.errors import DcmwebError, UsageError
from dcmweb.http.auth.base import Authentication
from dcmweb.http.auth.challenge import ChallengeAuth
from dcmweb.http.auth.scheme_arguments import SchemeArguments
from dcmweb.http.auth.secrets import read_reference
from dcmweb.settings import AuthScheme, Settings

GROUP = "dcmweb.auth"


def load(settings: Settings) -> Authentication:
    """Make the authentication of a scheme that is not one of ours.

    Raises UsageError if no package has it, or the one that has it fails.
    """
    given = settings.credentials
    scheme = str(given.scheme)
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if scheme not in installed:
        raise UsageError(f"there is no authentication {scheme!r}", _known(installed))
    point = installed[scheme]
    owner = f"--auth {scheme}, of the package {_package(point)},"
    options = {
        name: read_reference(value, f"--auth-option {name}") for name, value in given.options
    }
    arguments = SchemeArguments(settings.base_url, options, given)
    arguments.secrets.extend(options.values())
    try:
        made = point.load()(arguments)
    except DcmwebError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise UsageError(f"{owner} failed: {_hidden(said, arguments.secrets)}") from error
    return _as_authentication(made, owner, tuple(arguments.secrets))


def _as_authentication(made: Any, owner: str, secrets: tuple[str, ...]) -> Authentication:
    if isinstance(made, Authentication):
        return made
    if isinstance(made, AuthBase):
        return ChallengeAuth(made, owner, f"whom {owner} names", secrets)
    raise UsageError(f"{owner} made a {type(made).__name__}", "it must be a requests.auth.AuthBase")


def _hidden(text: str, secrets: list[str]) -> str:
    """Hide secrets in a text; values of options may be some."""
    for value in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(value, "...")
    return text


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value.partition(":")[0]


def _known(installed: Mapping[str, EntryPoint]) -> str:
    known = f"dcmweb has {', '.join(one.value for one in AuthScheme)}"
    others = ", ".join(sorted(installed)) or "none"
    return f"{known}; installed packages have: {others}"
