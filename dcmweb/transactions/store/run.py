"""The Store transaction (STOW-RS, PS3.18 section 10.5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from dcmweb.dicom import part10
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import LocalError, NotDicom, NothingMatched, UsageError
from dcmweb.local.masks import Found, find, find_listed, size_of
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.metadata_instance import Metadata, MetadataInstance
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transactions.store.verify import Verification
from dcmweb.transfer.outcomes import Outcome, Outcomes, Status

HELD = 32 * 1024 * 1024  # bytes of small files that are kept in memory until they are sent

IsDone = Callable[[str, int, int], bool]


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How to store: only to say what would be sent, to verify it afterwards, in which class.

    The storage class is what Google Cloud Healthcare calls so; "" leaves it to the server.
    """

    dry_run: bool = False
    verify: bool = False
    storage_class: str = ""


def store(
    context: RunContext,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = lambda _path, _size, _mtime_ns: False,
    options: StoreOptions = StoreOptions(),
) -> Outcomes:
    """Store the instances in files, folders and masks; yield what became of each file.

    `listed` are paths without wildcards. Files of which `is_done` says so, by path, size in bytes
    and time of modification in nanoseconds, are passed over. A dry run sends nothing. To verify is
    to ask the server afterwards whether it has every instance. Raises NothingMatched if there was
    no file at all, and what stopped the run otherwise.
    """
    files = _Files(masks, listed)
    held = (
        0 if options.dry_run else HELD // (context.settings.batch_count * context.settings.workers)
    )
    yield from deliver(context, _looked_at(files, is_done, held), options)
    for mask in files.unmatched if files.any_found else ():
        yield Outcome(Status.FAILED, mask, reason="no such file, or nothing matches")
    if not files.any_found:
        raise NothingMatched(f"No files found matching {' '.join(masks)}", "check the path")
    context.engine.raise_if_never_connected()


def store_metadata(
    context: RunContext,
    metadata: Metadata,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = lambda _path, _size, _mtime_ns: False,
    options: StoreOptions = StoreOptions(),
) -> Outcomes:
    """Store instances made of metadata, and of images and documents; yield what became of each.

    Where anything is wrong with the input, that is what is yielded, nothing is sent, and
    UsageError raised. Otherwise as `store`.
    """
    from dcmweb.transactions.store.from_metadata import compose

    composed, problems = compose(metadata, chain(find(masks), find_listed(listed)))
    for problem in problems:
        yield Outcome(Status.FAILED, problem.item, reason=problem.words)
    if problems:
        raise UsageError("nothing was sent, since something is wrong with the input")
    for one in composed:
        if one.note:
            context.notify(one.note)
    yield from deliver(
        context, (_composed_before(one, is_done) or one for one in composed), options
    )
    context.engine.raise_if_never_connected()


def deliver(
    context: RunContext, instances: Iterable[LocalInstance | Outcome], options: StoreOptions
) -> Iterator[Outcome]:
    """Send instances, and pass on what became of others already; yield what became of each."""
    headers = {"Storage-Class": options.storage_class} if options.storage_class else None
    sender = Planner(context) if options.dry_run else Sender(context, headers)
    outcomes = context.engine.run(_jobs(instances, sender))
    yield from _verified(context, outcomes) if options.verify else outcomes


def _verified(context: RunContext, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Yield outcomes, then those of instances that the server does not list after all."""
    with closing(Verification(context)) as verification:
        count = missing = 0
        for outcome in outcomes:
            was_done = outcome.status is Status.DONE_BEFORE
            count += verification.note(_with_uids(outcome) if was_done else outcome)
            yield outcome
        for outcome in context.engine.run(verification.jobs()):
            is_news = outcome.status is Status.STORED  # which was unknown before
            count, missing = count + is_news, missing + (not is_news)
            yield outcome
        context.notify(f"Verified: the server lists {count - missing:,} of {count:,} instances")


def _with_uids(outcome: Outcome) -> Outcome:
    """Tell which instance a file is that was passed over without a look."""
    try:
        found = part10.identify_file(outcome.item).identity.resource
    except LocalError:
        return outcome
    return replace(outcome, study=found.study, series=found.series, instance=found.instance)


@dataclass
class _Files:
    """The files of some masks, and the masks that have none."""

    masks: Sequence[str]
    listed: Iterable[str]
    unmatched: list[str] = field(default_factory=list)
    any_found: bool = False

    def __iter__(self) -> Iterator[Found]:
        for found in chain(find(self.masks), find_listed(self.listed)):
            if found.missing:
                self.unmatched.append(found.path)
            else:
                self.any_found = True
                yield found


def _jobs(
    instances: Iterable[LocalInstance | Outcome], sender: Sender | Planner
) -> Iterator[Callable[[], Iterable[Outcome]]]:
    """Put instances together: small ones to batches, a large one alone."""
    batch: Batch = []
    size, names = 0, set[str]()
    for instance in instances:
        if isinstance(instance, Outcome):
            yield partial(iter, (instance,))
            continue
        own = {instance.identity.resource.instance, instance.path}
        full = size + instance.size > sender.batch_bytes or len(batch) >= sender.batch_count
        # An answer names instances by UID: two of the same could not be told apart.
        if batch and (full or own & names):
            yield partial(sender.deliver, batch)
            batch, size, names = [], 0, set()
        batch.append(instance)
        size += instance.size
        names |= own
    if batch:
        yield partial(sender.deliver, batch)


def _looked_at(
    files: Iterable[Found], is_done: IsDone, held: int
) -> Iterator[LocalInstance | Outcome]:
    for found in files:
        yield _done_before(found, is_done) or _look(found, held)


def _done_before(found: Found, is_done: IsDone) -> Outcome | None:
    """Pass over a file that needs nothing more, without opening it."""
    try:
        status = os.stat(found.path)
    except (OSError, ValueError):
        return None
    if not is_done(found.path, status.st_size, status.st_mtime_ns):
        return None
    return Outcome(Status.DONE_BEFORE, found.path, status.st_size)


def _composed_before(instance: MetadataInstance, is_done: IsDone) -> Outcome | None:
    """Pass over an instance that needs nothing more."""
    if not is_done(instance.path, instance.size, instance.mtime_ns):
        return None
    found = instance.identity.resource
    return Outcome(
        Status.DONE_BEFORE,
        instance.path,
        instance.size,
        study=found.study,
        series=found.series,
        instance=found.instance,
    )


def _look(found: Found, held: int) -> LocalInstance | Outcome:
    """Identify a file. Junk that was merely met is skipped; what was named must be DICOM."""
    if found.error is not None:
        reason = found.error.strerror or str(found.error)
        return Outcome(Status.FAILED, found.path, reason=reason)
    try:
        return part10.identify_file(found.path, held)
    except NotDicom as error:
        status = Status.FAILED if found.named else Status.SKIPPED
        return Outcome(status, found.path, size_of(found.path), error.message)
    except LocalError as error:
        return Outcome(Status.FAILED, found.path, reason=error.message)
