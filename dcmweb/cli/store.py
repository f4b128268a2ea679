"""`dcmweb BASE_URL store`."""

from __future__ import annotations

import os
import sys
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.progress import Census, Share
from dcmweb.cli.records import keeping, listed_paths, read_some, record_options
from dcmweb.errors import LocalError, UsageError
from dcmweb.local.masks import find, find_listed, size_of
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext
    from dcmweb.transactions.store.metadata_instance import Metadata
    from dcmweb.transfer.stop import Stop


# Of the Cloud Healthcare API: each is cheaper to keep, and dearer to read, than the one before.
STORAGE_CLASSES = ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"]


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
@click.option(
    "--metadata",
    metavar="FILE",
    help="Make instances of the DICOM JSON in FILE (- is stdin), and of the images and PDFs that "
    "are named instead of DICOM files.",
)
@click.option(
    "--storage-class",
    type=click.Choice(STORAGE_CLASSES, case_sensitive=False),
    help="Google only: the storage class of what is stored; the store's own by default.",
)
@record_options
@with_client
def store(
    run: Run,
    client: RunContext,
    masks: tuple[str, ...],
    files_from: str | None,
    metadata: str | None,
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
    store --metadata instance.json image.jpg
                               an instance made of both
    """
    from dcmweb.transactions.store import run as transaction

    if not masks and not files_from and not metadata:
        raise UsageError("there is nothing to store", "name files, folders or masks")
    if metadata == "-" and (files_from == "-" or options["manifest"]):
        which = "--files-from -" if files_from == "-" else "--manifest"
        raise UsageError(f"--metadata - does not go with {which}", "write the metadata to a file")
    listed = listed_paths(files_from, run.stop, null=options["null"]) if files_from else ()
    store_options = transaction.StoreOptions(
        dry_run=options["dry_run"],
        verify=options["verify"] and not options["dry_run"],
        storage_class=options["storage_class"] or "",
    )
    begin = transaction.store
    if metadata:
        begin = partial(transaction.store_metadata, metadata=_read(metadata, run.stop))
    with keeping(run, client.settings.base_url, "store", options) as records:
        tally = run.console.follow(
            begin(
                client, masks=masks, listed=listed, is_done=records.is_done, options=store_options
            ),
            client.engine,
            purpose=Status.PLANNED if options["dry_run"] else Status.STORED,
            describe=_describe,
            records=records.writers,
            **_estimating(run, masks, files_from, options),
        )
    return tally.exit_code


def _read(path: str, stop: Stop) -> Metadata:
    """Read a file of metadata, or stdin."""
    from dcmweb.transactions.store.metadata_instance import Metadata

    if path == "-":
        return Metadata("stdin", b"".join(iter(partial(read_some, sys.stdin.buffer, stop), b"")))
    try:
        with open(path, "rb") as file:
            return Metadata(path, file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}", path=path) from error


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
