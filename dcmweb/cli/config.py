"""`dcmweb config`: the profiles, and what is in force."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from dcmweb.cli.command import Command, CommandGroup
from dcmweb.cli.options import URL_VARIABLE, Invocation, common_options, in_force
from dcmweb.cli.table_options import is_set
from dcmweb.errors import ItemsFailed, UsageError
from dcmweb.library import profile_file, profiles
from dcmweb.library.profiles import URL, Profile
from dcmweb.settings.base_url import PROFILE_MARK, parse_base_url
from dcmweb.settings.credentials import SECRETS, is_reference
from dcmweb.settings.from_options import pair_of
from dcmweb.settings.options import BY_KEY, OPTIONS, PATHS, Kind, Option

MASKED = "***"


@click.group(cls=CommandGroup, name="config", invoke_without_command=True)
@click.pass_context
def config(ctx: click.Context) -> int:
    """List, show, add, change and check profiles: servers by name.

    Without a command, list the profiles.
    """
    return 0 if ctx.invoked_subcommand else _list(ctx.obj)


def _name(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    return value and profile_file.profile_name(value)


@config.command(cls=Command, name="list")
@click.pass_obj
def list_profiles(invocation: Invocation) -> int:
    """List the profiles, with the URL of each."""
    return _list(invocation)


def _list(invocation: Invocation) -> int:
    file = profiles.config_file()
    found = profiles.read_profiles(file)
    invocation.console.note(f"{len(found)} profile{'s' * (len(found) != 1)} in {file}")
    width = max(map(len, found), default=0)
    for name, profile in found.items():
        invocation.console.data(f"{name:{width}}  {_without_password(profile.values.get(URL, ''))}")
    return 0


class _Showing(Command):
    """A command that knows, before it reads its options, which profile it is about."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the profile first, since options fall back on it."""
        if not ({"--help", "-h"} & set(args) or ctx.resilient_parsing):
            named = self.make_parser(ctx).parse_args(list(args))[0].get("target")
            named = named if isinstance(named, str) else ""  # click has a value for "not given"
            given = named or os.environ.get(URL_VARIABLE, "")
            if not given:
                raise UsageError("there is no profile to show", "name one: dcmweb config show NAME")
            invocation: Invocation = ctx.obj
            is_name = "://" not in given and not given.startswith(PROFILE_MARK)
            invocation.go_to(f"{PROFILE_MARK}{given}" if is_name else given)
            ctx.default_map = dict(invocation.profile.values) if invocation.profile else {}
        return super().parse_args(ctx, args)


@config.command(cls=_Showing)
@click.argument("target", required=False, metavar="NAME|URL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_context
def show(ctx: click.Context, /, target: str | None, as_json: bool, **options: Any) -> int:  # noqa: ARG001
    """Show what is in force for a profile or URL, and where each value comes from.

    Secrets are not shown. Options are those of other commands, to see what they change.
    """
    invocation: Invocation = ctx.obj
    rows = list(_rows(ctx, {key: options[key] for key in BY_KEY if key in options}))
    if as_json:
        invocation.console.data(
            json.dumps({name: {"value": value, "from": origin} for name, value, origin in rows})
        )
        return 0
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        invocation.console.data(f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}")
    return 0


def _rows(ctx: click.Context, given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each option in force: its name, its value in words, and where that comes from."""
    invocation: Invocation = ctx.obj
    profile = invocation.profile
    origin = f"profile {profile.name}, line {profile.lines[URL]}" if profile else ""
    yield URL, _without_password(invocation.base_url), origin or "given"
    values = in_force(ctx, given)
    for option in OPTIONS:
        if option.key in values:
            yield option.name, _shown(option, values[option.key]), _origin(ctx, option, profile)
        elif option.default is not None:
            yield option.name, f"{option.default:g}", "default"
    for key in SECRETS:
        name = key.replace("_", "-")
        is_read = any(f"{key}_{way}" in values for way in ("file", "command"))
        if profile and key in values and key in profile.secrets:
            yield name, MASKED, f"profile {profile.name}, line {profile.lines[key]}"
        elif not is_read and is_set(f"DCMWEB_{key.upper()}"):
            yield name, MASKED, f"variable DCMWEB_{key.upper()}"


def _origin(ctx: click.Context, option: Option, profile: Profile | None) -> str:
    source = ctx.get_parameter_source(option.key)
    if source is ParameterSource.ENVIRONMENT:
        return f"variable {option.variable}"
    if source is ParameterSource.DEFAULT_MAP and profile:
        return f"profile {profile.name}, line {profile.lines[option.key]}"
    return "option" if source is ParameterSource.COMMANDLINE else "default"


def _shown(option: Option, value: Any) -> str:
    if option.kind is Kind.FLAG:
        return str(value).lower()
    if option.kind is Kind.PAIRS:
        pairs = (pair_of(option, text) for text in value)
        return ", ".join(f"{n}: {v if is_reference(v) else MASKED}" for n, v in pairs)
    if option.kind is Kind.TEXTS:
        return ", ".join(value)
    if option.kind in (Kind.SECONDS, Kind.NUMBER):
        return f"{value:g}"
    return _without_password(str(value)) if "://" in str(value) else str(value)


def _without_password(url: str) -> str:
    """Return a URL with its password masked."""
    scheme, separator, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}{separator}{name}{colon}{MASKED if colon else ''}{at}{host}"


@config.command(cls=Command)
@click.argument("name", callback=_name)
@click.argument("url")
@common_options
@click.pass_context
def add(ctx: click.Context, /, name: str, url: str, **options: Any) -> int:
    """Add a profile: its name, the URL of the service, and options as other commands have them."""
    parse_base_url(url)
    given = {
        option.name: _as_written(option, options[option.key])
        for option in OPTIONS
        if option.key in options
        and ctx.get_parameter_source(option.key) is ParameterSource.COMMANDLINE
    }
    file = profiles.config_file()
    profile_file.add(file, name, {URL: url, **given})
    return _said(ctx.obj, f"added to {file}: try it with `dcmweb @{name} ping`", name)


def _as_written(option: Option, value: Any) -> Any:
    """Return a value as the file has it; paths are written so that they hold everywhere."""
    if option.kind in (Kind.TEXTS, Kind.PAIRS):
        return list(value)
    return os.path.abspath(value) if option.kind in PATHS else value


@config.command(cls=Command, name="set")
@click.argument("name", callback=_name)
@click.argument("key")
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.pass_obj
def set_value(invocation: Invocation, name: str, key: str, values: Sequence[str]) -> int:
    """Set a key of a profile. A secret is asked for, or read from stdin."""
    file = profiles.config_file()
    profile_file.set_values(file, name, {key: _value(key, values)})
    return _said(invocation, f"{key} set in {file}", name)


def _value(key: str, values: Sequence[str]) -> Any:
    """Read the value of a key as the file has it. Raises UsageError."""
    python_key = key.replace("-", "_")
    if python_key in SECRETS:
        if values:
            raise UsageError(
                f"a {key} on the command line is seen by others", "leave it out: it is asked for"
            )
        return _asked(key)
    if python_key == URL and len(values) == 1:
        parse_base_url(values[0], URL)
        return values[0]
    option = BY_KEY.get(python_key)
    if option is None:
        raise UsageError(f"there is no option {key}", profiles.meant(python_key))
    if not values or (len(values) > 1 and option.kind not in (Kind.TEXTS, Kind.PAIRS)):
        raise UsageError(f"{key} takes one value", "put it in quotes")
    return _typed(option, values)


def _typed(option: Option, values: Sequence[str]) -> Any:
    if option.kind in (Kind.TEXTS, Kind.PAIRS):
        return list(values)
    text = values[0]
    try:
        if option.kind is Kind.FLAG:
            return {"true": True, "false": False}[text.lower()]
        if option.kind is Kind.COUNT:
            return int(text)
        if option.kind in (Kind.SECONDS, Kind.NUMBER):
            return float(text)
    except (ValueError, KeyError):
        raise UsageError(f"{option.name} is {text!r}", f"give {option.kind.value}") from None
    return os.path.abspath(text) if option.kind in PATHS else text


def _asked(key: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(key, hide_input=True, err=True))
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise UsageError(f"there is no {key} on stdin")
    return text


@config.command(cls=Command)
@click.argument("name", callback=_name)
@click.argument("key")
@click.pass_obj
def unset(invocation: Invocation, name: str, key: str) -> int:
    """Remove a key of a profile."""
    file = profiles.config_file()
    profile_file.set_values(file, name, {key: None})
    return _said(invocation, f"{key} removed in {file}", name)


@config.command(cls=Command)
@click.argument("name", callback=_name)
@click.pass_obj
def remove(invocation: Invocation, name: str) -> int:
    """Remove a profile."""
    file = profiles.config_file()
    profile_file.remove(file, name)
    return _said(invocation, f"removed from {file}", name)


@config.command(cls=Command)
@click.pass_obj
def edit(invocation: Invocation) -> int:
    """Open the file of profiles in an editor (VISUAL, EDITOR), and check it afterwards."""
    file = profiles.config_file()
    profile_file.make(file)
    try:
        click.edit(filename=file)
    except click.ClickException as error:
        raise UsageError(f"the editor failed: {error.message}", "set EDITOR") from None
    found = profiles.read_profiles(file)
    return _said(invocation, f"{file} is in order: {', '.join(found) or 'no profiles'}")


@config.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def check(invocation: Invocation, names: Sequence[str]) -> int:
    """Check profiles without connecting: the file, the values, and the files they name.

    `dcmweb @NAME ping` connects.
    """
    file = profiles.config_file()
    found = profiles.read_profiles(file)
    chosen = [profiles.read_profile(profile_file.profile_name(name)) for name in names]
    problems = 0
    for profile in chosen or found.values():
        for problem in profiles.problems(profile):
            invocation.console.line(f"{profile.name}: {problem}")
            problems += 1
    if problems:
        raise ItemsFailed(f"{file}: {problems} problem{'s' * (problems != 1)}")
    return _said(invocation, f"{file} is in order: {', '.join(found) or 'no profiles'}")


def _said(invocation: Invocation, words: str, name: str = "") -> int:
    invocation.console.line(f"profile {name} {words}" if name else words)
    return 0
