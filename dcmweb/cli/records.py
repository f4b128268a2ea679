"""Options for records of items, and the records that are not the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, TypeVar

import click

from dcmweb.cli.command import OptionAlone
from dcmweb.cli.left_over import way_on
from dcmweb.cli.options import Invocation
from dcmweb.cli.own_files import beside, check_apart, created, is_stream
from dcmweb.errors import LocalError, UsageError
from dcmweb.transfer.outcomes import Event, Outcome

_Function = TypeVar("_Function", bound=Callable[..., Any])

_MANIFEST = click.option(
    "--manifest",
    metavar="FILE",
    help="Record the outcome of each item in FILE, and skip items that FILE records as done.",
)
_REPORT = click.option(
    "--report",
    metavar="FILE",
    help="Write an HTML page about the run to FILE when it is over, or about all runs of the "
    "manifest.",
)
_DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, and change nothing, not even the manifest.",
)
_SHARD = click.option(
    "--shard",
    cls=OptionAlone,
    metavar="I/N",
    help="Do part I of N only, counted from 1; the parts are disjoint, and together everything.",
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
        "-0", "--null", "null", is_flag=True, help="Separate paths in lists by NUL, not line ends."
    ),
]

Record = Callable[[Outcome], None]


def record_options(function: _Function) -> _Function:
    """Add the options of commands that keep records."""
    return _MANIFEST(_REPORT(_DRY_RUN(event_options(function))))


def shard_option(function: _Function) -> _Function:
    """Add the option of commands that can be divided among machines."""
    return _SHARD(function)


def event_options(function: _Function) -> _Function:
    """Add the options of commands that report items, but keep no manifest."""
    for option in reversed(_EVENT_OPTIONS):
        function = option(function)
    return function


@contextmanager
def keeping(
    invocation: Invocation,
    options: dict[str, Any],
    reads: Iterable[str | None] = (),
    destination: str = "",
) -> Iterator[list[Record]]:
    """Open the records that the options ask for beside the manifest, for the time of a block.

    `reads` are the files that the command reads, which no record may take the place of.
    """
    writers: list[Record] = []
    invocation.console.way_on = way_on(options)
    reads = list(reads)
    failed_to, manifest, report = (
        options["failed_to"],
        options.get("manifest"),
        options.get("report"),
    )
    check_apart(manifest, "--manifest", reads)
    check_apart(failed_to, "--failed-to", [manifest, *reads])
    check_apart(report, "--report", [manifest, failed_to, *reads])
    with ExitStack() as stack:
        if report:
            from dcmweb.cli.run_report import reporting

            header = _header(invocation, destination)
            recorded = None if options.get("dry_run") else manifest
            writers.append(
                stack.enter_context(reporting(report, header, recorded, invocation.console))
            )
        if failed_to and not options.get("dry_run"):
            end = b"\0" if options["null"] else b"\n"
            writers.append(stack.enter_context(_failures_to(failed_to, end)))
        if options["as_json"]:
            invocation.console.prints_events = True
            writers.append(lambda outcome: _print_event(invocation, outcome))
        yield writers


def _header(invocation: Invocation, destination: str) -> Event:
    """Say what a run is of, as a manifest does."""
    from dcmweb.http.redaction import without_query

    command = click.get_current_context().info_name
    header: Event = {"base_url": without_query(invocation.base_url), "command": command}
    return header | ({"destination": destination} if destination else {})


def _print_event(invocation: Invocation, outcome: Outcome) -> None:
    from dcmweb.transfer.outcomes import as_event

    invocation.console.event(as_event(outcome))


@contextmanager
def _failures_to(path: str, end: bytes) -> Iterator[Record]:
    """Write a list of what failed beside its place, and put it there when the run is over."""
    from dcmweb.local.partial_files import writing_into

    if is_stream(path):
        with created(path) as file:
            yield _writer(file, path, end)
        return
    _check_is_list(path, end)
    partial = beside(path)
    try:
        with created(partial, path) as file:
            yield _writer(file, path, end)
    finally:
        with writing_into(path):
            if os.path.exists(partial):
                os.replace(partial, os.path.realpath(path))


def _writer(file: BinaryIO, path: str, end: bytes) -> Record:
    from dcmweb.local.partial_files import writing_into

    def write(outcome: Outcome) -> None:
        if not outcome.status.is_good:
            with writing_into(path):
                file.write(os.fsencode(outcome.item) + end)
                file.flush()

    return write


def _check_is_list(path: str, end: bytes) -> None:
    """Raise UsageError for a file that is not a list of paths, such as an image or a manifest."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalError(f"{path} cannot be opened: {error.strerror}", path=path) from error
    is_binary = b"\0" in head if end == b"\n" else b"DICM" in head[128:132]
    if is_binary or head.lstrip()[:1] in (b"{", b"["):
        raise UsageError(f"{path} exists, and is not a list of paths", "choose another file")
