"""The Retrieve transaction for metadata (PS3.18 section 10.4.1.1.2)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, TypeVar

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.native_xml import parse_native_xml, write_native_xml
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import NothingMatched, ProtocolError, Refused, Truncated
from dcmweb.http.media_types import DICOM_JSON, DICOM_XML, MediaType, multipart
from dcmweb.http.multipart import PIECE, read_parts
from dcmweb.http.response import not_dicomweb
from dcmweb.local.layout import Layout
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.retrieve.output import Destination, Saver
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome

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


def metadata_xml(context: RunContext, resource: Resource) -> Iterator[bytes]:
    """Yield the same as Native DICOM Model documents, as the server writes them.

    Where it has no XML, its JSON is written as such.
    """
    try:
        with _answer(context, resource, multipart(DICOM_XML)) as (file, kind):
            if kind.is_multipart:
                parts = read_parts(file.read, kind.parameters.get("boundary", ""))
                yield from _all_of(context, resource, (b"".join(part.body) for part in parts))
            elif kind.name == DICOM_XML:
                yield from _all_of(context, resource, iter([file.read()]))
            else:
                rows = map(write_native_xml, json_model.read_json(file))
                yield from _all_of(context, resource, rows)
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
    with _answer(context, resource, DICOM_JSON) as (file, _):
        yield from _all_of(context, resource, json_model.read_json(file))


def _instance_of(dataset: Dataset, resource: Resource) -> Resource:
    """Return the instance of metadata. Raises ProtocolError if it is not in the resource."""
    instance = paging.resource_of(dataset, Level.INSTANCES, Resource())
    if instance is None or not resource.holds(instance):
        raise ProtocolError(f"the server sent metadata of something else than {resource}")
    return instance


@contextmanager
def _answer(
    context: RunContext, resource: Resource, accept: str
) -> Iterator[tuple[IO[bytes], MediaType]]:
    """Get an answer into a temporary file, so that it can be requested again if it breaks off."""
    with tempfile.SpooledTemporaryFile(HELD) as file:
        kind = context.engine.attempt(lambda: _fetch(context, resource, accept, file))
        file.seek(0)
        yield file, kind


def _fetch(context: RunContext, resource: Resource, accept: str, file: IO[bytes]) -> MediaType:
    file.seek(0)
    file.truncate()
    with context.session.get(f"{resource}/metadata", accept=accept) as response:
        response.check(200, 204, 206)
        kind = response.media_type
        head = last = b""
        while piece := response.read(PIECE):
            head, last = head or piece.lstrip()[:1024], piece.rstrip()[-1:] or last
            file.write(piece)
        if not (kind.is_multipart or head[:1] in (b"[", b"{", b"<", b"")):
            raise not_dicomweb(response, head)
        if head[:1] == b"<" and kind.name != DICOM_XML:
            raise not_dicomweb(response, head)
        if not (kind.is_multipart or response.has_framing or last in (b"]", b"}", b">")):
            raise Truncated("the answer broke off, or does not say where it ends")
    return kind


def _all_of(context: RunContext, resource: Resource, found: Iterator[_T]) -> Iterator[_T]:
    """Yield what is found; raise an error if it is nothing, or incomplete."""
    count = 0
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
