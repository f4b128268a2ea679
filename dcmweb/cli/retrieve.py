"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import table_options
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.lists import empty_list, listed_paths
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.own_files import check_apart
from dcmweb.cli.records import Record, keeping, record_options, shard_option
from dcmweb.cli.stdout import Targets, print_item, print_metadata
from dcmweb.cli.targets import read_targets, target_options
from dcmweb.cli.text import some_of
from dcmweb.counted import plural
from dcmweb.dicom import json_model
from dcmweb.dicom.resources import Representation, Target, parse_target
from dcmweb.dicom.tags import NUMBER_OF_STUDY_RELATED_INSTANCES
from dcmweb.errors import DcmwebError, Interrupted, UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.summary import Summary

if TYPE_CHECKING:
    from dcmweb.library.client import Client

STDOUT = "-"
# What a contact sheet has no use for, by the names of parameters.
_NOT_WITH_SHEET = {
    "output": "--output",
    "media_type": "--type",
    "layout": "--layout",
    "skip_existing": "--skip-existing",
    "shard": "--shard",
    "manifest": "--manifest",
    "dry_run": "--dry-run",
    "on": "--on",
}
_RETRIEVING = Activity("Retrieving", "file")
_DRAWING = Activity("Drawing", "series", moves_bytes=False)
_LISTING = Activity("Listing studies", "study", moves_bytes=False)


@click.command(cls=Command)
@target_options("Retrieve", "[PATH]...")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Save into this folder, which is created if it is missing, or into a bucket, such as "
    "s3://bucket/prefix; the current folder by default. "
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
    help="Place files below the folder by attributes: '{PatientID}/{StudyDate}/{Modality}'; "
    "{InstanceNumber:04} at its end names files so that they sort as slices.",
)
@click.option(
    "--viewport",
    metavar="W,H",
    help="Size of rendered images, in pixels; add ,X,Y,W,H for a region.",
)
@click.option("--window", metavar="CENTER,WIDTH", help="VOI window of rendered images.")
@click.option("--quality", type=int, metavar="N", help="Quality of rendered images, 1 to 100.")
@click.option(
    "--contact-sheet",
    metavar="FILE",
    help="Write a page (.html) or picture (.png) with one image of each series instead, and save "
    "no instances. It shows data of patients.",
)
@click.option("--skip-existing", is_flag=True, help="Skip instances whose file exists.")
@table_options.named("on")
@shard_option
@record_options
@with_client
def retrieve(invocation: Invocation, client: Client, **options: Any) -> int:
    """Retrieve studies, series, instances or frames; the whole store without a PATH.

    Append /metadata, /rendered, /thumbnail or /bulkdata to a PATH for that representation.
    Metadata goes to stdout unless you give an --output folder.
    """
    roots = client.settings.roots
    texts, source = read_targets(options)
    named = [parse_target(text, *roots) for text in texts]
    listed = listed_paths(source, invocation.stop, null=options["null"]) if source else None
    first, targets = _targets(named, listed, roots)
    if options["contact_sheet"] is not None:
        return _make_sheet(invocation, client, targets, options).exit_code
    output = options["output"]
    is_printed = output is None and first.representation is Representation.METADATA
    if options["on"] and (output == STDOUT or is_printed):
        raise UsageError("--on does not go with output to stdout", "give a folder to -o")
    if output in (None, STDOUT) and first.representation is Representation.METADATA:
        return print_metadata(invocation, client, targets, options)

    def save(folder: str, *writers: Record) -> Summary:
        return _save(invocation, client, targets, folder, options, *writers)

    if output == STDOUT:
        return print_item(invocation, targets, options, save)
    folder = output or "./"
    if not options["dry_run"]:
        what = some_of([*texts, *([f"what is listed in {source}"] if source else [])])
        start = f"Retrieving {what or 'the whole store'} from {client.base_url}"
        invocation.console.start(start)
        invocation.console.note(f"Saving files into {folder}")
    return save(folder).exit_code


def _announce_whole_store(invocation: Invocation, client: Client) -> None:
    """Say how much the whole store is, before all of it is retrieved."""
    if invocation.console.quiet:
        return
    tag = NUMBER_OF_STUDY_RELATED_INSTANCES
    studies, instances = 0, 0
    try:
        found = client.search("studies", fields=[tag])
        with invocation.console.watching(lambda: found.progress, _LISTING):
            for row in found:
                studies += 1
                instances += json_model.number(row, tag) or 0
    except Interrupted:
        raise
    except DcmwebError:
        return  # the run itself says what is wrong
    if not studies:
        return  # so it does
    counted = f", {plural(instances, 'instance')}" if instances else ""
    invocation.console.line(f"The whole store: {plural(studies, 'study')}{counted}")


def _targets(
    named: list[Target], listed: Iterator[str] | None, roots: Sequence[str]
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
        raise empty_list()
    try:
        kind = parse_target(first, *roots) if isinstance(first, str) else first
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
    names = ("media_type", "layout", "viewport", "window", "shard", "manifest", "on")
    with keeping(invocation, options, [options["paths_from"]]) as records:
        run = client.retrieve(
            targets,
            folder,
            **{name: options[name] or "" for name in names},
            quality=options["quality"],
            skip_existing=options["skip_existing"],
            dry_run=options["dry_run"],
            on_error=OnError.RAISE if is_one else OnError.OUTCOME,
        )
        if targets == [Target()] and not options["dry_run"]:
            _announce_whole_store(invocation, client)
        return invocation.console.follow(
            run, _RETRIEVING, describe=_describe, records=(*records, *writers)
        )


def _make_sheet(
    invocation: Invocation, client: Client, targets: Targets, options: dict[str, Any]
) -> Summary:
    """Write a contact sheet, and no instances."""
    file = options["contact_sheet"]
    for name, words in _NOT_WITH_SHEET.items():
        if options[name]:
            raise UsageError(
                f"{words} is not for --contact-sheet, which saves no instances",
                "run retrieve twice: once for the sheet, once for the instances",
            )
    is_one = isinstance(targets, Sequence) and len(targets) == 1
    others = [options[name] for name in ("failed_to", "report", "paths_from")]
    check_apart(file, "--contact-sheet", others)
    with keeping(invocation, options, [options["paths_from"]]) as records:
        run = client.contact_sheet(
            targets,
            file,
            viewport=options["viewport"] or "",
            window=options["window"] or "",
            quality=options["quality"],
            on_error=OnError.RAISE if is_one else OnError.OUTCOME,
        )
        invocation.console.note(f"Writing a contact sheet, with data of patients, to {file}")
        return invocation.console.follow(run, _DRAWING, describe=_describe, records=records)


def _describe(outcome: Outcome) -> str:
    if outcome.status in (Status.RETRIEVED, Status.DONE_BEFORE, Status.EXISTS):
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be retrieved"
    return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
