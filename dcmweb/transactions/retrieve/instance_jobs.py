"""A job for each instance of what a server lists below a resource."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from dcmweb.counted import plural
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted, NothingMatched
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status


def unusable(parent: Resource) -> Outcome:
    """Make the outcome of a listed resource that lacks the UIDs to retrieve it."""
    item = f"{parent}/?" if parent.study else "?"
    return Outcome(Status.FAILED, item, reason="listed by the server without a usable UID")


def each_instance(
    context: RunContext,
    resource: Resource,
    action: Callable[[Resource, Dataset], Iterator[Outcome]],
    *fields: str,
) -> Iterator[Job]:
    """Make a job for each instance at and below a resource, by what the server lists.

    Only the action on an instance that the user named may raise.
    """
    for found in instances_below(context, resource, *fields):
        if isinstance(found, Outcome):
            yield partial(iter, [found])
        elif resource.instance:
            yield partial(action, *found)
        else:
            instance, row = found
            job = partial(action, instance, row)
            yield partial(one_of_many, context.engine, str(instance), job)


def instances_below(
    context: RunContext, resource: Resource, *fields: str
) -> Iterator[tuple[Resource, Dataset] | Outcome]:
    """Yield the instances at and below a resource, each with its row, or a failure.

    It is a failure if the server lists fewer instances than it counts. In a whole store, a study
    that the server does not list is one as well, and does not end the run.
    """
    if resource.instance:
        yield resource, {}
        return
    lister = Lister(context)
    if resource.study:
        yield from instances_of(lister, resource, lister.count(resource), *fields)
        return
    for study, expected in lister.whole_store():
        if study is None:
            yield unusable(Resource())
            continue
        try:
            yield from instances_of(lister, study, expected, *fields)
        except DcmwebError as error:
            yield failed_study(context, study, error)


def failed_study(context: RunContext, study: Resource, error: DcmwebError) -> Outcome:
    """Make the outcome of a study that is not listed. Raises what ends the run."""
    if isinstance(error, Interrupted) or context.engine.gives_up(error):
        raise error
    reason = f"it cannot be listed: {error.message}"
    return Outcome.of(study, Status.FAILED)._replace(reason=reason)


def instances_of(
    lister: Lister, parent: Resource, expected: int | None, *fields: str
) -> Iterator[tuple[Resource, Dataset] | Outcome]:
    """Yield the instances of a study or series, of which so many are expected, or failures.

    Raises NothingMatched if none is listed.
    """
    listed = 0
    for instance, row in lister.instances(parent, *fields):
        listed += 1
        yield unusable(parent) if instance is None else (instance, row)
    if not listed:
        raise NothingMatched(f"the server lists no instances in {parent}", "check the path")
    if lister.has_counts and listed < (expected or 1):
        yield _fewer(parent, expected or 1, listed)


def _fewer(parent: Resource, expected: int, found: int) -> Outcome:
    reason = f"the server counts {plural(expected, 'instance')}, but lists {found:,}"
    return Outcome(Status.FAILED, str(parent), reason=reason)
