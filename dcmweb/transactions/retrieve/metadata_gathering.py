"""Gather the metadata of a study or series: what one answer lacks is requested in smaller parts.

Some servers, such as AWS HealthImaging and static-dicomweb, have metadata of series and instances
only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dcmweb.counted import plural
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import (
    AuthError,
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.metadata_answer import Described, metadata_answer
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

_CANNOT_LIST = (Refused, NothingMatched, ProtocolError)


def gather(
    context: RunContext, resource: Resource, *, wants_xml: bool
) -> Iterator[Described | Outcome]:
    """Yield the metadata of each instance, or its failure.

    Raises the error of the resource if there is no metadata of it at all.
    """
    gathering = _Gathering(context, resource, wants_xml)
    held: list[Outcome] = []
    any_came = False
    for found in gathering.all():
        if isinstance(found, Outcome) and not any_came:
            held.append(found)
            continue
        any_came = True
        yield from held
        held.clear()
        yield found
    if gathering.problem is not None and not any_came:
        raise gathering.problem
    yield from held


def instance_of(dataset: Dataset, resource: Resource) -> Resource:
    """Return the instance of metadata. Raises ProtocolError if it is not in the resource."""
    instance = paging.resource_of(dataset, Level.INSTANCES, Resource())
    if instance is None or not resource.holds(instance):
        raise ProtocolError(f"the server sent metadata of something else than {resource}")
    return instance


@dataclass
class _Gathering:
    """What came of a resource, and the problem with the answer about all of it."""

    context: RunContext
    resource: Resource
    wants_xml: bool
    came: set[Resource] = field(default_factory=set)
    problem: DcmwebError | None = None
    missing: str = ""  # what the server says of something missing

    def all(self) -> Iterator[Described | Outcome]:
        """Yield what comes, together or in parts."""
        yield from self._together()
        if self.resource.instance:
            if self.came and (self.missing or self.problem):
                yield self._failure(self._reason())
            return
        lister = Lister(self.context)
        expected = lister.count(self.resource) if self.came else None
        if self.problem is None and not self.missing and self._are_all(expected):
            return
        series = self._series(lister)
        for one in series:
            yield from self._part(one)
        if not series:
            yield from self._one_by_one(lister, expected)

    def _are_all(self, expected: int | None) -> bool:
        """Return True if as many came as are counted; a count in a file can also be too low."""
        came = len(self.came)
        is_more = self.context.has_counts and came > (expected or 0)
        return expected in (None, came) or is_more

    def _together(self) -> Iterator[Described]:
        """Yield what one answer holds; its error is noted if smaller parts may come."""
        try:
            with metadata_answer(self.context, self.resource, wants_xml=self.wants_xml) as answer:
                self.missing = answer.missing
                for found in answer.items():
                    self.came.add(instance_of(found.dataset, self.resource))
                    yield found
        except Interrupted:
            raise
        except DcmwebError as error:
            is_of_all = isinstance(error, (*_CANNOT_LIST, AuthError)) and not error.fatal
            if not is_of_all:
                raise
            self.problem = error
        else:
            if not self.came:
                self.problem = NothingMatched(f"there is no metadata of {self.resource}")

    def _series(self, lister: Lister) -> list[Resource | None]:
        """List the series of a study of which nothing came."""
        if self.came or self.resource.level is not Level.STUDIES:
            return []
        try:
            return [series for series, _ in lister.series(self.resource)]
        except _CANNOT_LIST:
            return []

    def _part(self, part: Resource | None) -> Iterator[Described | Outcome]:
        """Yield what comes of a part; its error is its outcome."""
        if part is None:
            yield self._failure("listed by the server without a usable UID", "/?")
            return
        try:
            yield from gather(self.context, part, wants_xml=self.wants_xml)
        except Interrupted:
            raise
        except DcmwebError as error:
            if self.context.engine.gives_up(error):
                raise
            yield Outcome(Status.FAILED, f"{part}/metadata", reason=error.message)

    def _one_by_one(self, lister: Lister, expected: int | None) -> Iterator[Described | Outcome]:
        """Yield what the answer lacks of the instances that the server lists."""
        listed, any_lacks = 0, False
        listing = lister.instances(self.resource)
        while True:
            try:
                instance, _ = next(listing, (self.resource, {}))
            except _CANNOT_LIST as error:
                yield self._failure(f"{self._reason()}; no list of instances: {error.message}")
                return
            if instance == self.resource:
                break
            listed += 1
            if instance not in self.came:
                any_lacks = True
                yield from self._part(instance)
        if not listed:
            yield self._failure(self._reason())
        elif self.context.has_counts and (expected or 0) > max(listed, len(self.came)):
            yield self._failure(
                f"the server counts {plural(expected or 0, 'instance')}, but lists {listed:,}"
            )
        elif self.missing and not any_lacks:
            yield self._failure(self.missing)
        elif self.problem is not None and self.came:
            self.context.notify(f"{self.resource}: {self.problem.message}")

    def _reason(self) -> str:
        return self.missing or (self.problem.message if self.problem else "it is incomplete")

    def _failure(self, reason: str, below: str = "") -> Outcome:
        return Outcome(Status.FAILED, f"{self.resource}{below}/metadata", reason=reason)
