"""Shows long output page by page, as git does: with the program that the environment names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice

from dcmweb.cli.console import Console, ReaderGone

VARIABLES = ("DCMWEB_PAGER", "PAGER")
DEFAULT = "less"
# Without them, less leaves nothing on the screen when it ends; and it is to show colours of others.
_OPTIONS_OF_LESS = "FRX"


def page(console: Console, lines: Iterable[str], height: int) -> None:
    """Write lines to stdout; those that are more than the terminal is high, through a pager.

    Raises ReaderGone if the user ends the pager before all lines came.
    """
    lines = iter(lines)
    first = list(islice(lines, max(1, height - 1)))
    following = next(lines, None)
    command = pager_command(os.environ) if following is not None else []
    everything = chain(first, [following] if following is not None else [], lines)
    if command:
        _through(command, everything)
    else:
        console.stream(everything)


def pager_command(environment: Mapping[str, str]) -> list[str]:
    """Return the pager that the environment names; nothing if there is none, or none is wanted."""
    named = next((environment[name] for name in VARIABLES if name in environment), DEFAULT)
    try:
        command = shlex.split(named)
    except ValueError:
        return []
    is_there = bool(command) and shutil.which(command[0]) is not None
    if not is_there or command == ["cat"] or environment.get("TERM") == "dumb":
        return []
    return command


def _through(command: list[str], lines: Iterator[str]) -> None:
    environment = {"LESS": _OPTIONS_OF_LESS, "LV": "-c", **os.environ}
    process = subprocess.Popen(  # noqa: S603 - the user's own choice
        command, stdin=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    try:
        for line in lines:
            process.stdin.write(line)
        process.stdin.flush()
    except OSError:  # Windows has another one than BrokenPipeError
        raise ReaderGone from None
    finally:
        with suppress(OSError):
            process.stdin.close()
        process.wait()
