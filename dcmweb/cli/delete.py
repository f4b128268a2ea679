"""`dcmweb BASE_URL delete`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import table_options
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.lists import STDIN, empty_list, is_stream, listed_paths
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.records import keeping, record_options
from dcmweb.cli.targets import read_targets, target_options
from dcmweb.cli.text import some_of
from dcmweb.counted import plural
from dcmweb.dicom.resources import Level, Resource, outermost, parse_resource
from dcmweb.errors import UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.library.client import Client


# In a list from a pipe, where a search that found too much may be at the other end. Enough for the
# studies of a day, too few for an archive.
MOST_LISTED = 1000
_DELETING = Activity("Deleting", "resource", moves_bytes=False)
MOST_NAMED = 3  # resources in the question whether to delete them
_NOUNS = {Level.STUDIES: "study", Level.SERIES: "series", Level.INSTANCES: "instance"}


@click.command(cls=Command)
@target_options("Delete", "PATH...")
@click.option(
    "--max",
    "most",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Delete nothing if more than N resources are named; {MOST_LISTED} by default for a list "
    "from a pipe.",
)
@click.option("--yes", "is_sure", is_flag=True, help="Delete several resources without asking.")
@click.option(
    "--no-wait",
    is_flag=True,
    help="Print the operations that the server starts, for `wait`, instead of waiting.",
)
@table_options.named("orthanc-api")
@table_options.named("reject-as")
@record_options
@with_client
def delete(invocation: Invocation, client: Client, is_sure: bool, **options: Any) -> int:
    """Delete studies, series or instances."""
    named, source = read_targets(options)
    is_pipe = source is not None and is_stream(source)  # before it is read to its end
    resources = _resources(invocation, named, source, null=options["null"])
    dry_run, reads_stdin = options["dry_run"], source == STDIN
    most = options["most"] or (MOST_LISTED if reads_stdin or is_pipe else None)
    if most and len(resources) > most and not dry_run:
        raise UsageError(
            f"nothing was deleted: {plural(len(resources), 'resource')}, more than {most:,}",
            f"check the list; to delete all of them, give --max {len(resources)}",
        )
    if len(resources) > 1 and not (is_sure or dry_run):
        _ask(resources, reads_stdin=reads_stdin)

    def print_operation(outcome: Outcome) -> None:
        if outcome.status is Status.BEGUN and not options["as_json"]:
            invocation.console.data(outcome.place)

    texts = [str(one) for one in resources]
    with keeping(invocation, options, [source]) as records:
        run = client.delete(
            resources,
            waits=not options["no_wait"],
            dry_run=dry_run,
            orthanc_api=options["orthanc_api"] or "",
            reject_as=options["reject_as"] or "",
            manifest=options["manifest"] or "",
            on_error=OnError.RAISE if len(resources) == 1 else OnError.OUTCOME,
        )
        invocation.console.start(f"Deleting {some_of(texts)} on {client.base_url}")
        summary = invocation.console.follow(
            run, _DELETING, describe=_describe, records=(*records, print_operation)
        )
    return summary.exit_code


def _resources(
    invocation: Invocation, named: list[str], source: str | None, *, null: bool
) -> list[Resource]:
    """Read the paths; all of them, so that none is deleted if one is malformed.

    What goes with a study or series that is named as well is left out of the count.
    """
    texts = [*named, *(listed_paths(source, invocation.stop, null=null) if source else ())]
    if source and not texts:
        raise empty_list()
    resources = outermost(map(parse_resource, texts))
    if not resources:
        raise UsageError("there is nothing to delete", "name a study, series or instance")
    return resources


def _ask(resources: Sequence[Resource], *, reads_stdin: bool) -> None:
    """Ask whether resources are to go. Raises UsageError where nobody is there to ask."""
    if reads_stdin or not sys.stdin.isatty():
        raise UsageError(
            f"{_counted(resources)} would be deleted, and there is no terminal to ask in",
            "give --yes, or --dry-run to see what would go",
        )
    names = ", ".join(str(one) for one in resources[:MOST_NAMED])
    if len(resources) > MOST_NAMED:
        names += f" and {plural(len(resources) - MOST_NAMED, 'other')}"
    if not click.confirm(f"Delete {_counted(resources)} ({names})?", err=True):
        raise UsageError("nothing was deleted")


def _counted(resources: Sequence[Resource]) -> str:
    """Say how many studies, series and instances there are: 2 studies and 1 series."""
    counts = Counter(one.level for one in resources)
    return " and ".join(
        plural(counts[level], noun) for level, noun in _NOUNS.items() if counts[level]
    )


def _describe(outcome: Outcome) -> str:
    if outcome.status is Status.DONE_BEFORE:
        return ""
    if outcome.status is Status.BEGUN:
        return f"{outcome.item} begun as operation {outcome.place}"
    reason = f": {outcome.reason}" if outcome.reason else ""
    status = "would be deleted" if outcome.status is Status.PLANNED else outcome.status.value
    return f"{outcome.item} {status}{reason}"
