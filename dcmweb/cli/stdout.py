"""What is retrieved to stdout: a single item as it is, metadata as one document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dcmweb.cli import formats
from dcmweb.cli.activity import Activity
from dcmweb.cli.options import Invocation
from dcmweb.cli.records import Record
from dcmweb.counted import plural
from dcmweb.dicom.resources import Level, Representation, Target
from dcmweb.errors import ExitCode, UsageError
from dcmweb.temporary import temporary_folder
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.summary import Summary

if TYPE_CHECKING:
    from dcmweb.http.media_types import MediaType
    from dcmweb.library.client import Client
    from dcmweb.library.row_runs import Rows

# Options of use only where files are written, and only where pictures are.
_OF_FILES = ("as_json", "manifest", "failed_to", "dry_run", "skip_existing", "layout")
_OF_RUNS = ("shard", "report")  # where something is retrieved into files, if only for a while
_OF_PICTURES = ("viewport", "window", "quality")

_RETRIEVING = Activity("Retrieving metadata", "instance", moves_bytes=False)

Targets = Sequence[Target] | Iterator[Target | str]
Save = Callable[[str, Record], Summary]


def print_item(
    invocation: Invocation, targets: Targets, options: dict[str, Any], save: Save
) -> int:
    """Retrieve one item, and write it to stdout when it has come whole."""
    _refuse(options, "the item", *_OF_FILES)
    wanted = _wanted(options)
    if not isinstance(targets, Sequence) or len(targets) > 1 or not _is_one(targets[0], wanted):
        raise UsageError("only one item can go to stdout", "name one, or a folder: --output DIR")
    if invocation.console.has_terminal_for_data:
        raise UsageError("stdout is a terminal", "redirect it: > FILE")
    places: list[str] = []
    with temporary_folder() as folder:
        summary = save(folder, lambda outcome: places.append(outcome.place))
        found = list(filter(None, places))
        if len(found) > 1:
            raise UsageError(
                f"{targets[0]} has {plural(len(found), 'frame')}", "name one: .../frames/1"
            )
        for place in found:
            invocation.console.copy(place)
    return summary.exit_code


def _wanted(options: dict[str, Any]) -> MediaType | None:
    from dcmweb.http.media_types import parse_wanted

    return parse_wanted(options["media_type"]) if options["media_type"] else None


def _is_one(target: Target, wanted: MediaType | None) -> bool:
    """Return True if a target can be a single item."""
    if target.representation in (Representation.METADATA, Representation.BULKDATA):
        return bool(target.address)
    from dcmweb.http.media_types import ZIP

    is_zip = wanted is not None and wanted.name == ZIP and bool(target.resource.study)
    is_whole = target.representation is Representation.THUMBNAIL or is_zip
    is_instance = target.resource.level is Level.INSTANCES
    return is_whole or is_instance or len(target.resource.frames) == 1


def print_metadata(
    invocation: Invocation, client: Client, targets: Targets, options: dict[str, Any]
) -> int:
    """Write metadata to stdout, that of all targets as one document."""
    _refuse(options, "metadata", *_OF_FILES, *_OF_RUNS, *_OF_PICTURES)
    only = targets[0] if isinstance(targets, Sequence) and len(targets) == 1 else None
    rule = OnError.RAISE if only else OnError.OUTCOME
    found: Rows[Any]
    pieces: Iterator[str]
    if _is_xml(options):
        found = documents = client.metadata_xml(targets, on_error=rule)
        if only and only.resource.instance:
            pieces = (document.decode("utf-8", "replace") for document in documents)
        else:
            pieces = formats.as_xml(documents)
    else:
        found = client.metadata(targets, on_error=rule)
        pieces = formats.as_json(found)
    with invocation.console.watching(lambda: found.progress, _RETRIEVING):
        invocation.console.stream(pieces)
    return ExitCode.SOME_FAILED if found.failures else ExitCode.OK


def _is_xml(options: dict[str, Any]) -> bool:
    from dcmweb.http.media_types import DICOM_JSON, DICOM_XML

    wanted = _wanted(options)
    if wanted and wanted.name not in (DICOM_JSON, DICOM_XML):
        raise UsageError(
            f"metadata does not come as {wanted.name}", f"it comes as {DICOM_JSON} or {DICOM_XML}"
        )
    return wanted is not None and wanted.name == DICOM_XML


def _refuse(options: dict[str, Any], what: str, *names: str) -> None:
    """Raise UsageError for options that are of no use for what goes to stdout."""
    for name in names:
        if options[name]:
            option = name.removeprefix("as_").replace("_", "-")
            raise UsageError(
                f"{what} goes to stdout, where --{option} is of no use", "give an --output folder"
            )
