"""Deleting studies, series and instances, by operations where a server begins such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dcmweb.dicom.resources import Level, Resource, outermost
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
    UsageError,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.operations import wait_for
from dcmweb.transactions.delete.ways import is_unanswered, way_to_delete
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, nothing_is_done


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """Options of a delete run.

    A dry run counts what would go. Without waiting for the operations that a server begins, the
    place of an outcome is the operation. `orthanc_api` is the URL of Orthanc's own REST API, or
    "auto"; `reject_as` the code for which dcm4chee rejects what is deleted.
    """

    dry_run: bool = False
    waits: bool = True
    orthanc_api: str = ""
    reject_as: str = ""
    on_error: OnError = OnError.OUTCOME


def delete(
    context: RunContext,
    resources: Sequence[Resource],
    is_done: IsDone = nothing_is_done,
    options: DeleteOptions = DeleteOptions(),
) -> Outcomes:
    """Delete resources; yield the outcome of each.

    Resources are skipped if `is_done` says so, and those below another one in the list go with it.
    """
    deleter = _Deleter(context, options)
    outer = outermost(resources)
    context.engine.meter.expect(len(outer))
    context.engine.meter.expects_all = True
    action = deleter.plan if options.dry_run else deleter.delete
    yield from context.engine.run(
        partial(iter, [Outcome(Status.DONE_BEFORE, str(resource))])
        if is_done(str(resource), 0, 0)
        else partial(
            options.on_error.apply, context.engine, str(resource), partial(action, resource)
        )
        for resource in outer
    )


def check_deletable(resources: Iterable[Resource]) -> None:
    """Raise UsageError for what is not a study, series or instance."""
    for resource in resources:
        if resource.level not in (Level.STUDIES, Level.SERIES, Level.INSTANCES):
            raise UsageError(
                f"{str(resource) or 'the whole store'} cannot be deleted",
                "name a study, series or instance: studies/UID[/series/UID[/instances/UID]]",
            )


class _Deleter:
    def __init__(self, context: RunContext, options: DeleteOptions) -> None:
        self._context = context
        self._waits = options.waits
        self._way = way_to_delete(context, options.orthanc_api, options.reject_as)

    def plan(self, resource: Resource) -> Iterator[Outcome]:
        """Say how much is below a resource, and delete nothing."""
        lister = Lister(self._context)
        series = instances = 0
        try:
            if resource.level is Level.STUDIES:
                for one, count in lister.series(resource):
                    series += 1
                    is_told = count is not None and self._context.has_counts
                    instances += count or 0 if is_told else _count(lister, one)
            elif resource.level is Level.SERIES:
                instances = _count(lister, resource)
        except (Refused, NothingMatched, ProtocolError) as error:
            yield Outcome(Status.FAILED, str(resource), reason=error.message)
            return
        if resource.level is not Level.INSTANCES and not series + instances:
            yield Outcome(Status.FAILED, str(resource), reason="the server lists nothing in it")
            return
        below = [f"{series} series"] if series else []
        below += [f"{instances:,} instance{'s' * (instances != 1)}"] if instances else []
        yield Outcome(Status.PLANNED, str(resource), reason=", ".join(below))

    def delete(self, resource: Resource) -> Iterator[Outcome]:
        """Delete one resource. Raises what went wrong."""
        try:
            yield self._delete(resource)
        except Interrupted:
            reason = "interrupted; the server may go on deleting"
            yield Outcome(Status.UNKNOWN, str(resource), reason=reason)
            raise

    def _delete(self, resource: Resource) -> Outcome:
        deleted = self._way.delete(resource)
        operation = deleted.operation
        if operation and not self._waits:
            return Outcome(Status.BEGUN, str(resource), place=operation["name"])
        if operation:
            try:
                wait_for(self._context, operation)
            except DcmwebError as error:
                error.leaves_open |= is_unanswered(error)  # it goes on without us
                raise
        return Outcome(Status.DELETED, str(resource), reason=deleted.note)


def _count(lister: Lister, resource: Resource | None) -> int:
    return sum(1 for _ in lister.instances(resource)) if resource else 0
