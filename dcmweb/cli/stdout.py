"""What is retrieved to stdout: a single item as it is, metadata as one document."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dcmweb.cli import formats
from dcmweb.cli.options import Run
from dcmweb.dicom.resources import Level, Representation, Target, parse_target
from dcmweb.errors import DcmwebError, ExitCode, UsageError
from dcmweb.transfer.outcomes import Outcome, Tally

if TYPE_CHECKING:
    from dcmweb.http.media_types import MediaType
    from dcmweb.transactions.context import RunContext

# Options of use only where files are written, and only where pictures are.
_OF_FILES = ("as_json", "manifest", "failed_to", "dry_run", "skip_existing", "layout")
_OF_PICTURES = ("viewport", "window", "quality")

Targets = Sequence[Target] | Iterator[Target | str]
Save = Callable[[str, Callable[[Outcome], None]], Tally]


def print_item(
    run: Run, targets: Targets, wanted: MediaType | None, options: dict[str, Any], save: Save
) -> int:
    """Retrieve one item, and write it to stdout when it has come whole."""
    _refuse(options, "the item", *_OF_FILES)
    if not isinstance(targets, Sequence) or len(targets) > 1 or not _is_one(targets[0], wanted):
        raise UsageError("only one item can go to stdout", "name one, or a folder: --output DIR")
    if run.console.has_terminal_for_data:
        raise UsageError("stdout is a terminal", "redirect it: > FILE")
    places: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dcmweb-") as folder:
        tally = save(folder, lambda outcome: places.append(outcome.place))
        found = list(filter(None, places))
        if len(found) > 1:
            raise UsageError(f"{targets[0]} has {len(found)} frames", "name one: .../frames/1")
        for place in found:
            run.console.copy(place)
    return tally.exit_code


def _is_one(target: Target, wanted: MediaType | None) -> bool:
    """Whether a target can be a single item."""
    if target.representation in (Representation.METADATA, Representation.BULKDATA):
        return bool(target.address)
    from dcmweb.http.media_types import ZIP

    is_zip = wanted is not None and wanted.name == ZIP and bool(target.resource.study)
    is_whole = target.representation is Representation.THUMBNAIL or is_zip
    is_instance = target.resource.level is Level.INSTANCES
    return is_whole or is_instance or len(target.resource.frames) == 1


def print_metadata(
    run: Run,
    client: RunContext,
    targets: Targets,
    wanted: MediaType | None,
    options: dict[str, Any],
) -> int:
    """Write metadata to stdout, that of all targets as one document."""
    _refuse(options, "metadata", *_OF_FILES, *_OF_PICTURES)
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


def _metadata_of(client: RunContext, given: Target | str, *, is_xml: bool) -> Iterator[Any]:
    from dcmweb.transactions.retrieve.metadata import metadata, metadata_xml

    base_url = client.settings.base_url
    target = parse_target(given, base_url) if isinstance(given, str) else given
    if target.representation is not Representation.METADATA:
        raise UsageError(f"{target} cannot go to stdout with metadata", "name a folder: --output")
    get = metadata_xml if is_xml else metadata
    yield from get(client, target.resource)


def _is_xml(wanted: MediaType | None) -> bool:
    from dcmweb.http.media_types import DICOM_JSON, DICOM_XML

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
