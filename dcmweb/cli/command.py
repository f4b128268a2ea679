"""A command that takes no empty values: an unset variable of a script is not "everything"."""

from __future__ import annotations

from typing import Any

import click

from dcmweb.cli.table_options import variable_of


class OptionAlone(click.Option):
    """An option that no variable sets: a run that is begun again must mean the same."""


class Command(click.Command):
    """A click command whose arguments and options are never empty or blank text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
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
