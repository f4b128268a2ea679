"""Options for records of items, and lists of items to read and to write."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Literal, TypeVar

import click

from dcmweb.cli.options import Invocation
from dcmweb.errors import LocalError, UsageError
from dcmweb.local.partial_files import writing_into
from dcmweb.transfer.outcomes import Outcome
from dcmweb.transfer.stop import Stop

_Function = TypeVar("_Function", bound=Callable[..., Any])
NAP = 0.2  # seconds, after which a run that waits for a list sees that it is to stop

_MANIFEST = click.option(
    "--manifest",
    metavar="FILE",
    help="Record the outcome of each item in FILE, and skip items that FILE records as done.",
)
_DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, and change nothing, not even the manifest.",
)
_EVENT_OPTIONS = [
    click.option(
        "--failed-to",
        metavar="FILE",
        help="Write the paths of failed items to FILE, for --files-from.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="Print a JSON event for each item to stdout."
    ),
    click.option(
        "-0",
        "--null",
        "null",
        is_flag=True,
        help="Separate paths in lists by NUL instead of line ends.",
    ),
]

Record = Callable[[Outcome], None]


def record_options(function: _Function) -> _Function:
    """Add the options of commands that keep records."""
    return _MANIFEST(_DRY_RUN(event_options(function)))


def event_options(function: _Function) -> _Function:
    """Add the options of commands that report items, but keep no manifest."""
    for option in reversed(_EVENT_OPTIONS):
        function = option(function)
    return function


@contextmanager
def keeping(invocation: Invocation, options: dict[str, Any]) -> Iterator[list[Record]]:
    """Open the records that the options ask for beside the manifest, for the time of a block."""
    writers: list[Record] = []
    with ExitStack() as stack:
        if options["failed_to"] and not options.get("dry_run"):
            file = stack.enter_context(_opened(options["failed_to"], "wb"))
            writers.append(_failures_to(file, b"\0" if options["null"] else b"\n"))
        if options["as_json"]:
            invocation.console.prints_events = True
            writers.append(lambda outcome: _print_event(invocation, outcome))
        yield writers


def _print_event(invocation: Invocation, outcome: Outcome) -> None:
    from dcmweb.transfer.outcomes import as_event

    invocation.console.data(json.dumps(as_event(outcome)))


def _failures_to(file: BinaryIO, end: bytes) -> Record:
    def write(outcome: Outcome) -> None:
        if not outcome.status.is_good:
            with writing_into(file.name):
                file.write(os.fsencode(outcome.item) + end)
                file.flush()

    return write


def _opened(path: str, mode: Literal["rb", "wb"]) -> BinaryIO:
    try:
        return open(path, mode)
    except OSError as error:
        raise LocalError(f"{path} cannot be opened: {error.strerror}", path=path) from error


def listed_paths(path: str, stop: Stop, *, null: bool) -> Iterator[str]:
    """Yield the paths in a list, of which `-` is stdin, as they come; empty ones are none.

    Raises what stopped the run while more is waited for.
    """
    file = sys.stdin.buffer if path == "-" else _opened(path, "rb")
    end = b"\0" if null else b"\n"
    rest = b""
    with file:
        while piece := read_some(file, stop):
            *whole, rest = (rest + piece).split(end)
            yield from (os.fsdecode(_bare(one, end)) for one in whole if _bare(one, end))
    if _bare(rest, end):
        yield os.fsdecode(_bare(rest, end))


def listed_resources(path: str, stop: Stop, *, null: bool) -> Iterator[str]:
    """Yield the paths of resources in a list. Raises UsageError if that is rather DICOM JSON."""
    for number, text in enumerate(listed_paths(path, stop, null=null)):
        if number == 0 and text.lstrip().startswith(("[", "{")):
            hint = "a search prints paths with --format uids"
            raise UsageError("the list is JSON rather than paths, one in a line", hint)
        yield text


def read_some(file: BinaryIO, stop: Stop) -> bytes:
    """Read what there is, nothing at the end; raises what stops the run while it waits."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return _read_now(file)
    # Windows can neither wait for a pipe with a timeout nor interrupt a read: a thread waits.
    came: list[bytes | LocalError] = []

    def read() -> None:
        try:
            came.append(_read_now(file))
        except LocalError as error:
            came.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(NAP)
        stop.check()
    if isinstance(came[0], LocalError):
        raise came[0]
    return came[0]


def _read_now(file: BinaryIO) -> bytes:
    try:
        return os.read(file.fileno(), 64 * 1024)
    except OSError as error:
        raise LocalError(f"{file.name} cannot be read: {error.strerror}") from error


def _bare(line: bytes, end: bytes) -> bytes:
    return line.removesuffix(b"\r") if end == b"\n" else line
