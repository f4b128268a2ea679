"""Commands and groups of them, with the help that both have.

A command takes no empty values: an unset variable of a script is not "everything".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.table_options import variable_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Text(click.types.StringParamType):
    """Text, completed by what the parameter means."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what the text may be."""
        from dcmweb.cli.completing import values

        return values(ctx, param, incomplete)


_TEXT = _Text()


class OptionAlone(click.Option):
    """An option that no variable sets: a run that is begun again must mean the same."""


class _WithPage(click.Command):
    """A command whose help is a page of help."""

    def get_help(self, ctx: click.Context) -> str:
        """Write the page of help."""
        from dcmweb.cli.help_page import page_of, written

        return written(page_of(ctx))


class CommandGroup(_WithPage, click.Group):
    """A group of commands that suggests a command for one that is not known."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name. Raises UsageError with what was probably meant."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            if ctx.resilient_parsing:
                return None, None, args[1:]
            from dcmweb.cli.suggestions import unknown_command

            raise unknown_command(args[0], self.commands, ctx.command_path)
        return super().resolve_command(ctx, args)


class Command(_WithPage):
    """A click command whose arguments and options are never empty or blank text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if parameter.type is click.STRING:
                parameter.type = _TEXT
            if isinstance(parameter, OptionAlone) or not isinstance(parameter, click.Option):
                continue
            if not parameter.envvar:
                parameter.envvar = variable_of(parameter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for an empty value."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            values = value if isinstance(value, tuple) else (value,)
            if any(isinstance(one, str) and not one.strip() for one in values):
                name = parameter.opts[0] if isinstance(parameter, click.Option) else "an argument"
                raise click.UsageError(f"{name} is empty; is a variable unset?", ctx)
        return rest
