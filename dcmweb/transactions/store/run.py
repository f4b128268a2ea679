"""The Store transaction (STOW-RS, PS3.18 section 10.5): what is stored, and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from dcmweb.buckets.addresses import is_bucket
from dcmweb.counted import plural
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import UsageError
from dcmweb.local.masks import find, find_listed
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.store.file_jobs import FileJobs, Files, batches
from dcmweb.transactions.store.options import StoreOptions
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, nothing_is_done

if TYPE_CHECKING:
    from dcmweb.transactions.store.metadata_instance import Metadata, MetadataInstance

_AS_USUAL = StoreOptions()


def store(
    context: RunContext,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = nothing_is_done,
    options: StoreOptions = _AS_USUAL,
) -> Outcomes:
    """Store the instances in files, folders and masks; yield the outcome of each file.

    `listed` are paths without wildcards. Files are skipped if `is_done` says so, by path, size
    in bytes and time of modification in nanoseconds. Raises NothingMatched if there was no file at
    all, and what stopped the run otherwise.
    """
    sender = _sender(context, options)
    files = files_of(masks, listed, options, context.notify)
    jobs = FileJobs(context, files, is_done, sender, identifies_all=_verifies(options))
    yield from _run(context, iter(jobs), options)


def files_of(
    masks: Sequence[str],
    listed: Iterable[str],
    options: StoreOptions,
    notify: Callable[[str], None],
) -> Files:
    """Return what finds the files of a run."""
    files = Files(masks, listed, options.on_error, None, options.selection, notify)
    if options.shard:
        from dcmweb.transfer.shard import Shard

        files.shard = Shard.parse(options.shard)
    return files


def store_metadata(
    context: RunContext,
    metadata: Metadata,
    masks: Sequence[str],
    listed: Iterable[str] = (),
    is_done: IsDone = nothing_is_done,
    options: StoreOptions = _AS_USUAL,
) -> Outcomes:
    """Store instances made of metadata, and of images and documents; yield the outcome of each.

    Where anything is wrong with the input, that is what is yielded, nothing is sent, and
    UsageError raised. Otherwise as `store`.
    """
    from dcmweb.transactions.store.from_metadata import compose

    if any(map(is_bucket, masks)):
        raise UsageError(
            "images and documents for --metadata are read from this machine", "copy them here first"
        )
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
    return Planner(context) if options.dry_run else sender_of(context, options)


def sender_of(context: RunContext, options: StoreOptions, *, is_again: bool = False) -> Sender:
    """Make what sends instances; `is_again`: some may be stored by a run that was lost."""
    headers = {"Storage-Class": options.storage_class} if options.storage_class else None
    rule, api = options.if_exists, options.orthanc_api
    return Sender(context, headers, rule, api, is_again=is_again)


def _run(context: RunContext, jobs: Iterator[Job], options: StoreOptions) -> Iterator[Outcome]:
    outcomes = context.engine.run(jobs)
    yield from verified(context, outcomes) if _verifies(options) else outcomes


def _verifies(options: StoreOptions) -> bool:
    return options.verify and not options.dry_run


def verified(context: RunContext, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Yield outcomes, then those of instances that the server does not list after all."""
    from dcmweb.transactions.store.verify import Verification

    meter = context.engine.meter
    meter.begin_items(later="verifying")
    with closing(Verification(context)) as verification:
        count = missing = 0
        for outcome in outcomes:
            count += verification.note(outcome)
            yield outcome
        meter.begin("verifying", "instance", verification.noted)
        for outcome in context.engine.run(verification.jobs()):
            is_news = outcome.status is Status.STORED  # which was unknown before
            count, missing = count + is_news, missing + (not is_news)
            yield outcome
        context.notify(
            f"Verified: the server lists {count - missing:,} of {plural(count, 'instance')}"
        )


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
    for batch in batches(instances, sender):
        yield partial(sender.deliver, batch)


def _composed_before(instance: MetadataInstance) -> Outcome:
    """Make the outcome of an instance that needs nothing more."""
    resource = instance.identity.resource
    return Outcome.of(resource, Status.DONE_BEFORE, instance.path, size=instance.size)
