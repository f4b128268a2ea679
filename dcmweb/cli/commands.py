"""The commands by name. Each is imported when it is used, since every call pays for start-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module

import click

WITH_SERVER = ("store", "search", "retrieve", "delete", "copy", "check", "wait", "ping")
OF_THE_PROGRAM = ("completion", "help", "version")
# Which take no BASE_URL.
LOCAL = ("config", "manifest", "report", "serve", "demo", *OF_THE_PROGRAM)

_MODULES = {"help": "about", "version": "about"}  # of commands that have none of their own


class Commands(MutableMapping[str, click.Command]):
    """Commands by name, in the way that click keeps them; each has a module of its own."""

    def __init__(self) -> None:
        self._names = [*WITH_SERVER, *LOCAL]

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        command: click.Command = getattr(
            import_module(f"dcmweb.cli.{_MODULES.get(name, name)}"), name
        )
        return command

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError("commands are modules of dcmweb.cli")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are modules of dcmweb.cli")


def commands_of(ctx: click.Context) -> Mapping[str, click.Command]:
    """Return the commands of a group by name; none for a command that is not a group."""
    return ctx.command.commands if isinstance(ctx.command, click.Group) else {}
