"""Units of instances for worker processes: listed here, retrieved there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from dcmweb.dicom.resources import Level, Representation, Resource, Target, parse_named_target
from dcmweb.errors import (
    AuthError,
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
)
from dcmweb.http.media_types import DICOM_AS_STORED
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.instance_jobs import failed_study, instances_of, unusable
from dcmweb.transactions.retrieve.instance_parts import FolderReceiver
from dcmweb.transactions.retrieve.metadata import described
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.output import Destination
from dcmweb.transactions.retrieve.receiving import Receiver
from dcmweb.transactions.retrieve.run import check_and_classify
from dcmweb.transactions.retrieve.target_jobs import is_of_shard
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.shard import Shard
from dcmweb.transfer.unit import MOST_ITEMS, Unit

# Of a server that does not list instances.
_UNLISTED = (AuthError, Refused, NothingMatched, ProtocolError)


def retrieve_units(
    context: RunContext,
    targets: Iterable[Target | str],
    destination: Destination,
    options: RetrieveOptions,
) -> Iterator[Unit | Outcome]:
    """Yield units of what is at and below targets, and the outcomes of what needs no worker."""
    receiver = FolderReceiver(context, destination, DICOM_AS_STORED)
    has_instances = check_and_classify(context, destination, options)
    units = InstanceUnits(context, receiver)

    def of(target: Target) -> Iterator[Unit | Outcome]:
        if has_instances(target):
            yield from units.below(target.resource)
        else:
            yield from _whole(context, target)

    yield from of_targets(context, targets, options.shard, options.on_error, of)
    context.engine.meter.expects_all = True


def of_targets(
    context: RunContext,
    targets: Iterable[Target | str],
    shard: str,
    on_error: OnError,
    of: Callable[[Target], Iterator[Unit | Outcome]],
) -> Iterator[Unit | Outcome]:
    """Yield the units of targets; the error of one is treated by the rule."""
    context.shard = Shard.parse(shard)
    roots = context.settings.roots
    for given in targets:
        if not is_of_shard(given, context.shard, roots):
            continue
        try:
            target = parse_named_target(given, *roots) if isinstance(given, str) else given
            yield from of(target)
            context.was_done(str(given))  # unless one of these units says otherwise
        except Interrupted:
            raise
        except DcmwebError as error:
            if on_error is OnError.RAISE:
                raise
            yield Outcome(Status.FAILED, str(given), reason=error.message)
            if context.engine.gives_up(error):
                raise


def _whole(context: RunContext, target: Target) -> Iterator[Unit | Outcome]:
    """Yield units of other representations: a target each, or a study each for the whole store."""
    if target.resource.level is not Level.STORE or target.address:
        yield Unit(target=str(target), raises=True)
        return
    for study, _ in Lister(context).studies():
        if study is None:
            yield unusable(Resource())
        else:
            yield Unit(target=str(_like(target, study)))


def _like(target: Target, study: Resource) -> str:
    kind = target.representation
    return str(study) if kind is Representation.STORED else f"{study}/{kind.value}"


class InstanceUnits:
    """Makes units of instances: a series each, or some instances of a large one."""

    def __init__(self, context: RunContext, receiver: Receiver) -> None:
        self._context = context
        self._receiver = receiver

    def below(self, resource: Resource) -> Iterator[Unit | Outcome]:
        """Yield units of what is listed at and below a resource.

        Where the server does not list instances, the worker finds out what there is.
        """
        if resource.instance:
            tags = self._receiver.tags
            row = described(self._context, resource, tags, {}) if self._receiver.skips else {}
            there = self._receiver.there(resource, row)
            yield there or Unit(items=(str(resource),), raises=True)
            return
        lister = Lister(self._context)
        if resource.study:
            yield from self._of_parent(lister, resource, lister.count(resource), is_one=True)
            return
        for study, expected in lister.whole_store():
            if study is None:
                yield unusable(Resource())
            else:
                yield from self._of_parent(lister, study, expected, is_one=False)

    def _of_parent(
        self, lister: Lister, parent: Resource, expected: int | None, *, is_one: bool
    ) -> Iterator[Unit | Outcome]:
        """Yield units of a study or series; only the error of one that was named is raised."""
        any_listed, all_listed = False, True
        try:
            for one in self._listed(lister, parent, expected):
                any_listed = True
                all_listed &= not isinstance(one, Outcome) or one.status.is_good
                yield one
        except DcmwebError as error:
            if isinstance(error, _UNLISTED) and not (any_listed or error.fatal):
                yield Unit(target=str(parent), raises=is_one)
                return
            if is_one:
                raise
            all_listed = False
            yield failed_study(self._context, parent, error)
        if all_listed and not is_one:
            self._context.was_done(str(parent))  # unless one of these units says otherwise

    def _listed(
        self, lister: Lister, parent: Resource, expected: int | None
    ) -> Iterator[Unit | Outcome]:
        series = defaultdict[Resource, _Series](_Series)
        for found in instances_of(lister, parent, expected, *self._receiver.tags):
            if isinstance(found, Outcome):
                yield found
                continue
            instance, row = found
            one = series[Resource(instance.study, instance.series)]
            if there := self._receiver.there(instance, row):
                one.is_whole = False
                yield there
                continue
            one.items.append(str(instance))
            if len(one.items) == MOST_ITEMS + 1:
                yield self._unit(one.items[:MOST_ITEMS])
                one.items, one.is_whole = one.items[MOST_ITEMS:], False
        yield from self._closed(series)

    def _closed(self, series: dict[Resource, _Series]) -> Iterator[Unit]:
        """Yield the units of a study that was listed whole."""
        for resource, one in series.items():
            if one.items:
                is_stream = one.is_whole and bool(resource.series)
                yield self._unit(one.items, str(resource) if is_stream else "")
        series.clear()

    def _unit(self, items: list[str], target: str = "") -> Unit:
        self._context.engine.meter.expect(len(items))
        return Unit(items=tuple(items), target=target)


class _Series:
    """What is listed of a series, and not yet in a unit."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.is_whole = True
