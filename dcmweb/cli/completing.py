"""What completes a command line: commands, files, profiles. UIDs are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from dcmweb.cli.commands import LOCAL, OF_THE_PROGRAM, WITH_SERVER, commands_of
from dcmweb.cli.options import URL_VARIABLE, Invocation
from dcmweb.library import profiles
from dcmweb.settings.base_url import PROFILE_MARK
from dcmweb.settings.credentials import SECRETS
from dcmweb.settings.options import BY_KEY, OPTIONS, Kind

FILE, DIR = "file", "dir"
# Of arguments of a command, by their names.
_OF_ARGUMENTS = {
    ("store", "masks"): FILE,
    ("manifest", "files"): FILE,
    ("report", "files"): FILE,
    ("serve", "folder"): DIR,
}
_RESOURCES = ("studies", "series", "instances")


def first_words(ctx: click.Context, start: str) -> list[CompletionItem]:
    """Return what can follow: commands that go with what is there, or profiles."""
    invocation: Invocation = ctx.obj
    if start.startswith(PROFILE_MARK):
        return [] if invocation.is_addressed else _profiles(start)
    names: list[str] = []
    if invocation.is_addressed or os.environ.get(URL_VARIABLE):
        names += WITH_SERVER
    names += OF_THE_PROGRAM[1:] if invocation.is_addressed else LOCAL
    known = commands_of(ctx)
    found = [
        CompletionItem(name, help=known[name].get_short_help_str(limit=70))
        for name in names
        if name.startswith(start)
    ]
    return found if invocation.is_addressed or start else [*found, *_profiles(start)]


def values(ctx: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Return what a parameter can be."""
    if isinstance(parameter, click.Option):
        return _of_option(parameter, start)
    name = parameter.name or ""
    command = ctx.command_path.removeprefix("dcmweb ")
    if type_ := _OF_ARGUMENTS.get((command, name)):
        return [CompletionItem(start, type=type_)]
    if command.startswith("config "):
        return _of_config(name, start) if command != "config add" else []
    return _of_server_command(ctx, command, start)


def _of_server_command(ctx: click.Context, command: str, start: str) -> list[CompletionItem]:
    if command in ("copy", "check") and start.startswith(PROFILE_MARK):
        return _profiles(start)
    if command == "check" and not ctx.params.get("paths"):
        return [CompletionItem(start, type=FILE)]
    if command == "search" and not ctx.params.get("words"):
        return _plain(_RESOURCES, start)
    return []


def _of_option(option: click.Option, start: str) -> list[CompletionItem]:
    of_table = BY_KEY.get(option.name or "")
    metavar = (option.metavar or "").split("|")[0]
    if (of_table and of_table.kind is Kind.FILE) or metavar == "FILE":
        return [CompletionItem(start, type=FILE)]
    return [CompletionItem(start, type=DIR)] if metavar == "DIR" else []


def _of_config(name: str, start: str) -> list[CompletionItem]:
    if name in ("name", "names", "target"):
        return _plain(profiles.read_profiles(profiles.config_file()), start)
    if name == "key":
        keys = [option.name for option in OPTIONS]
        return _plain([*keys, *(key.replace("_", "-") for key in SECRETS)], start)
    return []


def _profiles(start: str) -> list[CompletionItem]:
    found = profiles.read_profiles(profiles.config_file())
    return _plain([f"{PROFILE_MARK}{name}" for name in found], start)


def _plain(words: Iterable[str], start: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(start)]
