"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.records import Record, keeping, listed_resources, record_options
from dcmweb.cli.stdout import Targets, print_item, print_metadata
from dcmweb.dicom.resources import Representation, Target, parse_target
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.summary import Summary

if TYPE_CHECKING:
    from dcmweb.library.client import Client

STDOUT = STDIN = "-"


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--path", "named_paths", multiple=True, metavar="PATH", help="A path, as a named option."
)
@click.option(
    "--files-from",
    "paths_from",
    metavar="FILE",
    help="Retrieve the paths in FILE, one per line; - is stdin, and so is a PATH of -.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Save into this folder, which is created if it is missing; the current one by default. "
    "- writes a single item to stdout.",
)
@click.option(
    "--type",
    "media_type",
    metavar="TYPE",
    help="Media type to request, such as image/png, application/zip or 'application/dicom; "
    "transfer-syntax=1.2.840.10008.1.2.1'. By default, instances come as they are stored.",
)
@click.option(
    "--layout",
    metavar="TEMPLATE",
    help="Place files below the folder by attributes: '{PatientID}/{StudyDate}/{Modality}'.",
)
@click.option(
    "--viewport",
    metavar="W,H",
    help="Size of rendered images, in pixels; add ,X,Y,W,H for a region.",
)
@click.option("--window", metavar="CENTER,WIDTH", help="VOI window of rendered images.")
@click.option("--quality", type=int, metavar="N", help="Quality of rendered images, 1 to 100.")
@click.option("--skip-existing", is_flag=True, help="Skip instances whose file exists.")
@record_options
@with_client
def retrieve(
    invocation: Invocation,
    client: Client,
    paths: tuple[str, ...],
    named_paths: tuple[str, ...],
    paths_from: str | None,
    **options: Any,
) -> int:
    """Retrieve studies, series, instances or frames; the whole store without a PATH.

    Append /metadata, /rendered, /thumbnail or /bulkdata to a PATH for that representation.
    Metadata goes to stdout unless you give an --output folder.

    \b
    retrieve studies/1.2.3 --output ./data
    retrieve studies/1.2.3/series/4.5.6 --type image/png
    retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/frames/1,5-7
    retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/rendered -o - > image.jpg
    retrieve studies/1.2.3/metadata
    retrieve - --output ./data < paths.txt
    """
    base_url = client.base_url
    texts = (*paths, *named_paths)
    named = [parse_target(text, base_url) for text in texts if text != STDIN]
    if STDIN in texts and paths_from not in (None, STDIN):
        raise UsageError("paths come from stdin and from a file", "choose one")
    source = STDIN if STDIN in texts else paths_from
    listed = listed_resources(source, invocation.stop, null=options["null"]) if source else None
    first, targets = _targets(named, listed, base_url)
    output = options["output"]
    if output in (None, STDOUT) and first.representation is Representation.METADATA:
        return print_metadata(invocation, client, targets, options)

    def save(folder: str, *writers: Record) -> Summary:
        return _save(invocation, client, targets, folder, options, *writers)

    if output == STDOUT:
        return print_item(invocation, targets, options, save)
    folder = output or "./"
    if not options["dry_run"]:
        invocation.console.note(f"Saving files into {folder}")
    return save(folder).exit_code


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
        raise NothingMatched(
            "the list is empty", "it holds paths, one per line, as of a search with --format uids"
        )
    try:
        kind = parse_target(first, base_url) if isinstance(first, str) else first
    except UsageError:
        kind = Target()  # its turn to be told of will come
    return kind, chain([first], targets_and_paths)


def _save(
    invocation: Invocation,
    client: Client,
    targets: Targets,
    folder: str,
    options: dict[str, Any],
    *writers: Record,
) -> Summary:
    """Retrieve into a folder, and follow that."""
    is_one = isinstance(targets, Sequence) and len(targets) == 1
    names = ("media_type", "layout", "viewport", "window", "manifest")
    run = client.retrieve(
        targets,
        folder,
        **{name: options[name] or "" for name in names},
        quality=options["quality"],
        skip_existing=options["skip_existing"],
        dry_run=options["dry_run"],
        on_error=OnError.RAISE if is_one else OnError.OUTCOME,
    )
    with keeping(invocation, options) as records:
        return invocation.console.follow(run, describe=_describe, records=(*records, *writers))


def _describe(outcome: Outcome) -> str:
    if outcome.status in (Status.RETRIEVED, Status.DONE_BEFORE, Status.EXISTS):
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be retrieved"
    return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
