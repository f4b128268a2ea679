"""Lists what a server has below a resource, to check that a retrieval is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import (
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    SERIES_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import NothingMatched, ProtocolError, Refused
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.paging import Pages, Query

NO_STUDIES = "the server lists no studies to these credentials: there is nothing to do"
_COUNTS = {
    Level.STUDIES: NUMBER_OF_STUDY_RELATED_INSTANCES,
    Level.SERIES: NUMBER_OF_SERIES_RELATED_INSTANCES,
}


def query_for(resource: Resource) -> Query:
    """Make the query that finds one study or series."""
    if resource.level is Level.STUDIES:
        return Query(Resource(), Level.STUDIES, (("StudyInstanceUID", resource.study),))
    parent = Resource(resource.study)
    return Query(parent, Level.SERIES, (("SeriesInstanceUID", resource.series),))


class Lister:
    """Lists studies, series and instances, in a way that the server supports.

    A search result without the UIDs of its level is listed as None.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._takes_includefield = True

    @property
    def has_counts(self) -> bool:
        """Whether the server counts instances by itself."""
        return self._context.has_counts

    def studies(self) -> Iterator[tuple[Resource | None, int | None]]:
        """Yield all studies with the number of instances in each, None if unknown.

        If the run is for a part of the whole, only those of that part.
        """
        yield from self._of_our_part(self._counted(Query(Resource(), Level.STUDIES)))

    def whole_store(self) -> Iterator[tuple[Resource | None, int | None]]:
        """Yield all studies in the same way; say so if there are none: that raises nothing."""
        found = self._counted(Query(Resource(), Level.STUDIES))
        first = next(found, None)
        if first is None:
            self._context.notify(NO_STUDIES)
        else:
            yield from self._of_our_part(chain([first], found))

    def _of_our_part(
        self, studies: Iterable[tuple[Resource | None, int | None]]
    ) -> Iterator[tuple[Resource | None, int | None]]:
        shard = self._context.shard
        for study, count in studies:
            if shard is None or shard.has(study.study if study else ""):
                yield study, count

    def series(self, study: Resource) -> Iterator[tuple[Resource | None, int | None]]:
        """Yield the series of a study in the same way."""
        yield from self._counted(Query(study, Level.SERIES))

    def count(self, resource: Resource) -> int | None:
        """Return how many instances a study or series has; None if the server does not say.

        A count that had to be asked for may be one that is in the file: the listing decides.
        """
        try:
            return next(
                (n for found, n in self._counted(query_for(resource)) if found == resource), None
            )
        except (Refused, NothingMatched, ProtocolError):
            return None

    def instances(
        self, resource: Resource, *fields: str
    ) -> Iterator[tuple[Resource | None, Dataset]]:
        """Yield the instances of a study or series, each with its row.

        If the server refuses to search a whole study for instances, each series is searched.
        """
        query = Query(resource, Level.INSTANCES)
        try:
            yield from self.rows(query, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, *fields)
        except (Refused, NothingMatched):
            if resource.level is not Level.STUDIES:
                raise
            for series, _ in self.series(resource):
                if series is None:
                    yield None, {}
                else:
                    yield from self.instances(series, *fields)

    def _counted(self, query: Query) -> Iterator[tuple[Resource | None, int | None]]:
        """Yield what a query finds with its counts; these are asked for only if they are missing.

        Orthanc 1.10 counts by itself, but answers an includefield with the value in the file.
        """
        tag = _COUNTS[query.level]
        rows = self.rows(query) if self._context.has_counts else iter(())
        first = next(rows, None)
        if first is not None and json_model.number(first[1], tag) is None:
            self._context.has_counts = False
        if not self._context.has_counts:
            rows, first = self.rows(query, tag), None
        for resource, row in chain([first] if first else (), rows):
            yield resource, json_model.number(row, tag)

    def rows(self, query: Query, *fields: str) -> Iterator[tuple[Resource | None, Dataset]]:
        """Yield rows with the resources they describe; without extra fields if these are refused.

        Raises ProtocolError at the end if the server has more results than it returned.
        """
        fields = fields if self._takes_includefield else ()
        pages = Pages(self._context, query.including(*fields), is_thorough=True, once=True)
        try:
            for row in pages:
                yield paging.resource_of(row, query.level, query.resource), row
        except Refused as error:
            if error.status != 400 or pages.found or not fields:
                raise
            self._takes_includefield = False
            yield from self.rows(query)
            return
        if not pages.complete:
            raise ProtocolError("the server has more results than it lists")
