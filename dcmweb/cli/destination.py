"""Options of the server that is copied to: credentials, and how it is connected to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from dcmweb.cli import table_options
from dcmweb.cli.options import ask_for_passwords, check_file, take_password_of_user
from dcmweb.errors import UsageError
from dcmweb.settings import Settings
from dcmweb.settings.base_url import PROFILE_MARK
from dcmweb.settings.credentials import SECRETS, VARIABLES_OF_DESTINATION
from dcmweb.settings.options import BY_KEY, TO, Kind, options_of_destination

_Function = TypeVar("_Function", bound=Callable[..., Any])
_PREFIX = TO.replace("-", "_")


def destination_options(function: _Function) -> _Function:
    """Add the options of the server that is copied to."""
    for option in reversed(options_of_destination()):
        function = table_options.made_from(option)(function)
    return function


def read_destination(
    ctx: click.Context, first: Settings, given: str, options: dict[str, Any]
) -> tuple[Settings, str]:
    """Take out the options of the destination; return its settings, and Orthanc's REST API there.

    Options count before variables, and variables before its profile.
    """
    from dcmweb.library import destination

    values = {
        option.key.removeprefix(_PREFIX): options.pop(option.key)
        for option in options_of_destination()
    }
    values = {key: value for key, value in values.items() if value is not None and value != ()}
    for key, value in values.items():
        if BY_KEY[key].kind is Kind.FILE:
            check_file(BY_KEY[key], value, f"{TO}{BY_KEY[key].name}")
    for name in SECRETS:
        _drop_variables(ctx, name, values)
    take_password_of_user(values)
    profile = of_profile(given)
    orthanc_api = values.get("orthanc_api") or profile.get("orthanc_api", "")
    if not profile:
        values = ask_for_passwords(given, values, VARIABLES_OF_DESTINATION)
    with destination.named():
        return destination.read_destination(given, first, values), str(orthanc_api)


def of_profile(given: str) -> dict[str, Any]:
    """Return the values of the profile that is named in place of a URL; none for a URL."""
    from dcmweb.library import profiles

    if not given.startswith(PROFILE_MARK):
        return {}
    return dict(profiles.read_profile(given.removeprefix(PROFILE_MARK)).values)


def _drop_variables(ctx: click.Context, name: str, values: dict[str, Any]) -> None:
    """Where an option gives a secret, leave out what variables say of it."""
    keys = [key for key in (f"{name}_file", f"{name}_command") if key in values]
    sources = {key: ctx.get_parameter_source(f"{_PREFIX}{key}") for key in keys}
    if ParameterSource.COMMANDLINE in sources.values():
        for key in keys:
            if sources[key] is not ParameterSource.COMMANDLINE:
                del values[key]
    elif keys and f"{VARIABLES_OF_DESTINATION}{name.upper()}" in os.environ:
        words = name.replace("_", " ")
        raise UsageError(f"variables give the {words} in two ways", "set one of them only")
