"""Deleting studies, series and instances, by operations where a server begins such.

DICOMweb has no standard deletion; Google, Azure and others answer DELETE on a resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dcmweb.dicom.resources import Level, Resource, outermost
from dcmweb.errors import (
    AuthError,
    Interrupted,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Refused,
    Truncated,
    UsageError,
)
from dcmweb.http.error_mapping import looks_like_html
from dcmweb.http.response import not_dicomweb
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.operations import check_result, json_object, wait_for
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, nothing_is_done

_ORTHANC_HINT = (
    "it may have no DICOMweb DELETE: in Orthanc, find the resource with POST /tools/lookup and "
    "delete it with DELETE /studies/ID of its own REST API"
)
_REJECT_HINT = (
    "dcm4chee wants a study rejected first: "
    "POST .../reject/113001^DCM on the same path, then delete"
)


@dataclass(frozen=True, kw_only=True)
class DeleteOptions:
    """Options of a delete run.

    A dry run counts what would go. Without waiting for the operations that a server begins, the
    place of an outcome is the operation.
    """

    dry_run: bool = False
    waits: bool = True
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
    deleter = _Deleter(context, waits=options.waits)
    action = deleter.plan if options.dry_run else deleter.delete
    yield from context.engine.run(
        partial(iter, [Outcome(Status.DONE_BEFORE, str(resource))])
        if is_done(str(resource), 0, 0)
        else partial(
            options.on_error.apply, context.engine, str(resource), partial(action, resource)
        )
        for resource in outermost(resources)
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
    def __init__(self, context: RunContext, *, waits: bool) -> None:
        self._context = context
        self._waits = waits

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
        operation = self._context.engine.attempt(self._once_or_gone(resource))
        if operation and not self._waits:
            return Outcome(Status.BEGUN, str(resource), place=operation["name"])
        if operation:
            wait_for(self._context, operation)
        return Outcome(Status.DELETED, str(resource))

    def _once_or_gone(self, resource: Resource) -> Callable[[], dict[str, Any]]:
        """Make a request that may find nothing any more when an earlier answer to it was lost."""
        was_sent = False

        def request() -> dict[str, Any]:
            nonlocal was_sent
            try:
                return self._request(resource)
            except NothingMatched:
                if not was_sent:
                    raise
                self._context.notify(f"{resource} is gone, after an attempt that broke off")
                return {}
            except (NetworkError, Truncated):
                was_sent = True
                raise

        return request

    def _request(self, resource: Resource) -> dict[str, Any]:
        """Send the request; return the operation it began, empty if it is done already."""
        with self._context.session.delete(str(resource), accept="*/*") as response:
            try:
                response.check()
            except (AuthError, Refused) as error:
                error.hint = _hint(response.status, error.hint)
                raise
            body = b"" if response.is_nothing else response.content()
            if looks_like_html(body):
                raise not_dicomweb(response, body)
            answer = {} if response.is_nothing else json_object(response, body)
        check_result(f"delete {resource}", {"error": answer.get("error")})
        return answer if isinstance(answer.get("name"), str) else {}


def _count(lister: Lister, resource: Resource | None) -> int:
    return sum(1 for _ in lister.instances(resource)) if resource else 0


def _hint(status: int, usual: str) -> str:
    return {
        403: f"{usual}, or {_REJECT_HINT}",
        405: _ORTHANC_HINT,
        409: _REJECT_HINT,
        501: _ORTHANC_HINT,
    }.get(status, usual)
