"""The Store transaction (STOW-RS, PS3.18 section 10.5): which files to send, and in what groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from dcmweb.dicom import part10
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import LocalError, NotDicom, NothingMatched, UsageError
from dcmweb.local.masks import Found, find, find_listed, size_of, why_nothing
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.store.existing import IfExists
from dcmweb.transactions.store.metadata_instance import Metadata, MetadataInstance
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transactions.store.verify import Verification
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, nothing_is_done
from dcmweb.transfer.shard import Shard

HELD = 32 * 1024 * 1024  # bytes of small files that are kept in memory until they are sent


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Options of a store run.

    A dry run sends nothing. To verify is to ask the server afterwards whether it has every
    instance. The storage class is that of Google Cloud Healthcare; "" leaves it to the server.
    `if_exists` says what to do with an instance that the server has; to replace one may need
    Orthanc's REST API, at `orthanc_api`.
    The shard is the part of the folders whose files to store, as I/N.
    """

    dry_run: bool = False
    verify: bool = False
    storage_class: str = ""
    if_exists: IfExists = IfExists.SKIP
    orthanc_api: str = ""
    shard: str = ""
    on_error: OnError = OnError.OUTCOME


def store(
    context: RunContext,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = nothing_is_done,
    options: StoreOptions = StoreOptions(),
) -> Outcomes:
    """Store the instances in files, folders and masks; yield the outcome of each file.

    `listed` are paths without wildcards. Files are skipped if `is_done` says so, by path, size
    in bytes and time of modification in nanoseconds. Raises NothingMatched if there was no file at
    all, and what stopped the run otherwise.
    """
    sender = _sender(context, options)
    files = _Files(masks, listed, options.on_error, Shard.parse(options.shard))
    yield from _run(context, _file_jobs(context, files, is_done, sender, options), options)


def store_metadata(
    context: RunContext,
    metadata: Metadata,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = nothing_is_done,
    options: StoreOptions = StoreOptions(),
) -> Outcomes:
    """Store instances made of metadata, and of images and documents; yield the outcome of each.

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
    yield from _run(context, _composed_jobs(composed, is_done, _sender(context, options)), options)


def _sender(context: RunContext, options: StoreOptions) -> Sender | Planner:
    headers = {"Storage-Class": options.storage_class} if options.storage_class else None
    if options.dry_run:
        return Planner(context)
    return Sender(context, headers, options.if_exists, options.orthanc_api)


def _run(context: RunContext, jobs: Iterator[Job], options: StoreOptions) -> Iterator[Outcome]:
    outcomes = context.engine.run(jobs)
    verifies = options.verify and not options.dry_run
    yield from _verified(context, outcomes) if verifies else outcomes


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
    """Identify a file that was skipped unopened."""
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
    on_error: OnError
    shard: Shard | None = None
    unmatched: list[str] = field(default_factory=list)
    any_found: bool = False

    def __iter__(self) -> Iterator[Found]:
        for found in chain(find(self.masks), find_listed(self.listed)):
            if not found.missing:
                self.any_found = True
                if self.shard is None or self.shard.has(_folder(found.path)):
                    yield found
            elif self.on_error is OnError.RAISE:
                raise NothingMatched(*why_nothing([found.path]))
            else:
                self.unmatched.append(found.path)

    def end(self) -> list[Outcome]:
        """Name the masks without a file. Raises NothingMatched if no mask has one."""
        if not self.any_found and not self.masks:
            raise NothingMatched("the list has no paths in it", "it holds paths of files")
        if not self.any_found:
            raise NothingMatched(*why_nothing(self.masks))
        reason = "no such file, or nothing matches"
        return [Outcome(Status.FAILED, mask, reason=reason) for mask in self.unmatched]


def _folder(path: str) -> str:
    """Return the folder of a file, written in one way: its files belong to the same part."""
    return os.path.dirname(os.path.normpath(path)).replace(os.sep, "/")


def _file_jobs(
    context: RunContext,
    files: _Files,
    is_done: IsDone,
    sender: Sender | Planner,
    options: StoreOptions,
) -> Iterator[Job]:
    """Make a job for each group of files that is about as large as a request may be.

    Files are identified in the job, so that several workers read at the same time.
    """
    settings = context.settings
    held = 0 if options.dry_run else HELD // (settings.batch_count * settings.workers)
    group: list[Found] = []
    done: list[Outcome] = []
    size = 0
    for found in files:
        its_size, outcome = _done_before(found, is_done)
        if outcome is not None:
            done.append(outcome)
        elif group and size + its_size > sender.batch_bytes:
            yield partial(_send_files, group, sender, held, options.on_error)
            group, size = [found], its_size
        else:
            group.append(found)
            size += its_size
        if len(done) >= settings.batch_count:
            yield partial(iter, done)
            done = []
        if len(group) >= sender.batch_count:
            yield partial(_send_files, group, sender, held, options.on_error)
            group, size = [], 0
    yield partial(iter, done)
    if group:
        yield partial(_send_files, group, sender, held, options.on_error)
    yield partial(iter, files.end())


def _done_before(found: Found, is_done: IsDone) -> tuple[int, Outcome | None]:
    """Return the size of a file, and its outcome if it needs nothing more; it is not opened."""
    try:
        status = os.stat(found.path)
    except (OSError, ValueError):  # it is named when it is opened
        return 0, None
    if not is_done(found.path, status.st_size, status.st_mtime_ns):
        return status.st_size, None
    return status.st_size, Outcome(Status.DONE_BEFORE, found.path, status.st_size)


def _send_files(
    group: list[Found], sender: Sender | Planner, held: int, on_error: OnError
) -> Iterator[Outcome]:
    """Identify files and send those that are DICOM."""
    instances = []
    for found in group:
        one = _identify(found, held, on_error)
        if isinstance(one, Outcome):
            yield one
        else:
            instances.append(one)
    for batch in _batches(instances, sender):
        yield from sender.deliver(batch)


def _composed_jobs(
    composed: Iterable[MetadataInstance], is_done: IsDone, sender: Sender | Planner
) -> Iterator[Job]:
    """Make jobs for instances made of metadata."""
    instances: list[LocalInstance] = []
    for one in composed:
        if is_done(one.path, one.size, one.mtime_ns):
            yield partial(iter, [_composed_before(one)])
        else:
            instances.append(one)
    for batch in _batches(instances, sender):
        yield partial(sender.deliver, batch)


def _batches(instances: Iterable[LocalInstance], sender: Sender | Planner) -> Iterator[Batch]:
    """Put instances together: small ones to batches, a large one alone."""
    batch: Batch = []
    size, names = 0, set[str]()
    for instance in instances:
        own = {instance.identity.resource.instance, instance.path}
        full = size + instance.size > sender.batch_bytes or len(batch) >= sender.batch_count
        # An answer names instances by UID: two of the same could not be told apart.
        if batch and (full or own & names):
            yield batch
            batch, size, names = [], 0, set()
        batch.append(instance)
        size += instance.size
        names |= own
    if batch:
        yield batch


def _composed_before(instance: MetadataInstance) -> Outcome:
    """Make the outcome of an instance that needs nothing more."""
    resource = instance.identity.resource
    return Outcome.of(resource, Status.DONE_BEFORE, instance.path, size=instance.size)


def _identify(found: Found, held: int, on_error: OnError) -> LocalInstance | Outcome:
    """Identify a file. Junk that was merely met is skipped; what was named must be DICOM."""
    is_raised = found.named and on_error is OnError.RAISE
    if found.error is not None:
        reason = found.error.strerror or str(found.error)
        if is_raised:
            raise LocalError(f"{found.path} cannot be read: {reason}", path=found.path)
        return Outcome(Status.FAILED, found.path, reason=reason)
    try:
        return part10.identify_file(found.path, held)
    except LocalError as error:
        if is_raised:
            raise
        if isinstance(error, NotDicom):
            status = Status.FAILED if found.named else Status.SKIPPED
            return Outcome(status, found.path, size_of(found.path), error.message)
        return Outcome(Status.FAILED, found.path, reason=error.message)
