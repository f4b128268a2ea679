"""Writes the command line of a run, without secrets and without values that may name a patient."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Iterable, Iterator

import click
from click.core import ParameterSource

from dcmweb.http.redaction import HIDDEN, is_harmless, without_values
from dcmweb.settings.options import OPTIONS, PATHS, Kind, options_of_destination

MOST_WORDS = 20  # of an argument: a shell may have made thousands of a mask
_BY_KEY = {option.key: option for option in (*OPTIONS, *options_of_destination())}
_SECRET = re.compile(r"command|password|secret|token|key")
_BESIDES = (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def command_line(ctx: click.Context) -> str:
    """Return the command line, with BASE_URL in its place."""
    invocation = ctx.obj
    words = ["dcmweb"]
    if invocation.profile:
        words.append(f"@{invocation.profile.name}")
    elif invocation.base_url:
        words.append(_shown(invocation.base_url))
    words.append(str(ctx.info_name))
    parameters = sorted(ctx.command.params, key=lambda one: isinstance(one, click.Option))
    return " ".join([*words, *_words(ctx, parameters, [ParameterSource.COMMANDLINE])])


def in_force_besides(ctx: click.Context) -> str:
    """Return the options that are set by variables or a profile, as they would be written."""
    return " ".join(_words(ctx, ctx.command.params, _BESIDES))


def _words(
    ctx: click.Context,
    parameters: Iterable[click.Parameter],
    sources: Container[ParameterSource | None],
) -> Iterator[str]:
    for parameter in parameters:
        name = str(parameter.name)
        if ctx.get_parameter_source(name) not in sources:
            continue
        value = ctx.params.get(name)
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(parameter, click.Option):
            for one in values:
                yield from _option(parameter, one)
            continue
        texts = [_argument(ctx, one) for one in values[:MOST_WORDS] if one is not None]
        yield from map(shlex.quote, texts)
        if len(values) > MOST_WORDS:
            yield f"... and {len(values) - MOST_WORDS:,} more"


def _option(parameter: click.Option, value: object) -> Iterator[str]:
    name = max(parameter.opts, key=len)
    if parameter.is_flag:
        yield from [name] if value else parameter.secondary_opts
    elif value is not None:
        yield from (name, shlex.quote(_value(str(parameter.name), str(value))))


def _value(key: str, text: str) -> str:
    """Return the value of an option, unless it is a secret, or may be one."""
    option = _BY_KEY.get(key)
    if option and option.kind is Kind.PAIRS:
        return f"{text.partition(option.separator)[0]}{option.separator}{HIDDEN}"
    if key.endswith("user"):
        return text.partition(":")[0]
    is_place = key.endswith(("_file", "_url")) or (option is not None and option.kind in PATHS)
    if _SECRET.search(key) and not is_place:
        return HIDDEN
    return without_keys(text) if key == "parameters" else _shown(text)


def _argument(ctx: click.Context, value: object) -> str:
    text = str(value)
    return without_keys(text) if ctx.info_name == "search" else _shown(text)


def without_keys(text: str) -> str:
    """Hide the values in what a search is given: a path, `KEY=VALUE`, or several with `&`."""
    path, mark, query = text.partition("?") if "?" in text else ("", "", text)
    if "=" not in query:
        return text
    pairs = [pair.partition("=") for pair in query.split("&")]
    shown = [f"{key}={value if is_harmless(key) else HIDDEN}" for key, _, value in pairs]
    return f"{path}{mark}{'&'.join(shown)}"


def _shown(text: str) -> str:
    """Take the user and the values of a query out of a URL."""
    if "://" in text:
        text = re.sub(r"://.*@", "://", text, flags=re.DOTALL)
    return without_values(text)
