"""Bulk data (PS3.18 section 10.4.1.1.7): that of a BulkDataURI, and all that instances have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import urljoin, urlsplit

from dcmweb.dicom.json_model import Dataset, bulk_references
from dcmweb.dicom.resources import Resource, Target
from dcmweb.errors import AuthError, NetworkError
from dcmweb.http.media_types import (
    BYTES_AS_STORED,
    EXTENSIONS,
    OTHER_EXTENSION,
    MediaType,
    multipart,
)
from dcmweb.http.response import not_dicomweb
from dcmweb.local.layout import readable_name
from dcmweb.local.partial_files import distinguishing_suffix, folder_path, safe_name
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.retrieve.accept import ask
from dcmweb.transactions.retrieve.instance_jobs import each_instance
from dcmweb.transactions.retrieve.metadata import describe, described
from dcmweb.transactions.retrieve.output import Destination, Saver
from dcmweb.transfer.outcomes import Outcome, Status

_EXTENSIONS = sorted({*EXTENSIONS.values(), OTHER_EXTENSION})


class BulkDataRetriever:
    """Retrieves bulk data, a file for each value."""

    def __init__(
        self, context: RunContext, destination: Destination, wanted: MediaType | None
    ) -> None:
        self._context = context
        self._destination = destination
        self._saver = Saver(context, destination, may_be_empty=True)
        forms = [multipart(wanted), str(wanted)] if wanted else ["*/*", multipart(BYTES_AS_STORED)]
        self._forms = forms

    def jobs(self, target: Target) -> Iterator[Job]:
        """Make the job for what a BulkDataURI names, or one for each instance of a resource."""
        if target.address:
            yield partial(self._named, target)
        else:
            tags = self._destination.layout.tags
            yield from each_instance(self._context, target.resource, self._all_of, *tags)

    def _named(self, target: Target) -> Iterator[Outcome]:
        stem = self._stem_of_named(target)
        try:
            yield from self._one(target.address, target.resource, stem, str(target))
        except (NetworkError, AuthError) as error:
            if not self._context.session.is_own(self._context.session.url(target.address)):
                error.fatal, error.hint = False, ""  # another server's tells nothing of ours
            raise

    def _stem_of_named(self, target: Target) -> str:
        """Name the file after what the address says beside the resource."""
        resource, layout = target.resource, self._destination.layout
        rest = target.address.removeprefix(f"{resource}/") if resource.study else ""
        if not rest:
            name = urlsplit(target.address).path.strip("/").rpartition("/")[2] or "bulkdata"
            return readable_name(name) + distinguishing_suffix(target.address)
        name = safe_name(rest.replace("/", "-"))
        if not resource.instance:
            return folder_path(resource) + name
        found = described(self._context, resource, layout, {})
        return f"{layout.place(resource, found)}_{name}"

    def _all_of(self, instance: Resource, _row: Dataset) -> Iterator[Outcome]:
        """Retrieve all bulk data of an instance, as its metadata names it."""
        dataset = describe(self._context, instance)
        stem = self._destination.layout.place(instance, dataset)
        base = self._context.session.url(f"{instance}/")
        found = False
        for path, uri in _bulk_data(dataset):
            found = True
            item, url = f"{instance}/bulkdata/{path}", urljoin(base, uri)
            if self._context.session.is_own(url):
                name = f"{stem}_{path.replace('/', '-')}"
                job = partial(self._one, url, instance, name, item)
                yield from one_of_many(self._context.engine, item, job)
            else:
                reason = f"lies on another server: {url}"
                yield Outcome(Status.FAILED, item, reason=reason)
        if not found:
            yield Outcome(Status.SKIPPED, str(instance), reason="it has no bulk data")

    def _one(self, address: str, resource: Resource, stem: str, item: str) -> Iterator[Outcome]:
        places = [stem + extension for extension in _EXTENSIONS]
        if there := self._destination.there(item, resource, places):
            yield there
        else:
            yield from self._context.engine.attempt(lambda: self._fetch(address, stem, item))

    def _fetch(self, address: str, stem: str, item: str) -> list[Outcome]:
        with ask(self._context, address, self._forms) as response:
            kind = response.media_type
            if kind.is_multipart:
                outcomes = list(self._saver.save_parts(response.parts(), None, stem, item))
                response.finish()
                return outcomes
            if kind.name == "text/html":
                raise not_dicomweb(response, response.read(1024))
            return [self._saver.save_answer(response, stem, item)]


def _bulk_data(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield path and URI of each element that refers to bulk data."""
    for path, element in bulk_references(dataset):
        if isinstance(uri := element["BulkDataURI"], str):
            yield "/".join(map(safe_name, path.split("/"))), uri
