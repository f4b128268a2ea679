"""Options of the command line that are made from the table of options."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from dcmweb.errors import UsageError
from dcmweb.settings.checks import read_size
from dcmweb.settings.credentials import VARIABLES
from dcmweb.settings.options import BY_KEY, OPTIONS, Kind, Option

_Function = TypeVar("_Function", bound=Callable[..., Any])


class TableOption(click.Option):
    """An option that can be given several times has a line for each value in its variable."""

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """Read the variable; values may have spaces in them."""
        text = self.resolve_envvar_value(ctx)
        if text is None or not self.multiple:
            return super().value_from_envvar(ctx)
        return [line for line in text.splitlines() if line.strip()]

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the variable in errors, where the value is from one."""
        source = ctx.get_parameter_source(str(self.name)) if ctx else None
        is_variable = source is ParameterSource.ENVIRONMENT
        return str(self.envvar) if is_variable else super().get_error_hint(ctx)


def _size(value: Any) -> int:
    """Read a number of bytes."""
    try:
        return read_size("it", value)
    except UsageError as error:
        raise click.BadParameter(f"{value!r} is not a size; {error.hint}") from None


def made_from(option: Option) -> Callable[[_Function], _Function]:
    """Return the decorator that adds an option to a command."""
    short = [f"-{option.short}"] if option.short else []
    long = [] if option.name == "parallel" else [f"--{option.name}"]  # that of the old tool: -m
    if option.off:
        long = [f"--{option.name}/--{option.off}"]
    more: dict[str, Any] = {}
    if option.kind is Kind.FLAG:
        more["is_flag"] = True
        more["default"] = None
    else:
        more["type"] = _type_of(option)
        more["metavar"] = option.metavar
        more["multiple"] = option.kind in (Kind.TEXTS, Kind.PAIRS)
    text = option.help
    if option.default is not None:
        text = f"{text.rstrip('.')} ({option.default:g})." if _is_number(option) else text
    return click.option(
        *short, *long, option.key, cls=TableOption, envvar=option.variable, help=text, **more
    )


def common(function: _Function) -> _Function:
    """Add all options of the table that are not those of certain commands."""
    for option in reversed(OPTIONS):
        if not option.commands:
            function = made_from(option)(function)
    return function


def named(name: str) -> Callable[[_Function], _Function]:
    """Return the decorator that adds an option of the table by its name."""
    return made_from(BY_KEY[name.replace("-", "_")])


def variable_of(parameter: click.Option) -> str:
    """Return the environment variable that sets an option, by its longest name."""
    name = max(parameter.opts, key=len).lstrip("-").replace("-", "_")
    return f"{VARIABLES}{name.upper()}"


def is_set(variable: str) -> bool:
    """Return True if a variable is set; an empty one is not, as click has it."""
    return bool(os.environ.get(variable))


def _is_number(option: Option) -> bool:
    return option.kind in (Kind.COUNT, Kind.SECONDS)


def _type_of(option: Option) -> Any:
    if option.choices:
        return click.Choice(option.choices)
    if option.kind is Kind.COUNT:
        return click.IntRange(option.lowest, option.highest)
    if option.kind is Kind.SIZE:
        return _size
    if option.kind in (Kind.SECONDS, Kind.NUMBER):
        return click.FloatRange(min=0, min_open=True)
    return str
