"""Options of commands that keep a record of their items, and lists of items to take and to give."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeVar

import click

from dcmweb.cli.options import Run
from dcmweb.errors import LocalError, UsageError
from dcmweb.local.partial_files import writing_into
from dcmweb.transfer.outcomes import Outcome
from dcmweb.transfer.stop import Stop

_Function = TypeVar("_Function", bound=Callable[..., Any])
NAP = 0.2  # seconds, after which a run that waits for a list sees that it is to stop

_MANIFEST = click.option(
    "--manifest",
    metavar="FILE",
    help="Record what becomes of each item in FILE, and do only what is not done by it.",
)
_DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be done, and do nothing, not even to records.",
)
_EVENT_OPTIONS = [
    click.option(
        "--failed-to",
        metavar="FILE",
        help="Write the paths of what failed to FILE, for --files-from.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="Write an event for each item to stdout, as JSON."
    ),
    click.option(
        "-0", "--null", "null", is_flag=True, help="Paths in lists end with NUL, not line ends."
    ),
]

Record = Callable[[Outcome], None]


def record_options(function: _Function) -> _Function:
    """Add the options of commands that keep records."""
    return _MANIFEST(_DRY_RUN(event_options(function)))


def event_options(function: _Function) -> _Function:
    """Add the options of commands that tell of items, but keep no record of them."""
    for option in reversed(_EVENT_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True)
class Records:
    """The records of a run, and what an earlier run says is done."""

    writers: tuple[Record, ...]
    is_done: Callable[[str, int, int], bool]


@contextmanager
def keeping(run: Run, base_url: str, command: str, options: dict[str, Any]) -> Iterator[Records]:
    """Keep the records that the options ask for, for the time of a block."""
    writers: list[Record] = []
    is_done: Callable[[str, int, int], bool] = _nothing_is
    with ExitStack() as stack:
        if options.get("manifest"):
            from dcmweb.transfer.manifest import Manifest

            name = os.path.abspath if command == "store" else str
            writes = not options["dry_run"]
            manifest = Manifest(options["manifest"], base_url, command, name, writes=writes)
            stack.callback(manifest.close)
            if writes:
                writers.append(manifest.record)
            is_done = manifest.is_done
        if options["failed_to"] and not options.get("dry_run"):
            file = stack.enter_context(_opened(options["failed_to"], "wb"))
            writers.append(_failures_to(file, b"\0" if options["null"] else b"\n"))
        if options["as_json"]:
            run.console.prints_events = True
            writers.append(lambda outcome: _print_event(run, outcome))
        yield Records(tuple(writers), is_done)


def _nothing_is(_path: str, _size: int, _mtime_ns: int) -> bool:
    return False


def _print_event(run: Run, outcome: Outcome) -> None:
    from dcmweb.transfer.outcomes import as_event

    run.console.data(json.dumps(as_event(outcome)))


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
    while not select.select([file], [], [], NAP)[0]:
        stop.check()
    try:
        return os.read(file.fileno(), 64 * 1024)
    except OSError as error:
        raise LocalError(f"{file.name} cannot be read: {error.strerror}") from error


def _bare(line: bytes, end: bytes) -> bytes:
    return line.removesuffix(b"\r") if end == b"\n" else line
