"""Jobs for the targets of a run: large ones, or many small ones where there are few targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Protocol

from dcmweb.dicom.resources import Target, parse_named_target
from dcmweb.errors import DcmwebError, Interrupted, UsageError
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.shard import Shard


class JobsOfTarget(Protocol):
    """Makes the jobs of one target."""

    def __call__(self, given: Target | str, *, spread: bool) -> Iterator[Job]:
        """Make the jobs of a target; `spread` makes many small ones for a study."""


def is_of_shard(given: Target | str, shard: Shard | None, roots: Sequence[str]) -> bool:
    """Return True for what belongs to the part that a run is for; the whole store does."""
    if shard is None:
        return True
    try:
        target = parse_named_target(given, *roots) if isinstance(given, str) else given
    except UsageError:
        return shard.has(str(given))
    is_whole_store = not (target.resource.study or target.address)
    return is_whole_store or shard.has(target.resource.study or target.address)


class TargetJobs:
    """Makes the jobs of targets that belong to the part of the whole that a run is for."""

    def __init__(self, context: RunContext, jobs: JobsOfTarget, on_error: OnError) -> None:
        self._context = context
        self._engine = context.engine
        self._shard = context.shard
        self._roots = context.settings.roots
        self._jobs = jobs
        self._on_error = on_error

    def of(self, targets: Iterable[Target | str]) -> Iterator[Job]:
        """Make a job for each target; several, where there are too few targets for the workers."""
        rest = filter(self._is_ours, targets)
        first = list(islice(rest, self._engine.workers))
        is_one = isinstance(targets, Sequence) and len(targets) == 1
        are_few = is_one or len(first) < self._engine.workers
        for target in chain(first, rest):
            if are_few:
                yield from self._spread(target)
            else:
                yield self._guarded(target, partial(self._whole, target))
        self._engine.meter.expects_all = are_few  # otherwise workers find out, target by target

    def _is_ours(self, given: Target | str) -> bool:
        return is_of_shard(given, self._shard, self._roots)

    def _guarded(self, target: Target | str, job: Job) -> Job:
        return partial(self._on_error.apply, self._engine, str(target), job)

    def _whole(self, target: Target | str) -> Iterator[Outcome]:
        for job in self._jobs(target, spread=False):
            yield from job()
        self._context.was_done(str(target))

    def _spread(self, target: Target | str) -> Iterator[Job]:
        try:
            for job in self._jobs(target, spread=True):
                yield self._guarded(target, job)
            self._context.was_done(str(target))  # unless one of these jobs says otherwise
        except Interrupted:
            raise
        except DcmwebError as error:
            if self._on_error is OnError.RAISE:
                raise
            yield partial(iter, [Outcome(Status.FAILED, str(target), reason=error.message)])
            if self._engine.gives_up(error):
                raise
