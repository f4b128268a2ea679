"""What was probably meant, where a command or an option is not known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import click

from dcmweb.cli.commands import LOCAL, WITH_SERVER
from dcmweb.errors import UsageError

# A slip of the fingers must not lead to these: they give up a check, or answer a question.
NEVER_SUGGESTED = frozenset({"--insecure", "--to-insecure", "--max", "--unchecked", "--yes"})


def unknown_command(word: str, known: Iterable[str], place: str) -> UsageError:
    """Make the error for a word that is not one of the known commands."""
    near = get_close_matches(word.lower(), list(known), 1)
    hint = f"did you mean {near[0]}?" if near else f"see {place} --help"
    return UsageError(f"No such command: {word}", hint)


def neither_command_nor_url(word: str) -> UsageError:
    """Make the error for a first word that is not a command, and does not look like a BASE_URL."""
    known = [*WITH_SERVER, *LOCAL]
    near = get_close_matches(word.lower(), known, 1)
    hint = f"did you mean {near[0]}?" if near else "see dcmweb --help"
    return UsageError(f"{word} is not a command, nor a BASE_URL", hint)


def unknown_option(error: click.NoSuchOption, root: click.Group) -> UsageError:
    """Make the error for an option that a command does not have."""
    ctx, name = error.ctx, error.option_name
    words = f"No such option: {name}"
    if ctx is None:
        return UsageError(words, "see dcmweb --help")
    owners = list(_owners(name, root))
    if owners:
        place = "; write it after the command" if ctx.command is root else ""
        return UsageError(words, f"it is an option of {_listed(owners)}{place}")
    near = get_close_matches(name, [one for one in _names(ctx.command) if one.startswith("--")], 1)
    if near and near[0] not in NEVER_SUGGESTED:
        return UsageError(words, f"did you mean {near[0]}?")
    return UsageError(words, f"see {ctx.command_path} --help")


def _names(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield from parameter.opts
    yield "--help"


def _owners(name: str, root: click.Group) -> Iterator[str]:
    """Yield the commands that have an option."""
    if name.startswith("--"):
        yield from (word for word, one in root.commands.items() if name in _names(one))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
