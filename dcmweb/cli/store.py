"""`dcmweb BASE_URL store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.errors import UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions import Client


@click.command()
@click.argument("masks", nargs=-1, metavar="[MASKS]...")
@with_client
def store(run: Run, client: Client, masks: tuple[str, ...]) -> int:
    """Store files, folders and what masks match.

    \b
    store image.dcm            one file
    store ./study              all below a folder
    store "./*"                files in this folder only
    store "./**.dcm"           below it as well
    """
    from dcmweb import transactions

    if not masks:
        raise UsageError("there is nothing to store", "name files, folders or masks")
    tally = run.console.follow(
        transactions.store(client, masks),
        client.engine,
        purpose=Status.STORED,
        describe=_describe,
    )
    return tally.exit_code


def _describe(outcome: Outcome) -> str:
    if outcome.status is not Status.STORED:
        return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
    note = f", but: {outcome.reason}" if outcome.reason else ""
    return f"{outcome.item} uploaded as {outcome.place}{note}"
