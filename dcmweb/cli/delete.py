"""`dcmweb BASE_URL delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.dicom.paths import parse_resource
from dcmweb.errors import UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions import Client


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--path", "named_paths", multiple=True, metavar="PATH", help="A path, by name.")
@with_client
def delete(run: Run, client: Client, paths: tuple[str, ...], named_paths: tuple[str, ...]) -> int:
    """Delete studies, series or instances.

    \b
    delete studies/1.2.3
    delete studies/1.2.3/series/4.5.6
    """
    from dcmweb import transactions

    resources = [parse_resource(path) for path in (*paths, *named_paths)]
    if not resources:
        raise UsageError("there is nothing to delete", "name a study, series or instance")
    tally = run.console.follow(
        transactions.delete(client, resources),
        client.engine,
        purpose=Status.DELETED,
        describe=_describe,
    )
    return tally.exit_code


def _describe(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.item} {outcome.status.value}{reason}"
