"""`dcmweb BASE_URL wait`."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.records import event_options, keeping, listed_paths
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext


@click.command()
@click.argument("operations", nargs=-1, metavar="OPERATION...")
@click.option(
    "--files-from",
    "listed_in",
    metavar="FILE",
    help="Wait for the operations in FILE, one in a line; - is stdin, as is an OPERATION of -.",
)
@event_options
@with_client
def wait(
    run: Run, client: RunContext, operations: tuple[str, ...], listed_in: str | None, **options: Any
) -> int:
    """Wait for operations that the server began, as `delete --no-wait` prints them.

    \b
    wait projects/P/locations/L/datasets/D/operations/123
    wait - < operations.txt
    """
    from dcmweb.transactions.delete.operations import wait as begin

    named = [name for name in operations if name != "-"]
    source = "-" if "-" in operations else listed_in
    if not named and not source:
        raise UsageError("there is nothing to wait for", "name an operation")
    names = chain(named, listed_paths(source, run.stop, null=options["null"]) if source else ())
    with keeping(run, client.settings.base_url, "wait", options) as records:
        tally = run.console.follow(
            begin(client, names, alone=len(operations) == 1 and not source),
            client.engine,
            purpose=Status.FINISHED,
            describe=_describe,
            records=records.writers,
        )
    if not tally.counts:
        raise NothingMatched("the list has no operations in it")
    return tally.exit_code


def _describe(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"operation {outcome.item} {outcome.status.value}{reason}"
