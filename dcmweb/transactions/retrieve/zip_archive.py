"""Retrieve studies, series and instances as ZIP archives (PS3.18 section 8.6.1.3)."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial

from dcmweb.counted import plural
from dcmweb.dicom.resources import Resource
from dcmweb.errors import IncompletePayload, NothingMatched, ProtocolError, Refused
from dcmweb.folders import NewFile
from dcmweb.http.media_types import EXTENSIONS, OCTET_STREAM, ZIP, MediaType
from dcmweb.http.part_stream import PIECE
from dcmweb.http.response import Response
from dcmweb.local.safe_names import folder_path, instance_path
from dcmweb.transactions.accept import ask, forms_of_zips, wrong_kind
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.retrieve.instance_jobs import unusable
from dcmweb.transactions.retrieve.output import Destination, Saver, moved, outcome_of
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

# What `zipfile` raises for damage, which it does not expect everywhere.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, ValueError, RuntimeError, OverflowError, LookupError,
)  # fmt: skip


class ZipRetriever:
    """Retrieves resources as ZIP archives, and checks that they are complete."""

    def __init__(
        self, context: RunContext, destination: Destination, wanted: MediaType | None
    ) -> None:
        self._context = context
        self._destination = destination
        self._saver = Saver(context, destination)
        self._lister = Lister(context)
        self._forms = forms_of_zips(wanted or MediaType(ZIP))

    def jobs(self, resource: Resource) -> Iterator[Job]:
        """Make the job for a resource; for the whole store, one for each study."""
        if resource.study:
            count = None if resource.instance else self._lister.count(resource)
            yield partial(self._one, resource, count)
            return
        for study, count in self._lister.whole_store():
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
            expected = self._expected(resource, count)
            yield self._context.engine.attempt(lambda: self._fetch(resource, place, expected))

    def _expected(self, resource: Resource, count: int | None) -> int:
        """Return how many files there must be: by the listing, where counts are not its own."""
        if count and not self._context.has_counts:
            try:
                count = sum(1 for _ in self._lister.instances(resource))
            except (Refused, NothingMatched, ProtocolError):
                count = None
        return count or 1

    def _fetch(self, resource: Resource, place: str, count: int) -> Outcome:
        with ask(self._context, str(resource), self._forms, unsuitable=_something_else) as response:
            self._destination.folder.check_space(response.size or 0)
            with self._saver.writing(iter(partial(response.read, PIECE), b"")) as file:
                _check(file, count)
                stamp = file.stamp
                path = moved(file, self._destination.folder, place)
        return outcome_of(Status.RETRIEVED, str(resource), resource, path, stamp)


def _something_else(response: Response) -> ProtocolError | None:
    if response.media_type.name in (ZIP, OCTET_STREAM):
        return None
    return wrong_kind(response, "a ZIP archive")


def _check(file: NewFile, count: int) -> None:
    """Raise an error unless a ZIP archive is intact and has at least `count` files."""
    try:
        with file.reader() as reader, zipfile.ZipFile(reader) as archive:
            names = [name for name in archive.namelist() if not name.endswith(("/", "DICOMDIR"))]
            broken = archive.testzip()
    except _DAMAGE as error:
        raise IncompletePayload(f"the ZIP archive is broken: {error}") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of the disk, rather than of bz2 or a place
            raise
        raise IncompletePayload(f"the ZIP archive is broken: {error}") from None
    if broken:
        raise IncompletePayload(f"the ZIP archive is broken: {broken}")
    if len(names) < count:
        raise ProtocolError(
            f"the ZIP archive has {plural(len(names), 'file')}, the server counts {count:,}"
        )
