"""Units of files for worker processes: found here, identified and sent there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dcmweb.buckets.addresses import is_bucket
from dcmweb.dicom import part10
from dcmweb.errors import LocalError
from dcmweb.local.archive_names import split_member
from dcmweb.sources import Found, Stamp
from dcmweb.temporary import Spool
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.store.file_jobs import GUESSED, FileJobs, Files, identified
from dcmweb.transactions.store.finding import given_files, record_name
from dcmweb.transactions.store.sender import Sender
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status, nothing_is_done
from dcmweb.transfer.unit import MOST_BYTES, Growing, Unit

_IN_MEMORY = 1024 * 1024


def store_units(
    files: Files, is_done: IsDone | None, growing: Growing, *, identifies_all: bool
) -> Iterator[Unit | Outcome]:
    """Yield units of the files to store, and the outcomes of those that need no worker.

    `is_done` is None if nothing is known of earlier runs. With `identifies_all`, what they did is
    opened for the UIDs in it.
    """
    unit = _Open()
    for found in files:
        stamp = _stamp(found, is_done)
        outcome = _done_before(found, stamp, is_done, identifies_all=identifies_all)
        if outcome is not None:
            yield outcome
            continue
        size = stamp.size if stamp else GUESSED
        is_full = unit.size + size > MOST_BYTES or len(unit.items) >= growing.most
        if unit.items and (is_full or unit.named != found.named or found.path in unit.items):
            yield unit.closed()
            growing.note()
            unit = _Open()
        unit.add(found, size)
    if unit.items:
        yield unit.closed()
    yield from files.end()


@dataclass
class _Open:
    """A unit that is being filled; its items are in order, each of them once."""

    items: dict[str, str] = field(default_factory=dict)
    size: int = 0
    named: bool = False

    def add(self, found: Found, size: int) -> None:
        self.items[found.path] = record_name(found.path)
        self.named = found.named
        self.size += size

    def closed(self) -> Unit:
        return Unit(items=tuple(self.items), names=tuple(self.items.values()), named=self.named)


def _stamp(found: Found, is_done: IsDone | None) -> Stamp | None:
    """Return the state of a file; one that is not known is looked up only if it matters."""
    stamp = found.file.stamp() if found.file else None
    if found.file is None or stamp is not None or is_done is None:
        return stamp
    spool = Spool(_IN_MEMORY)
    try:
        with found.file.open(spool) as (_, content):
            return content.stamp
    except LocalError:
        return None  # the worker will say why
    finally:
        spool.close()


def _done_before(
    found: Found, stamp: Stamp | None, is_done: IsDone | None, *, identifies_all: bool
) -> Outcome | None:
    """Return the outcome of a file that needs no worker."""
    if found.file is None:
        spool = Spool(0)
        outcome = identified(found, 0, spool, OnError.OUTCOME)
        assert isinstance(outcome, Outcome)  # noqa: S101 - there is nothing to identify
        return outcome
    if is_done is None or stamp is None or not is_done(found.path, *stamp):
        return None
    if not identifies_all:
        return Outcome(Status.DONE_BEFORE, found.path, stamp.size)
    spool = Spool(_IN_MEMORY)
    try:
        instance = part10.identify_file(found.file, 0, spool)
    except LocalError:
        return Outcome(Status.DONE_BEFORE, found.path, stamp.size)
    finally:
        spool.close()
    resource = instance.identity.resource
    return Outcome.of(resource, Status.DONE_BEFORE, found.path, size=stamp.size)


@dataclass
class _GivenFiles:
    """The files of a unit, in the place of those of masks."""

    paths: Iterable[str]
    named: bool
    on_error: OnError = OnError.OUTCOME

    def __iter__(self) -> Iterator[Found]:
        return given_files(self.paths, named=self.named)

    @staticmethod
    def end() -> list[Outcome]:
        return []


def store_unit(
    context: RunContext, unit: Unit, sender: Sender, on_begun: Callable[[str], object]
) -> Outcomes:
    """Store the files of a unit; yield the outcome of each by the name that it has here.

    `on_begun` is told of each before anything is sent of it.
    """
    files = _GivenFiles(unit.names or unit.items, unit.named)
    jobs = FileJobs(
        context, files, nothing_is_done, sender, identifies_all=False, on_begun=on_begun
    )
    yield from context.engine.run(iter(jobs))


def probe_of(unit: Unit) -> tuple[str, int] | None:
    """Return a file that workers must see, and its size; None for what is in a bucket."""
    path = unit.names[0] if unit.names else ""
    archive, member = split_member(path)
    path = archive if member and not os.path.lexists(path) else path
    if not path or is_bucket(path):
        return None
    try:
        return (path, os.stat(path).st_size) if os.path.isfile(path) else None
    except OSError:
        return None
