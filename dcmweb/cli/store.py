"""`dcmweb BASE_URL store`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import table_options
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.lists import STDIN, PathList, is_stream, listed_paths, read_some
from dcmweb.cli.options import Invocation, of_command_line, with_client
from dcmweb.cli.records import keeping, record_options, shard_option
from dcmweb.cli.targets import check_null
from dcmweb.cli.text import some_of
from dcmweb.counted import plural
from dcmweb.errors import UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.library.client import Client
    from dcmweb.library.runs import Transfer
    from dcmweb.transactions.store.metadata_instance import Metadata
    from dcmweb.transfer.stop import Stop


_STORING = Activity("Storing", "file")
# Of the Cloud Healthcare API: each is cheaper to keep, and dearer to read, than the one before.
ORDERS = ["path", "newest", "oldest", "largest", "smallest"]
STORAGE_CLASSES = ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"]


@click.command(cls=Command)
@click.argument("masks", nargs=-1, metavar="[FILES]...")
@click.option(
    "--files-from",
    metavar="FILE",
    help="Store the files whose paths are in FILE, one per line; - is stdin.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="MASK",
    help="Store only files that MASK matches: names, or with slashes the ends of paths. Can be "
    "given several times.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="MASK",
    help="Leave out files that MASK matches; one that ends with a slash is for folders.",
)
@click.option(
    "--newer-than",
    metavar="AGE|DATE",
    help="Store only files that changed since: 24h, 7d, 2026-11-01, 2026-11-01T18:00.",
)
@click.option(
    "--sort",
    type=click.Choice(ORDERS),
    help="Store files in this order; by default as they are found.",
)
@click.option(
    "--verify", is_flag=True, help="Ask the server afterwards whether it lists every instance."
)
@click.option(
    "--metadata",
    metavar="FILE",
    help="Make instances from the DICOM JSON in FILE (- is stdin) and from images and PDFs, given "
    "in place of DICOM files.",
)
@click.option(
    "--storage-class",
    type=click.Choice(STORAGE_CLASSES, case_sensitive=False),
    help="Google only: storage class of the instances; by default that of the DICOM store.",
)
@table_options.named("on")
@table_options.named("if-exists")
@table_options.named("orthanc-api")
@table_options.named("batch-size")
@table_options.named("batch-count")
@table_options.named("stow-form")
@shard_option
@record_options
@with_client
def store(
    invocation: Invocation,
    client: Client,
    masks: tuple[str, ...],
    files_from: str | None,
    metadata: str | None,
    **options: Any,
) -> int:
    """Store files, folders and files that match masks."""
    if not masks and not files_from and not metadata:
        raise UsageError("there is nothing to store", "name files, folders or masks")
    check_null(options, files_from)
    if options["orthanc_api"] and options["if_exists"] != "replace":
        of_command_line("orthanc_api", "it is for --if-exists replace")
    if metadata and options["shard"]:
        raise UsageError("--shard does not go with --metadata", "the files make one study together")
    if metadata == STDIN and (files_from == STDIN or options["manifest"]):
        which = "--files-from -" if files_from == STDIN else "--manifest"
        raise UsageError(f"--metadata - does not go with {which}", "write the metadata to a file")
    names = ("on", "include", "exclude", "newer_than", "sort")
    of_files = {name: options[name] for name in names if options[name]}
    if metadata and of_files:
        option = "--" + next(iter(of_files)).replace("_", "-")
        raise UsageError(f"{option} does not go with --metadata", "leave it out")
    begin: Callable[..., Transfer] = partial(client.store, shard=options["shard"] or "", **of_files)
    if metadata:
        begin = partial(client.store_metadata, _read(metadata, invocation.stop))
    with keeping(invocation, options, [files_from, metadata]) as records:
        run = begin(
            masks,
            listed=_listed(invocation, files_from, options),
            verify=options["verify"],
            dry_run=options["dry_run"],
            storage_class=options["storage_class"] or "",
            if_exists=options["if_exists"] or "skip",
            orthanc_api=options["orthanc_api"] or "",
            manifest=options["manifest"] or "",
        )
        invocation.console.start(_start(client.base_url, masks, files_from, options))
        summary = invocation.console.follow(run, _STORING, describe=_describe, records=records)
    if summary.items and summary.counts.get(Status.SKIPPED) == summary.items:
        files = plural(summary.items, "file")
        invocation.console.line(f"Please note: nothing was stored, since none of {files} is DICOM")
    return summary.exit_code


def _listed(
    invocation: Invocation, files_from: str | None, options: dict[str, Any]
) -> Iterable[str]:
    if not files_from:
        return ()
    can_be_read_again = files_from != STDIN and not is_stream(files_from)
    read = PathList if can_be_read_again else listed_paths
    return read(files_from, invocation.stop, null=options["null"])


def _start(
    base_url: str, masks: tuple[str, ...], files_from: str | None, options: dict[str, Any]
) -> str:
    """Say what is to be done."""
    named = [*masks, *([f"the files listed in {files_from}"] if files_from else [])]
    what = some_of(named) or "instances made of metadata"
    then = ", then verifying" if options["verify"] else ""
    dry = " (dry run)" if options["dry_run"] else ""
    return f"Storing {what} to {base_url}{then}{dry}"


def _read(path: str, stop: Stop) -> Metadata | str:
    """Name a file of metadata; read stdin."""
    from dcmweb.transactions.store.metadata_instance import Metadata

    if path != STDIN:
        return path
    return Metadata("stdin", b"".join(iter(partial(read_some, sys.stdin.buffer, stop), b"")))


def _describe(outcome: Outcome) -> str:
    if outcome.status is Status.DONE_BEFORE:
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be stored"
    if outcome.status is not Status.STORED:
        return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
    note = f", but: {outcome.reason}" if outcome.reason else ""
    return f"{outcome.item} uploaded as {outcome.place}{note}"
