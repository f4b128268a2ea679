"""`dcmweb help` and `dcmweb version`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dcmweb import __version__
from dcmweb.cli.command import Command
from dcmweb.cli.commands import commands_of
from dcmweb.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

OPTIONS = "options"  # a page of help that is not that of a command


def _topics(ctx: click.Context, _parameter: click.Parameter, start: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    names = [*commands_of(ctx.find_root()), OPTIONS]
    return [CompletionItem(name) for name in names if name.startswith(start)]


@click.command(cls=Command, name="help")
@click.argument("words", nargs=-1, metavar="[COMMAND]", shell_complete=_topics)
@click.pass_context
def help(ctx: click.Context, /, words: Sequence[str]) -> int:
    """Show the help of a command; without a COMMAND, what commands there are."""
    from dcmweb.cli.help_page import options_page, page_of, written

    found = ctx.find_root()
    page = options_page(found) if list(words) == [OPTIONS] else page_of(_find(found, words))
    ctx.obj.console.data(written(page))
    return 0


def _find(ctx: click.Context, words: Sequence[str]) -> click.Context:
    """Return the context of the command that words name. Raises UsageError."""
    for word in words:
        known = commands_of(ctx)
        if not known:
            raise UsageError(f"{ctx.command_path} has no commands of its own")
        if word not in known:
            from dcmweb.cli.suggestions import unknown_command

            raise unknown_command(word, known, ctx.command_path)
        ctx = click.Context(known[word], parent=ctx, info_name=word)
    return ctx


@click.command(cls=Command)
@click.pass_context
def version(ctx: click.Context, /) -> int:
    """Print the version."""
    ctx.obj.console.data(f"dcmweb {__version__}")
    return 0
