"""Options that all commands share, and the settings made from them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from dcmweb.cli import table_options
from dcmweb.cli.console import Console
from dcmweb.cli.text import visible
from dcmweb.errors import DcmwebError, UsageError
from dcmweb.settings import AuthScheme, Settings
from dcmweb.settings.base_url import PROFILE_MARK, parse_base_url
from dcmweb.settings.credentials import SECRETS, VARIABLES
from dcmweb.settings.from_options import settings_from
from dcmweb.settings.options import BY_KEY, Kind, Option
from dcmweb.transfer.stop import Stop

if TYPE_CHECKING:
    from dcmweb.library.profiles import Profile

_Function = TypeVar("_Function", bound=Callable[..., Any])

URL_VARIABLE = "DCMWEB_URL"
SHELL_VARIABLE = "_DCMWEB_COMPLETE"  # has the name of a shell that asks how a line may go on


class Invocation:
    """One call of the command line: where it goes, who sees it, what stops it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.base_url = ""
        self.is_addressed = False  # by a BASE_URL or profile on the command line
        self.profile: Profile | None = None
        self.stop = Stop()

    def go_to(self, given: str) -> None:
        """Take BASE_URL, or the profile that is named in its place."""
        if given.startswith(PROFILE_MARK):
            from dcmweb.library.profiles import read_profile

            self.profile = read_profile(given.removeprefix(PROFILE_MARK))
            given = self.profile.url
        self.base_url = given


_LOGGING = [
    click.option(
        "-q", "--quiet", is_flag=True, help="Print only what went wrong; nothing if all went well."
    ),
    click.option(
        "--brief",
        is_flag=True,
        help="Print no line for each item that went well: only the start, what failed, how far the "
        "run is, and the summary.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Print every request and retry."),
    click.option(
        "--debug",
        is_flag=True,
        help="Also print the headers of every request and answer, without secrets.",
    ),
]


def common_options(function: _Function) -> _Function:
    """Add the options that all commands share."""
    function = table_options.common(function)
    for option in reversed(_LOGGING):
        function = option(function)
    return function


def with_client(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the invocation and a client instead of the options that all commands share."""

    @common_options
    @click.pass_context
    @functools.wraps(function)
    def command(ctx: click.Context, /, **options: Any) -> int:
        invocation: Invocation = ctx.obj
        names = ("quiet", "brief", "verbose", "debug")
        quiet, brief, verbose, debug = (options.pop(name) for name in names)
        if quiet and (brief or verbose or debug):
            raise UsageError("-q cannot be combined with --brief, -v or --debug", "choose one")
        console = invocation.console
        console.quiet, console.brief = quiet, brief
        level = "DEBUG" if debug else "INFO" if verbose else ""
        if path := options.get("log_file"):
            from dcmweb.cli.run_log import start_log

            start_log(ctx, path, level=level)
        if invocation.profile:
            _warn_of_readers(console, invocation.profile)
        if level:
            console.show_log(level)
        shared = {key: options.pop(key) for key in _OF_SETTINGS if key in options}
        if not invocation.base_url:
            raise UsageError(
                "there is no BASE_URL", f"give it before the command, or set {URL_VARIABLE}"
            )
        from dcmweb.library.base import find_root
        from dcmweb.library.client import Client

        with closing(
            Client.of(
                _settings(ctx, shared),
                on_note=console.note,
                on_progress=console.tick,
                stop=invocation.stop,
                run_id=console.marks.run,
            )
        ) as client:
            client.profile = invocation.profile.name if invocation.profile else ""
            try:
                return function(invocation, client, **options)
            except DcmwebError as error:
                if root := find_root(client, error):
                    error.hint = f"the DICOMweb service is at {root}: give that as BASE_URL"
                raise

    return command


def of_command_line(key: str, words: str) -> None:
    """Raise UsageError if an option is given on the command line, where it is of no use.

    Variables and profiles are for other commands as well.
    """
    if click.get_current_context().get_parameter_source(key) is ParameterSource.COMMANDLINE:
        raise UsageError(f"--{key.replace('_', '-')} is of no use here: {words}", "leave it out")


def _refuse_unchecked_bundle(ctx: click.Context) -> None:
    given = [ctx.get_parameter_source(key) for key in ("insecure", "ca_bundle")]
    if ctx.params.get("insecure") and given == [ParameterSource.COMMANDLINE] * 2:
        raise UsageError(
            "--insecure checks no certificate, so --ca-bundle is of no use", "choose one"
        )


def _warn_of_readers(console: Console, profile: Profile) -> None:
    from dcmweb.library.profiles import holds_secrets, others_can_read

    if holds_secrets(profile) and others_can_read(profile.file):
        console.note(
            f"Please note: others can read {profile.file}, and profile {profile.name} in it holds "
            f"a secret: run chmod 600 {profile.file}"
        )


# Those of all commands, and those of certain ones that settings are made of.
_OF_SETTINGS = tuple(key for key, option in BY_KEY.items() if option.field or not option.commands)


def _is_readable(path: str) -> bool:
    """Return True if there is a file or a pipe of this name, rather than a folder."""
    return os.path.exists(path) and not os.path.isdir(path)


def _settings(ctx: click.Context, shared: Mapping[str, Any]) -> Settings:
    """Make settings of options, variables and the profile; ask for passwords that are missing."""
    invocation: Invocation = ctx.obj
    _refuse_unchecked_bundle(ctx)
    values = in_force(ctx, shared)
    return settings_from(invocation.base_url, ask_for_passwords(invocation.base_url, values))


def in_force(ctx: click.Context, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options, and of secrets that a profile holds, by their keys.

    Options count before variables, and variables before the profile.
    """
    invocation: Invocation = ctx.obj
    values = {key: value for key, value in shared.items() if value is not None and value != ()}
    for key, value in values.items():
        option = BY_KEY[key]
        if option.kind is Kind.FILE:
            check_file(option, value, option.name)
    for name in SECRETS:
        _choose_source(ctx, invocation.profile, name, values)
    _refuse_two_passwords(ctx, values)
    take_password_of_user(values)
    from dcmweb.http.auth import without_overridden

    sources = {key: ctx.get_parameter_source(key) for key in values}
    layers = {key: _LAYERS.get(source, 0) if source else 0 for key, source in sources.items()}
    return without_overridden(invocation.base_url, values, layers)


_LAYERS = {ParameterSource.ENVIRONMENT: 1, ParameterSource.COMMANDLINE: 2}  # 0 is the profile


def _refuse_two_passwords(ctx: click.Context, values: Mapping[str, Any]) -> None:
    """Raise UsageError for a password with the user beside another one, both in the same layer."""
    layer = ctx.get_parameter_source("user")
    if values.get("user", "").partition(":")[2] and layer is not ParameterSource.DEFAULT_MAP:
        for key in ("password_file", "password_command"):
            if key in values and ctx.get_parameter_source(key) is layer:
                raise UsageError("the password is given in two ways", "write --user NAME alone")


def check_file(option: Option, value: str, name: str) -> None:
    """Raise UsageError if the file that an option names is not there."""
    is_there = os.path.exists if option.key == "ca_bundle" else _is_readable
    if not is_there(value):
        raise UsageError(f"--{name}: there is no file {value}")


def _choose_source(
    ctx: click.Context, profile: Profile | None, name: str, values: dict[str, Any]
) -> None:
    """Keep of the sources of a secret those of the first layer that has any.

    The layers are options, variables and the profile.
    """
    keys = [key for key in (f"{name}_file", f"{name}_command") if key in values]
    layers = {key: ctx.get_parameter_source(key) for key in keys}
    of_profile = profile.secrets.get(name) if profile else None
    for layer in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        chosen = [key for key in keys if layers[key] is layer]
        is_variable = layer is ParameterSource.ENVIRONMENT and _is_set(name)
        if chosen and is_variable:
            words = name.replace("_", " ")
            raise UsageError(f"variables give the {words} in two ways", "set one of them only")
        if chosen or is_variable:
            for key in keys:
                if key not in chosen:
                    del values[key]
            return
    if of_profile:
        values[name] = of_profile


def _is_set(secret: str, variables: str = VARIABLES) -> bool:
    return f"{variables}{secret.upper()}" in os.environ


def take_password_of_user(values: dict[str, Any]) -> None:
    """Read `NAME:PASSWORD`, which the old tools have."""
    user, separator, password = values.get("user", "").partition(":")
    if separator and user:
        values["user"] = user
        if password:
            for key in ("password_file", "password_command"):
                values.pop(key, None)
            values["password"] = password


def ask_for_passwords(
    base_url: str, values: dict[str, Any], variables: str = VARIABLES
) -> dict[str, Any]:
    """Ask in a terminal for the passwords that are not known: of a user, of a private key."""
    user, password = values.get("user", ""), ""
    if not user:
        _, user, password = parse_base_url(base_url)
    scheme = values.get("auth", AuthScheme.AUTO.value)
    if user and not password and scheme in _WITH_PASSWORD:
        _ask(values, "password", f"Password of {visible(user)}", variables)
    if (cert := values.get("cert", "")) and sys.stdin.isatty():
        from dcmweb.http.client_certificate import needs_password

        key = values.get("key", "")
        if needs_password(cert, key):
            words = f"Password of the private key in {visible(key or cert)}"
            _ask(values, "key_password", words, variables)
    return values


_WITH_PASSWORD = (AuthScheme.AUTO.value, AuthScheme.BASIC.value, AuthScheme.DIGEST.value)


def _ask(values: dict[str, Any], name: str, words: str, variables: str) -> None:
    is_known = any(values.get(f"{name}{end}") for end in ("", "_file", "_command"))
    if not is_known and not _is_set(name, variables) and sys.stdin.isatty():
        values[name] = str(click.prompt(words, hide_input=True, err=True))
