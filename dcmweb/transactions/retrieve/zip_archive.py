"""Retrieve studies, series and instances as ZIP archives (PS3.18 section 8.6.1.3)."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from dcmweb.dicom.resources import Resource
from dcmweb.errors import IncompletePayload, ProtocolError
from dcmweb.http.media_types import EXTENSIONS, ZIP, MediaType
from dcmweb.http.multipart import PIECE
from dcmweb.http.response import not_dicomweb
from dcmweb.local.partial_files import PartialFile, check_space, folder_path, instance_path
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.retrieve.accept import ask
from dcmweb.transactions.retrieve.instance_jobs import unusable
from dcmweb.transactions.retrieve.output import Destination, Saver, outcome_of
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

_SYNTAX = "transfer-syntax"


class ZipRetriever:
    """Retrieves resources as ZIP archives, and checks that they are complete."""

    def __init__(
        self, context: RunContext, destination: Destination, wanted: MediaType | None
    ) -> None:
        self._context = context
        self._destination = destination
        self._saver = Saver(context, destination)
        self._lister = Lister(context)
        wanted = wanted or MediaType(ZIP)
        as_stored = replace(wanted, parameters={_SYNTAX: "*", **wanted.parameters})
        # Some servers refuse parameters here.
        self._forms = list(dict.fromkeys([str(as_stored), str(wanted)]))

    def jobs(self, resource: Resource) -> Iterator[Job]:
        """Make the job for a resource; for the whole store, one for each study."""
        if resource.study:
            count = None if resource.instance else self._lister.count(resource)
            yield partial(self._one, resource, count)
            return
        for study, count in self._lister.studies():
            if study is None:
                yield partial(iter, [unusable(resource)])
            else:
                job = partial(self._one, study, count)
                yield partial(one_of_many, self._context.engine, str(study), job)

    def _one(self, resource: Resource, count: int | None) -> Iterator[Outcome]:
        stem = instance_path(resource) if resource.instance else folder_path(resource).rstrip("/")
        place = stem + EXTENSIONS[ZIP]
        if there := self._destination.there(str(resource), resource, [place]):
            yield there
        else:
            yield self._context.engine.attempt(lambda: self._fetch(resource, place, count))

    def _fetch(self, resource: Resource, place: str, count: int | None) -> Outcome:
        with ask(self._context, str(resource), self._forms) as response:
            if response.media_type.name not in (ZIP, "application/octet-stream"):
                raise not_dicomweb(response, response.read(1024))
            check_space(self._destination.folder, response.size or 0)
            with self._saver.writing(iter(partial(response.read, PIECE), b"")) as file:
                _check(file, count or 1)
                status = file.status
                path = file.move_to(place)
        return outcome_of(Status.RETRIEVED, str(resource), resource, path, status)


def _check(file: PartialFile, count: int) -> None:
    """Raise an error unless a ZIP archive is intact and has at least `count` files."""
    try:
        with file.reader() as reader, zipfile.ZipFile(reader) as archive:
            names = [name for name in archive.namelist() if not name.endswith(("/", "DICOMDIR"))]
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise IncompletePayload(f"the ZIP archive is broken: {error}") from None
    if broken:
        raise IncompletePayload(f"the ZIP archive is broken: {broken}")
    if len(names) < count:
        raise ProtocolError(f"the ZIP archive has {len(names)} files, the server counts {count}")
