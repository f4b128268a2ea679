"""`dcmweb BASE_URL retrieve`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import formats
from dcmweb.cli.options import Run, with_client
from dcmweb.cli.records import Records, keeping, listed_paths, record_options
from dcmweb.dicom.paths import Form, Level, Target, parse_target
from dcmweb.errors import DcmwebError, ExitCode, NothingMatched, UsageError
from dcmweb.transfer.outcomes import Outcome, Status, Tally

if TYPE_CHECKING:
    from dcmweb.http.media_types import MediaType
    from dcmweb.transactions import Client

STDOUT = STDIN = "-"
# Options of use only where files are written.
_OF_FILES = ("as_json", "manifest", "failed_to", "dry_run", "skip_existing", "layout")

Targets = Sequence[Target] | Iterator[Target | str]


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
    client: Client,
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
    named = [parse_target(p, base_url) for p in (*paths, *named_paths) if p != STDIN]
    if STDIN in paths and paths_from not in (None, STDIN):
        raise UsageError("paths come from stdin and from a file", "choose one")
    source = STDIN if STDIN in paths else paths_from
    listed = listed_paths(source, run.stop, null=options["null"]) if source else None
    first, targets = _targets(named, listed, base_url)
    if options["output"] in (None, STDOUT) and first.form is Form.METADATA:
        return _print_metadata(run, client, targets, wanted, options)
    if options["output"] == STDOUT:
        return _print_item(run, client, targets, wanted, options)
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
    kind = parse_target(first, base_url) if isinstance(first, str) else first
    return kind, chain([first], targets_and_paths)


def _save(
    run: Run,
    client: Client,
    targets: Targets,
    folder: str,
    wanted: MediaType | None,
    options: dict[str, Any],
    *writers: Callable[[Outcome], None],
) -> Tally:
    """Retrieve into a folder, and follow that."""
    from dcmweb import transactions
    from dcmweb.dicom.layout import DEFAULT_TEMPLATE, Layout

    names = ("viewport", "window", "quality")
    rendering = transactions.parse_rendering(**{name: options[name] for name in names})
    layout = Layout(DEFAULT_TEMPLATE if options["layout"] is None else options["layout"])
    dry_run = options["dry_run"]
    with keeping(run, client.settings.base_url, "retrieve", options) as records:
        destination = transactions.Destination(folder, layout, _has(records, options))
        return run.console.follow(
            transactions.retrieve(client, targets, destination, wanted, rendering, dry_run=dry_run),
            client.engine,
            purpose=Status.PLANNED if dry_run else Status.RETRIEVED,
            describe=_describe,
            records=(*records.writers, *writers),
        )


def _print_item(
    run: Run,
    client: Client,
    targets: Targets,
    wanted: MediaType | None,
    options: dict[str, Any],
) -> int:
    """Retrieve one item, and write it to stdout when it has come whole."""
    _refuse(options, "the item")
    if not isinstance(targets, Sequence) or len(targets) > 1 or not _is_one(targets[0], wanted):
        raise UsageError("only one item can go to stdout", "name one, or a folder: --output DIR")
    if run.console.has_terminal_for_data:
        raise UsageError("stdout is a terminal", "redirect it: > FILE")
    places: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dcmweb-") as folder:
        tally = _save(
            run, client, targets, folder, wanted, options, lambda one: places.append(one.place)
        )
        found = list(filter(None, places))
        if len(found) > 1:
            raise UsageError(f"{targets[0]} has {len(found)} frames", "name one: .../frames/1")
        for place in found:
            run.console.copy(place)
    return tally.exit_code


def _is_one(target: Target, wanted: MediaType | None) -> bool:
    """Whether a target can be a single item."""
    if target.form in (Form.METADATA, Form.BULKDATA):
        return bool(target.address)
    from dcmweb.http.media_types import ZIP

    is_zip = wanted is not None and wanted.name == ZIP and bool(target.resource.study)
    is_whole = target.form is Form.THUMBNAIL or is_zip
    is_instance = target.resource.level is Level.INSTANCES
    return is_whole or is_instance or len(target.resource.frames) == 1


def _print_metadata(
    run: Run,
    client: Client,
    targets: Targets,
    wanted: MediaType | None,
    options: dict[str, Any],
) -> int:
    """Write metadata to stdout, that of all targets as one document."""
    _refuse(options, "metadata")
    is_xml = _is_xml(wanted)
    failures: list[str] = []

    def found() -> Iterator[Any]:
        for target in targets:
            try:
                yield from _metadata_of(client, target, is_xml=is_xml)
            except DcmwebError as error:
                if isinstance(targets, Sequence) and len(targets) == 1:
                    raise
                if client.engine.gives_up(error):
                    raise
                failures.append(str(target))
                run.console.line(f"{target} failed: {error.message}")

    is_one = isinstance(targets, Sequence) and len(targets) == 1 and targets[0].resource.instance
    if is_xml and is_one:
        run.console.stream(document.decode("utf-8", "replace") for document in found())
    else:
        run.console.stream(formats.as_xml(found()) if is_xml else formats.as_json(found()))
    return ExitCode.SOME_FAILED if failures else ExitCode.OK


def _metadata_of(client: Client, given: Target | str, *, is_xml: bool) -> Iterator[Any]:
    from dcmweb import transactions

    base_url = client.settings.base_url
    target = parse_target(given, base_url) if isinstance(given, str) else given
    if target.form is not Form.METADATA:
        raise UsageError(f"{target} cannot go to stdout with metadata", "name a folder: --output")
    get = transactions.metadata_xml if is_xml else transactions.metadata
    yield from get(client, target.resource)


def _is_xml(wanted: MediaType | None) -> bool:
    from dcmweb.http.media_types import DICOM_JSON, DICOM_XML

    if wanted and wanted.name not in (DICOM_JSON, DICOM_XML):
        raise UsageError(
            f"metadata does not come as {wanted.name}", f"it comes as {DICOM_JSON} or {DICOM_XML}"
        )
    return wanted is not None and wanted.name == DICOM_XML


def _refuse(options: dict[str, Any], what: str) -> None:
    """Raise UsageError for options that are of use only where files are written."""
    for name in _OF_FILES:
        if options[name]:
            option = name.removeprefix("as_").replace("_", "-")
            raise UsageError(
                f"{what} goes to stdout, where --{option} is of no use", "give an --output folder"
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
