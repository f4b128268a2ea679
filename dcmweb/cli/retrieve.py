"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.paths import one_path
from dcmweb.cli.records import Records, keeping, record_options
from dcmweb.cli.text import as_json
from dcmweb.dicom.paths import Resource, parse_metadata, parse_resource
from dcmweb.errors import ExitCode, UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions import Client


@click.command()
@click.argument("path", required=False)
@click.option("--path", "named_path", metavar="PATH", help="The path, by name.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Folder to save into, made if it is missing; by default, the current one.",
)
@click.option(
    "--type",
    "media_type",
    metavar="TYPE",
    help="Media type to ask for, such as image/png or 'application/dicom; "
    "transfer-syntax=1.2.840.10008.1.2.1'; by default, instances as they are stored.",
)
@click.option(
    "--skip-existing", is_flag=True, help="Pass over instances whose files are there already."
)
@record_options
@with_client
def retrieve(
    run: Run,
    client: Client,
    path: str | None,
    named_path: str | None,
    output: str | None,
    media_type: str | None,
    **options: Any,
) -> int:
    """Retrieve a study, series, instance or frames; without a PATH, the whole store.

    Metadata goes to stdout, as DICOM JSON.

    \b
    retrieve studies/1.2.3 --output ./data
    retrieve studies/1.2.3/series/4.5.6 --type image/png
    retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/frames/1,2
    retrieve studies/1.2.3/metadata
    """
    from dcmweb import transactions
    from dcmweb.http.media_types import parse_wanted

    path = one_path(path, named_path) or ""
    if described := parse_metadata(path):
        if output or media_type or any(options.values()):
            raise UsageError("metadata goes to stdout, as DICOM JSON", "redirect it: > FILE")
        run.console.data(as_json(transactions.metadata(client, described)))
        return ExitCode.OK
    resource = parse_resource(path)
    output = output or "./"
    wanted = parse_wanted(media_type) if media_type else None
    dry_run = options["dry_run"]
    if not dry_run:
        run.console.note(f"Saving files into {output}")
    with keeping(run, client.settings.base_url, "retrieve", options) as records:
        tally = run.console.follow(
            transactions.retrieve(
                client, resource, output, wanted, _has(records, options), dry_run=dry_run
            ),
            client.engine,
            purpose=Status.PLANNED if dry_run else Status.RETRIEVED,
            describe=_describe,
            records=records.writers,
        )
    return tally.exit_code


def _has(
    records: Records, options: dict[str, Any]
) -> Callable[[Resource, os.stat_result], Status | None] | None:
    """Tell how to know what need not be retrieved again, if anything is asked for that."""
    if not (options["manifest"] or options["skip_existing"]):
        return None

    def has(instance: Resource, found: os.stat_result) -> Status | None:
        if records.is_done(str(instance), found.st_size, found.st_mtime_ns):
            return Status.DONE_BEFORE
        return Status.EXISTS if options["skip_existing"] else None

    return has


def _describe(outcome: Outcome) -> str:
    if outcome.status in (Status.RETRIEVED, Status.DONE_BEFORE, Status.EXISTS):
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be retrieved"
    return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
