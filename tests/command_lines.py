"""Command lines of dcmweb in texts: taken out of shell lines, and parsed without being run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import click

from dcmweb.cli.app import cli
from dcmweb.cli.console import Console
from dcmweb.cli.options import Invocation

_ENDS = set("|&;<>()")


def commands_in(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of dcmweb in a line for a shell."""
    line = re.sub(r'"\$\((.*?)\)"', r"; \1 ;", line)  # what eval is given
    line = re.sub(r"<\(.*?\)", "/dev/fd/63", line)
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    arguments: list[str] | None = None
    for word in [*reader, ";"]:
        is_end = set(word) <= _ENDS
        if is_end and arguments is not None:
            yield arguments
            arguments = None
        elif arguments is not None:
            arguments.append(word)
        elif word == "dcmweb":
            arguments = []


def check_parses(arguments: list[str]) -> None:
    """Raise what the command line would for arguments that it does not understand."""
    invocation = Invocation(Console())
    invocation.go_to = _taking_any(invocation)  # type: ignore[method-assign]
    with cli.make_context("dcmweb", list(arguments), obj=invocation) as root:
        ctx: click.Context = root
        command: click.Command = cli
        rest: list[str] = [*ctx._protected_args, *ctx.args]
        while isinstance(command, click.Group) and rest:
            _, found, rest = command.resolve_command(ctx, rest)
            assert found
            command = found
            ctx = command.make_context(command.name, rest, parent=ctx)
            rest = [*ctx._protected_args, *ctx.args] if isinstance(command, click.Group) else []


def _taking_any(invocation: Invocation) -> Any:
    """Take a profile for granted."""

    def go_to(given: str) -> None:
        invocation.base_url = given

    return go_to
