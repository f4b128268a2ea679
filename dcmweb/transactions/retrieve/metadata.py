"""The Retrieve transaction for metadata (PS3.18 section 10.4.1.1.2)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TypeVar

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.native_xml import parse_native_xml, write_native_xml
from dcmweb.dicom.resources import Level, Representation, Resource, Target, parse_named_target
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
    Truncated,
    UsageError,
)
from dcmweb.http.media_types import DICOM_JSON, DICOM_XML, MediaType, multipart
from dcmweb.http.multipart import PIECE, read_parts
from dcmweb.http.response import not_dicomweb
from dcmweb.local.layout import Layout
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.output import Destination, Saver
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

METADATA_TYPES = (DICOM_JSON, DICOM_XML)
HELD = 8 * 1024 * 1024  # bytes of an answer; what is more goes to a temporary file
_REFUSALS = (400, 406, 415)

_T = TypeVar("_T")


def metadata(context: RunContext, resource: Resource) -> Iterator[Dataset]:
    """Yield the metadata of all instances of a study or series, or of one, as DICOM JSON.

    Raises NothingMatched if there is no such resource, ProtocolError for what is not of it, and at
    the end if there are more instances than came.
    """
    for dataset in _datasets(context, resource):
        _instance_of(dataset, resource)
        yield dataset


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
                target = parse_named_target(target, context.settings.base_url)
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
    try:
        with _answer(context, resource, multipart(DICOM_XML)) as answer:
            documents = answer.documents()
            if documents is None:
                documents = map(write_native_xml, json_model.read_json(answer.file))
            yield from _all_of(context, answer, documents)
    except Refused as error:
        if error.status not in _REFUSALS:
            raise
        context.notify(f"{resource}: the server has no metadata as XML, so it is made from JSON")
        yield from map(write_native_xml, metadata(context, resource))


def describe(context: RunContext, instance: Resource) -> Dataset:
    """Get the metadata of one instance; its study and series UIDs may differ from the path."""
    return next(_datasets(context, instance))


def described(context: RunContext, instance: Resource, layout: Layout, row: Dataset) -> Dataset:
    """Get the attributes that a layout needs, unless a row of a search result has them."""
    if all(tag in row for tag in layout.tags):
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
        for dataset, content in self._contents(resource):
            instance = _instance_of(dataset, resource)
            item = f"{instance}/metadata"
            stem = self._destination.layout.place(instance, dataset)
            yield self._destination.there(
                item, instance, [stem + self._kind.extension]
            ) or self._saver.save_content(content, self._kind, stem, item)

    def _contents(self, resource: Resource) -> Iterator[tuple[Dataset, bytes]]:
        if self._kind.name == DICOM_XML:
            for document in metadata_xml(self._context, resource):
                yield parse_native_xml(document), document
        else:
            for dataset in _datasets(self._context, resource):
                yield dataset, json.dumps([dataset], indent=2, sort_keys=True).encode() + b"\n"


def _datasets(context: RunContext, resource: Resource) -> Iterator[Dataset]:
    with _answer(context, resource, DICOM_JSON) as answer:
        yield from _all_of(context, answer, json_model.read_json(answer.file))


def _instance_of(dataset: Dataset, resource: Resource) -> Resource:
    """Return the instance of metadata. Raises ProtocolError if it is not in the resource."""
    instance = paging.resource_of(dataset, Level.INSTANCES, Resource())
    if instance is None or not resource.holds(instance):
        raise ProtocolError(f"the server sent metadata of something else than {resource}")
    return instance


@dataclass
class _Answer:
    """An answer with metadata, in a file."""

    resource: Resource
    file: IO[bytes]
    kind: MediaType = field(default_factory=lambda: MediaType(""))
    is_partial: bool = False

    def documents(self) -> Iterator[bytes] | None:
        """Yield the XML documents; None if it is JSON."""
        if self.kind.is_multipart:
            boundary = self.kind.parameters.get("boundary", "")
            parts = read_parts(self.file.read, boundary, is_whole=True)
            return (b"".join(part.body) for part in parts)
        return iter([self.file.read()]) if self.kind.name == DICOM_XML else None

    def check_end(self) -> None:
        """Raise Truncated unless its own structure shows that it is whole."""
        self.file.seek(0)
        try:
            documents = self.documents()
            for _ in json_model.read_json(self.file) if documents is None else ():
                pass
            for document in documents or ():
                parse_native_xml(document)
        except ProtocolError as error:
            reason = "the answer broke off, or does not say where it ends"
            raise Truncated(f"{reason}: {error.message}") from None


@contextmanager
def _answer(context: RunContext, resource: Resource, accept: str) -> Iterator[_Answer]:
    """Get an answer into a temporary file, so that it can be requested again if it breaks off."""
    with tempfile.SpooledTemporaryFile(HELD) as file:
        answer = _Answer(resource, file)
        context.engine.attempt(lambda: _fetch(context, answer, accept))
        file.seek(0)
        yield answer


def _fetch(context: RunContext, answer: _Answer, accept: str) -> None:
    file = answer.file
    file.seek(0)
    file.truncate()
    with context.session.get(f"{answer.resource}/metadata", accept=accept) as response:
        response.check_content(may_be_partial=True)
        answer.is_partial = response.is_partial
        kind = answer.kind = response.media_type
        head = b""
        while piece := response.read(PIECE):
            head = head or piece.lstrip()[:1024]
            file.write(piece)
        if not (kind.is_multipart or head[:1] in (b"[", b"{", b"<", b"")):
            raise not_dicomweb(response, head)
        if head[:1] == b"<" and kind.name != DICOM_XML:
            raise not_dicomweb(response, head)
        if not response.has_end:
            answer.check_end()


def _all_of(context: RunContext, answer: _Answer, found: Iterator[_T]) -> Iterator[_T]:
    """Yield what is found; raise an error if it is nothing, or incomplete."""
    resource, count = answer.resource, 0
    for one in found:
        count += 1
        yield one
    if not count:
        raise NothingMatched(f"there is no metadata of {resource}")
    expected = None if resource.instance else Lister(context).count(resource)
    if expected and count < expected:
        raise ProtocolError(
            f"the server counts {expected} instances in {resource}, but sent metadata of {count}"
        )
    if answer.is_partial:
        raise ProtocolError(f"the server says that metadata of {resource} is missing (206)")
