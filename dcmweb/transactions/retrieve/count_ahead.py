"""Asks a server how many instances there are at and below targets, while they are retrieved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dcmweb.dicom.resources import Level, Target
from dcmweb.http.media_types import MediaType
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.run import is_stored
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.shard import Shard

MOST_ASKED = 100  # targets, each of which takes a request


def count_instances(
    context: RunContext,
    targets: Iterable[Target | str],
    wanted: MediaType | None,
    shard: str,
) -> Iterator[tuple[int, None] | None]:
    """Yield numbers of instances to be added up; None if the server does not say how many.

    Targets that are read when they are needed cannot be counted, and very many are not asked for.
    """
    if not isinstance(targets, Sequence) or len(targets) > MOST_ASKED:
        yield None
        return
    context.shard = Shard.parse(shard)
    lister = Lister(context)
    for target in targets:
        if not isinstance(target, Target) or not is_stored(target, wanted):
            yield None
            return
        yield from _below(context, lister, target)


def _below(
    context: RunContext, lister: Lister, target: Target
) -> Iterator[tuple[int, None] | None]:
    resource, shard = target.resource, context.shard
    if resource.study and shard is not None and not shard.has(resource.study):
        return
    match resource.level:
        case Level.STORE:
            for _, count in lister.studies():
                yield None if count is None else (count, None)
        case Level.INSTANCES:
            yield 1, None
        case _:
            count = lister.count(resource)
            yield None if count is None else (count, None)
