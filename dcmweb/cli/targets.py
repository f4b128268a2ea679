"""Paths of resources on the command line: given by position, by option, or in a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dcmweb.cli.lists import STDIN
from dcmweb.errors import UsageError

_Function = TypeVar("_Function", bound=Callable[..., Any])


def target_options(verb: str, metavar: str) -> Callable[[_Function], _Function]:
    """Add the argument and the options that name resources to a command."""
    options = [
        click.argument("paths", nargs=-1, metavar=metavar),
        click.option(
            "--path",
            "named_paths",
            multiple=True,
            metavar="PATH",
            help="A path, as a named option.",
        ),
        click.option(
            "--files-from",
            "paths_from",
            metavar="FILE",
            help=f"{verb} the paths in FILE, one per line; - is stdin, and so is a PATH of -.",
        ),
    ]

    def add(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def read_targets(options: dict[str, Any]) -> tuple[list[str], str | None]:
    """Take the named paths, and the list that others are in, if there is one.

    Raises UsageError for two lists.
    """
    texts = (*options.pop("paths"), *options.pop("named_paths"))
    source: str | None = options["paths_from"]
    if STDIN in texts:
        if source not in (None, STDIN):
            raise UsageError("paths come from stdin and from a file", "choose one")
        source = STDIN
    check_null(options, source)
    return [text for text in texts if text != STDIN], source


def check_null(options: dict[str, Any], source: str | None) -> None:
    """Raise UsageError if there is no list that -0 could be about."""
    written = options.get("failed_to") or options.get("form") in ("uids", "paths")
    if options["null"] and not (source or written):
        raise UsageError("-0 is for lists of paths, and there is none", "leave it out")
