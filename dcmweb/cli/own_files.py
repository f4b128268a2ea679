"""Files that a command writes beside its data: apart from what it reads, and whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import click

from dcmweb.cli.lists import STDIN
from dcmweb.errors import LocalError, UsageError
from dcmweb.local.partial_files import PARTIAL_PREFIX, PARTIAL_SUFFIX, sync_file, writing_into


def check_apart(path: str | None, option: str, others: Iterable[str | None]) -> None:
    """Raise UsageError if a file that is written is one that is read, or written as well."""
    for other in others:
        if path and other and other != STDIN and _is_same(path, other):
            raise UsageError(
                f"{option} {path} is a file that this command uses already", "choose another file"
            )


def check_not_used(ctx: click.Context, name: str, path: str) -> None:
    """Raise UsageError if the file of an option is what another option or argument names."""
    values = [value for key, value in ctx.params.items() if key != name]
    texts = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    check_apart(path, f"--{name.replace('_', '-')}", [one for one in texts if isinstance(one, str)])


def _is_same(one: str, other: str) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(one, other)
    with suppress(OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)
    return False


def created(path: str, named: str = "") -> BinaryIO:
    """Open a file to write it. Raises LocalError, which may name another path."""
    try:
        return open(path, "wb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        named = named or path
        raise LocalError(f"{named} cannot be opened: {reason}", path=named) from error


def is_stream(path: str) -> bool:
    """Return True for a pipe or a terminal, which is written as it is; a folder fails."""
    return os.path.lexists(path) and not os.path.isfile(path)


def beside(path: str) -> str:
    """Name a file in the same folder, for what is not whole yet."""
    folder, name = os.path.split(os.path.realpath(path))
    unique = f"{PARTIAL_PREFIX}{name[:40]}-{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
    return os.path.join(folder, unique)


@contextmanager
def written_whole(path: str) -> Iterator[BinaryIO]:
    """Write a file beside its place, and put it there once it is whole.

    Raises LocalError if it cannot be written.
    """
    if is_stream(path):
        with writing_into(path), created(path) as file:
            yield file
        return
    partial = beside(path)
    try:
        with created(partial, path) as file, writing_into(path):
            yield file
            file.flush()
            sync_file(file)
        with writing_into(path):
            os.replace(partial, os.path.realpath(path))
    finally:
        with suppress(OSError):
            os.unlink(partial)


def check_place(path: str) -> None:
    """Raise LocalError if no file can be made where this one is to be."""
    if os.path.isdir(path):
        created(path).close()
    if not is_stream(path):
        partial = beside(path)
        created(partial, path).close()
        os.unlink(partial)


def check_page(path: str) -> None:
    """Raise UsageError for a file that would be replaced by a page, and is not one."""
    if is_stream(path) or not os.path.exists(path):
        return
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError as error:
        raise LocalError(f"{path} cannot be opened: {error.strerror}", path=path) from error
    if head and not head.lower().startswith(b"<!doctype html"):
        raise UsageError(f"{path} exists, and is not an HTML page", "choose another file")
