"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.paths import one_path
from dcmweb.cli.text import as_json
from dcmweb.dicom.paths import parse_metadata, parse_resource
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
@with_client
def retrieve(
    run: Run,
    client: Client,
    path: str | None,
    named_path: str | None,
    output: str | None,
    media_type: str | None,
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
        if output or media_type:
            raise UsageError("metadata goes to stdout, as DICOM JSON", "redirect it: > FILE")
        run.console.data(as_json(transactions.metadata(client, described)))
        return ExitCode.OK
    resource = parse_resource(path)
    output = output or "./"
    wanted = parse_wanted(media_type) if media_type else None
    run.console.line(f"Saving files into {output}")
    tally = run.console.follow(
        transactions.retrieve(client, resource, output, wanted),
        client.engine,
        purpose=Status.RETRIEVED,
        describe=_describe,
    )
    return tally.exit_code


def _describe(outcome: Outcome) -> str:
    if outcome.status is Status.RETRIEVED:
        return ""
    return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
