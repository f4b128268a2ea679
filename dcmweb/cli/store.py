"""`dcmweb BASE_URL store`."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.progress import Census, Share
from dcmweb.cli.records import keeping, listed_paths, record_options
from dcmweb.dicom.masks import find, find_listed, size_of
from dcmweb.errors import UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions import Client


@click.command()
@click.argument("masks", nargs=-1, metavar="[MASKS]...")
@click.option(
    "--files-from",
    metavar="FILE",
    help="Store the files whose paths are in FILE, one in a line; - is stdin.",
)
@click.option(
    "--verify", is_flag=True, help="Ask the server afterwards whether it has every instance."
)
@record_options
@with_client
def store(
    run: Run,
    client: Client,
    masks: tuple[str, ...],
    files_from: str | None,
    verify: bool,
    **options: Any,
) -> int:
    """Store files, folders and what masks match.

    \b
    store image.dcm            one file
    store ./study              all below a folder
    store "./*"                files in this folder only
    store "./**.dcm"           below it as well
    store ./study --manifest study.ndjson
                               only what is not done yet
    """
    from dcmweb import transactions

    if not masks and not files_from:
        raise UsageError("there is nothing to store", "name files, folders or masks")
    listed = listed_paths(files_from, run.stop, null=options["null"]) if files_from else ()
    with keeping(run, client.settings.base_url, "store", options) as records:
        tally = run.console.follow(
            transactions.store(
                client,
                masks,
                listed,
                records.is_done,
                dry_run=options["dry_run"],
                verify=verify and not options["dry_run"],
            ),
            client.engine,
            purpose=Status.PLANNED if options["dry_run"] else Status.STORED,
            describe=_describe,
            records=records.writers,
            **_estimating(run, masks, files_from, options),
        )
    return tally.exit_code


def _estimating(
    run: Run, masks: tuple[str, ...], files_from: str | None, options: dict[str, Any]
) -> dict[str, Share]:
    """Where progress is shown, find out how much there is; what can be read once only is not."""
    if not run.console.shows_bar or (files_from and not os.path.isfile(files_from)):
        return {}
    listed = listed_paths(files_from, run.stop, null=options["null"]) if files_from else ()
    found = chain(find(masks), find_listed(listed))
    return {"share": Census(size_of(one.path) for one in found).share}


def _describe(outcome: Outcome) -> str:
    if outcome.status is Status.DONE_BEFORE:
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be stored"
    if outcome.status is not Status.STORED:
        return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
    note = f", but: {outcome.reason}" if outcome.reason else ""
    return f"{outcome.item} uploaded as {outcome.place}{note}"
