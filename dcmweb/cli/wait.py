"""`dcmweb BASE_URL wait`."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.lists import STDIN, listed_paths
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.records import event_options, keeping
from dcmweb.cli.targets import check_null
from dcmweb.cli.text import some_of
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.library.client import Client


_WAITING = Activity("Waiting", "operation", moves_bytes=False)


@click.command(cls=Command)
@click.argument("operations", nargs=-1, metavar="OPERATION...")
@click.option(
    "--files-from",
    "listed_in",
    metavar="FILE",
    help="Wait for the operations in FILE, one per line; - is stdin, and so is an OPERATION of -.",
)
@event_options
@with_client
def wait(
    invocation: Invocation,
    client: Client,
    operations: tuple[str, ...],
    listed_in: str | None,
    **options: Any,
) -> int:
    """Wait for operations that `delete --no-wait` printed."""
    named = [name for name in operations if name != STDIN]
    if STDIN in operations and listed_in not in (None, STDIN):
        raise UsageError("operations come from stdin and from a file", "choose one")
    source = STDIN if STDIN in operations else listed_in
    check_null(options, source)
    if not named and not source:
        raise UsageError("there is nothing to wait for", "name an operation")
    listed = listed_paths(source, invocation.stop, null=options["null"]) if source else ()
    is_one = len(operations) == 1 and not source
    names = chain(named, listed) if source else named
    with keeping(invocation, options, [listed_in]) as records:
        run = client.wait(names, on_error=OnError.RAISE if is_one else OnError.OUTCOME)
        if not is_one:  # which is named when it is asked about
            what = some_of([*named, *([f"the operations in {source}"] if source else [])])
            invocation.console.start(f"Waiting for {what}")
        summary = invocation.console.follow(run, _WAITING, describe=_describe, records=records)
    if not summary.items:
        raise NothingMatched("the list has no operations in it")
    return summary.exit_code


def _describe(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"operation {outcome.item} {outcome.status.value}{reason}"
