"""Bulk data (PS3.18 section 10.4.1.1.7): that of a BulkDataURI, and all that instances have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import urljoin, urlsplit

from dcmweb.dicom.json_model import Dataset, bulk_references
from dcmweb.dicom.resources import Resource, Target
from dcmweb.errors import AuthError, NetworkError, NothingMatched, ProtocolError, Refused
from dcmweb.http.media_types import DICOM_JSON, EXTENSIONS, OTHER_EXTENSION, MediaType
from dcmweb.http.response import Response
from dcmweb.local.layout import readable_name
from dcmweb.local.safe_names import distinguishing_suffix, folder_path, safe_name
from dcmweb.transactions.accept import ask, forms_of_bulk_data, wrong_kind
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
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
        self._saver = Saver(context, destination, asked=wanted, may_be_empty=True)
        self._forms = forms_of_bulk_data(wanted)

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
            yield from self._one([target.address], target.resource, stem, str(target))
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
        found = described(self._context, resource, layout.tags, {})
        return f"{layout.own_place(resource, found)}_{name}"

    def _all_of(self, instance: Resource, _row: Dataset) -> Iterator[Outcome]:
        """Retrieve all bulk data of an instance, as its metadata names it."""
        dataset = describe(self._context, instance)
        stem = self._destination.layout.own_place(instance, dataset)
        base = self._context.session.url(f"{instance}/")
        found = False
        for path, uri in _bulk_data(dataset):
            found = True
            item = f"{instance}/bulkdata/{path}"
            addresses = self._addresses(urljoin(base, uri), instance)
            name = f"{stem}_{path.replace('/', '-')}"
            job = partial(self._one, addresses, instance, name, item)
            yield from one_of_many(self._context.engine, item, job)
        if not found:
            yield Outcome(Status.SKIPPED, str(instance), reason="it has no bulk data")

    def _addresses(self, url: str, instance: Resource) -> list[str]:
        """Return where the value of a BulkDataURI may be: nothing goes to another server.

        Behind a proxy, servers name their inner host, or http instead of https, or another path
        before that of the resource. What names this instance is asked for below BASE_URL as well.
        """
        session = self._context.session
        own = [url] if session.is_own(url) else []
        parts = urlsplit(url)
        _, marker, rest = parts.path.rpartition(f"/{instance}/")
        if marker and ".." not in rest.split("/"):
            path = f"{instance}/{rest}{'?' + parts.query if parts.query else ''}"
            if session.url(path) != url:
                own.append(path)
        return own or [url]

    def _one(
        self, addresses: list[str], resource: Resource, stem: str, item: str
    ) -> Iterator[Outcome]:
        places = [stem + extension for extension in _EXTENSIONS]
        if there := self._destination.there(item, resource, places):
            yield there
        else:
            yield from self._first_of(addresses, stem, item)

    def _first_of(self, addresses: list[str], stem: str, item: str) -> list[Outcome]:
        """Get a value from the first address that has it."""
        first, *others = addresses
        session = self._context.session
        if not (session.is_own(session.url(first)) or item == first):
            how = "to retrieve it without credentials, name this URL"
            raise ProtocolError(f"lies on another server: {_without_user(first)}; {how}")
        try:
            found = self._context.engine.attempt(lambda: self._fetch(first, stem, item))
        except (NothingMatched, Refused, ProtocolError) as error:
            if not others:
                raise
            try:
                return self._first_of(others, stem, item)
            except (NothingMatched, Refused, ProtocolError):
                raise error from None
        if "://" not in first and first != item:
            self._context.notify_once(
                "BulkDataURIs name another address: the same paths below BASE_URL are retrieved"
            )
        return found

    def _fetch(self, address: str, stem: str, item: str) -> list[Outcome]:
        with ask(self._context, address, self._forms, unsuitable=_something_else) as response:
            kind = response.media_type
            if kind.is_multipart:
                outcomes = list(self._saver.save_parts(response.parts(), None, stem, item))
                response.finish()
                return outcomes
            return [self._saver.save_answer(response, stem, item)]


def _something_else(response: Response) -> ProtocolError | None:
    is_other = response.media_type.name in ("text/html", DICOM_JSON, "application/json")
    return wrong_kind(response, "bulk data") if is_other else None


def _without_user(url: str) -> str:
    """Return a URL without the user and password that it may have."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _bulk_data(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield path and URI of each element that refers to bulk data."""
    for path, element in bulk_references(dataset):
        if isinstance(uri := element["BulkDataURI"], str):
            yield "/".join(map(safe_name, path.split("/"))), uri
