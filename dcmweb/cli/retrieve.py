"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.records import Records, keeping, listed_resources, record_options
from dcmweb.cli.stdout import Targets, print_item, print_metadata
from dcmweb.dicom.resources import Representation, Target, parse_target
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.transfer.outcomes import Outcome, Status, Tally

if TYPE_CHECKING:
    from dcmweb.http.media_types import MediaType
    from dcmweb.transactions.context import RunContext

STDOUT = STDIN = "-"


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--path", "named_paths", multiple=True, metavar="PATH", help="A path, by name.")
@click.option(
    "--files-from",
    "paths_from",
    metavar="FILE",
    help="Retrieve what the paths in FILE name, one in a line; - is stdin, as is a PATH of -.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Folder to save into, made if it is missing; by default, the current one. - writes a "
    "single item to stdout.",
)
@click.option(
    "--type",
    "media_type",
    metavar="TYPE",
    help="Media type to ask for, such as image/png, application/zip or 'application/dicom; "
    "transfer-syntax=1.2.840.10008.1.2.1'; by default, instances as they are stored.",
)
@click.option(
    "--layout",
    metavar="TEMPLATE",
    help="Where files go below the folder, by attributes: '{PatientID}/{StudyDate}/{Modality}'.",
)
@click.option(
    "--viewport", metavar="W,H", help="Size of rendered images, in pixels; ,X,Y,W,H is a region."
)
@click.option("--window", metavar="CENTER,WIDTH", help="VOI window of rendered images.")
@click.option("--quality", type=int, metavar="N", help="Quality of rendered images, 1 to 100.")
@click.option("--skip-existing", is_flag=True, help="Pass over what has its file already.")
@record_options
@with_client
def retrieve(
    run: Run,
    client: RunContext,
    paths: tuple[str, ...],
    named_paths: tuple[str, ...],
    paths_from: str | None,
    **options: Any,
) -> int:
    """Retrieve studies, series, instances or frames; without a PATH, the whole store.

    After a PATH, /metadata, /rendered, /thumbnail and /bulkdata say what of it is wanted.
    Metadata goes to stdout unless an --output folder is given.

    \b
    retrieve studies/1.2.3 --output ./data
    retrieve studies/1.2.3/series/4.5.6 --type image/png
    retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/frames/1,5-7
    retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/rendered -o - > image.jpg
    retrieve studies/1.2.3/metadata
    retrieve - --output ./data < paths.txt
    """
    from dcmweb.http.media_types import parse_wanted

    wanted = parse_wanted(options["media_type"]) if options["media_type"] else None
    base_url = client.settings.base_url
    texts = (*paths, *named_paths)
    named = [parse_target(text, base_url) for text in texts if text != STDIN]
    if STDIN in texts and paths_from not in (None, STDIN):
        raise UsageError("paths come from stdin and from a file", "choose one")
    source = STDIN if STDIN in texts else paths_from
    listed = listed_resources(source, run.stop, null=options["null"]) if source else None
    first, targets = _targets(named, listed, base_url)
    if options["output"] in (None, STDOUT) and first.representation is Representation.METADATA:
        return print_metadata(run, client, targets, wanted, options)
    if options["output"] == STDOUT:

        def save(folder: str, writer: Callable[[Outcome], None]) -> Tally:
            return _save(run, client, targets, folder, wanted, options, writer)

        return print_item(run, targets, wanted, options, save)
    folder = options["output"] or "./"
    if not options["dry_run"]:
        run.console.note(f"Saving files into {folder}")
    return _save(run, client, targets, folder, wanted, options).exit_code


def _targets(
    named: list[Target], listed: Iterator[str] | None, base_url: str
) -> tuple[Target, Targets]:
    """Tell the first target, and all; those of a list are read in their turn.

    Raises NothingMatched for an empty list.
    """
    if listed is None:
        targets = named or [Target()]
        return targets[0], targets
    targets_and_paths: Iterator[Target | str] = chain(named, listed)
    first = next(targets_and_paths, None)
    if first is None:
        raise NothingMatched("the list has no paths in it")
    try:
        kind = parse_target(first, base_url) if isinstance(first, str) else first
    except UsageError:
        kind = Target()  # its turn to be told of will come
    return kind, chain([first], targets_and_paths)


def _save(
    run: Run,
    client: RunContext,
    targets: Targets,
    folder: str,
    wanted: MediaType | None,
    options: dict[str, Any],
    *writers: Callable[[Outcome], None],
) -> Tally:
    """Retrieve into a folder, and follow that."""
    from dcmweb.local.layout import DEFAULT_TEMPLATE, Layout
    from dcmweb.transactions.retrieve.output import Destination
    from dcmweb.transactions.retrieve.rendered import parse_rendering
    from dcmweb.transactions.retrieve.run import retrieve as begin

    names = ("viewport", "window", "quality")
    rendering = parse_rendering(**{name: options[name] for name in names})
    layout = Layout(DEFAULT_TEMPLATE if options["layout"] is None else options["layout"])
    dry_run = options["dry_run"]
    with keeping(run, client.settings.base_url, "retrieve", options) as records:
        destination = Destination(folder, layout, _has(records, options))
        return run.console.follow(
            begin(client, targets, destination, wanted, rendering, dry_run=dry_run),
            client.engine,
            purpose=Status.PLANNED if dry_run else Status.RETRIEVED,
            describe=_describe,
            records=(*records.writers, *writers),
        )


def _has(
    records: Records, options: dict[str, Any]
) -> Callable[[str, os.stat_result], Status | None] | None:
    """Tell how to know what need not be retrieved again, if anything is asked for that."""
    if not (options["manifest"] or options["skip_existing"]):
        return None

    def has(item: str, found: os.stat_result) -> Status | None:
        if records.is_done(item, found.st_size, found.st_mtime_ns):
            return Status.DONE_BEFORE
        return Status.EXISTS if options["skip_existing"] else None

    return has


def _describe(outcome: Outcome) -> str:
    if outcome.status in (Status.RETRIEVED, Status.DONE_BEFORE, Status.EXISTS):
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be retrieved"
    return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
