"""The Retrieve transaction for metadata (PS3.18 section 10.4.1.1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_text import indented
from dcmweb.dicom.resources import Representation, Resource, Target, parse_named_target
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    ItemsFailed,
    LocalError,
    NothingMatched,
    ProtocolError,
    UsageError,
)
from dcmweb.http.media_types import DICOM_JSON, DICOM_XML, MediaType
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.metadata_answer import Described, metadata_answer
from dcmweb.transactions.retrieve.metadata_gathering import gather, instance_of
from dcmweb.transactions.retrieve.output import Destination, Saver, blocked
from dcmweb.transfer.outcomes import Outcome, Status

METADATA_TYPES = (DICOM_JSON, DICOM_XML)

_T = TypeVar("_T")


def metadata(context: RunContext, resource: Resource) -> Iterator[Dataset]:
    """Yield the metadata of all instances of a study or series, or of one, as DICOM JSON.

    Raises NothingMatched if there is no such resource, ProtocolError for what is not of it, and
    ItemsFailed at the end if metadata of some instances did not come.
    """
    return (found.dataset for found in _all_of(context, resource, wants_xml=False))


def metadata_of_all(
    context: RunContext,
    targets: Iterable[Target | str],
    get: Callable[[RunContext, Resource], Iterator[_T]],
    *,
    on_error: OnError,
    failures: list[Outcome],
) -> Iterator[_T]:
    """Yield the metadata of each target; an error that is not raised is added to the failures."""
    for given in targets:
        try:
            target = given
            if isinstance(target, str):
                target = parse_named_target(target, *context.settings.roots)
            if target.representation is not Representation.METADATA:
                raise UsageError(f"{target} is not metadata", "add /metadata to the path")
            yield from get(context, target.resource)
        except Interrupted:
            raise
        except DcmwebError as error:
            if on_error is OnError.RAISE or context.engine.gives_up(error):
                raise
            failures.append(Outcome(Status.FAILED, str(given), reason=error.message))
            context.notify(f"{given} failed: {error.message}")


def metadata_xml(context: RunContext, resource: Resource) -> Iterator[bytes]:
    """Yield the same as Native DICOM Model documents, as the server writes them.

    Where it has no XML, its JSON is written as such.
    """
    return (found.xml for found in _all_of(context, resource, wants_xml=True))


def _all_of(context: RunContext, resource: Resource, *, wants_xml: bool) -> Iterator[Described]:
    failures = []
    for found in gather(context, resource, wants_xml=wants_xml):
        if isinstance(found, Outcome):
            failures.append(found)
            context.notify(f"{found.item} failed: {found.reason}")
        else:
            yield found
    if failures:
        raise ItemsFailed(f"metadata of {resource} is incomplete: {failures[0].reason}")


def describe(context: RunContext, instance: Resource) -> Dataset:
    """Get the metadata of one instance; its study and series UIDs may differ from the path."""
    with metadata_answer(context, instance) as answer:
        found = next(answer.items(), None)
    if found is None:
        raise NothingMatched(f"there is no metadata of {instance}")
    if answer.missing:
        raise ProtocolError(f"metadata of {instance}: {answer.missing}")
    return found.dataset


def described(
    context: RunContext, instance: Resource, tags: Sequence[str], row: Dataset
) -> Dataset:
    """Get the attributes that a layout needs, unless a row of a search result has them."""
    if all(tag in row for tag in tags):
        return row
    return describe(context, instance.without_frames)


class MetadataRetriever:
    """Writes metadata into files, one for each instance."""

    def __init__(
        self, context: RunContext, destination: Destination, wanted: MediaType | None
    ) -> None:
        self._context = context
        self._destination = destination
        self._saver = Saver(context, destination)
        self._kind = wanted or MediaType(DICOM_JSON)

    def jobs(self, resource: Resource) -> Iterator[Job]:
        """Make the job for a study, series or instance."""
        yield partial(self._save_all, resource)

    def _save_all(self, resource: Resource) -> Iterator[Outcome]:
        is_xml = self._kind.name == DICOM_XML
        for found in gather(self._context, resource, wants_xml=is_xml):
            if isinstance(found, Outcome):
                yield found
                continue
            instance = instance_of(found.dataset, resource)
            item = f"{instance}/metadata"
            stem = self._destination.layout.own_place(instance, found.dataset)
            try:
                yield self._destination.there(
                    item, instance, [stem + self._kind.extension]
                ) or self._saver.save_content(self._written(found), self._kind, stem, item)
            except LocalError as error:
                if resource.instance:
                    raise
                yield blocked(item, instance, error)

    def _written(self, found: Described) -> bytes:
        if self._kind.name == DICOM_XML:
            return found.xml
        return f"[\n  {indented(found.dataset)}\n]\n".encode()
