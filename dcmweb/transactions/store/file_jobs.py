"""Groups files into jobs, and identifies and sends the files of a group in its job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import LocalError, NotDicom, NothingMatched
from dcmweb.local.masks import why_nothing
from dcmweb.sources import Content, Found, Keeper, SourceFile, Stamp
from dcmweb.temporary import Spool
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.store.finding import find_files, find_listed_files, why_not_dicom
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transfer.outcomes import IsDone, Outcome, Status, nothing_is_done
from dcmweb.transfer.shard import Shard

if TYPE_CHECKING:
    from dcmweb.transactions.store.selection import Selection

HELD = 32 * 1024 * 1024  # bytes of files that are kept in memory until they are sent
GUESSED = 512 * 1024  # bytes in a file whose size is not known before it is opened
UNSEEN = 15  # files after one that was looked at, and that are guessed to be as large


@dataclass
class Files:
    """The files of some masks, and the masks that have none."""

    masks: Sequence[str]
    listed: Iterable[str]
    on_error: OnError
    shard: Shard | None = None
    selection: Selection | None = None
    notify: Callable[[str], None] = lambda _: None
    unmatched: list[str] = field(default_factory=list)
    any_found: bool = False

    def __iter__(self) -> Iterator[Found]:
        found = self._found()
        if self.selection is None:
            return found
        return self.selection.of(found, self.notify, may_be_none=self.shard is not None)

    def _found(self) -> Iterator[Found]:
        for found in chain(find_files(self.masks), find_listed_files(self.listed)):
            if not found.missing:
                self.any_found = True
                if self.shard is None or self.shard.has(folder_of(found.path)):
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


def folder_of(path: str) -> str:
    """Return the folder of a file, written in one way: its files belong to the same part."""
    return os.path.dirname(os.path.normpath(path)).replace(os.sep, "/")


@dataclass
class _Group:
    """Files of one job, and the bytes of those that are slow to read or cannot be read twice."""

    spool: Spool
    files: list[tuple[Found, bool]] = field(default_factory=list)  # with: may have been done before
    size: int = 0


class FilesOfJobs(Protocol):
    """Files to make jobs of, and what is to be said of them at the end."""

    @property
    def on_error(self) -> OnError:
        """What to do with the error of a file that was named."""

    def __iter__(self) -> Iterator[Found]:
        """Yield the files."""

    def end(self) -> list[Outcome]:
        """Return a failure for each path or mask without a file."""


class FileJobs:
    """Makes a job for each group of files that is about as large as a request may be.

    Files are identified in the job, so that several workers read at the same time. With
    `identifies_all`, this includes those that need nothing more.
    """

    def __init__(
        self,
        context: RunContext,
        files: FilesOfJobs,
        is_done: IsDone,
        sender: Sender | Planner,
        *,
        identifies_all: bool,
        on_begun: Callable[[str], object] = lambda _: None,
    ) -> None:
        settings = context.settings
        self._files = files
        self._is_done = is_done
        self._sender = sender
        self._identifies_all = identifies_all
        self._on_begun = on_begun
        self._unseen = UNSEEN if is_done is nothing_is_done else 0
        self._batch_count = settings.batch_count
        self._held = HELD // (settings.batch_count * settings.workers)
        self._in_memory = HELD // (4 * settings.workers)  # some groups wait for each worker

    def __iter__(self) -> Iterator[Job]:
        group, done = self._new_group(), list[Outcome]()
        size = unseen = 0
        for found in self._files:
            is_open, outcome = False, None
            is_local = type(found.file) is LocalFile
            if unseen and is_local:
                unseen -= 1  # taken to be as large as the last one
            else:
                size, is_open, outcome = self._done_before(found)
                unseen = self._unseen if is_local else 0
            if outcome is not None:
                done.append(outcome)
            else:
                if group.files and group.size + size > self._sender.batch_bytes:
                    yield partial(self._do, group)
                    group = self._new_group()
                group.files.append((_kept(found, group.spool), is_open))
                group.size += size
            if len(done) >= self._batch_count:
                yield partial(iter, done)
                done = []
            if len(group.files) >= self._sender.batch_count:
                yield partial(self._do, group)
                group = self._new_group()
        yield partial(iter, done)
        if group.files:
            yield partial(self._do, group)
        yield partial(iter, self._files.end())

    def _new_group(self) -> _Group:
        return _Group(Spool(self._in_memory))

    def _done_before(self, found: Found) -> tuple[int, bool, Outcome | None]:
        """Look at a file without opening it.

        Returns its size, whether it is open yet if it was done before, and its outcome if it
        needs nothing more.
        """
        if found.file is None:
            return 0, False, None
        stamp = found.file.stamp()
        if stamp is None:
            return GUESSED, True, None
        if self._identifies_all or not self._is_done(found.path, *stamp):
            return stamp.size, self._identifies_all, None
        return stamp.size, False, Outcome(Status.DONE_BEFORE, found.path, stamp.size)

    def _do(self, group: _Group) -> Iterator[Outcome]:
        """Identify files and send those that are DICOM."""
        try:
            others: list[Outcome] = []
            for batch in batches(self._instances(group, others), self._sender):
                yield from others
                others.clear()
                yield from self._sender.deliver(batch)
            yield from others
        finally:
            group.spool.close()

    def _instances(self, group: _Group, others: list[Outcome]) -> Iterator[LocalInstance]:
        """Identify files; add the outcomes of those that need not be sent to the others."""
        held, on_error = self._held, self._files.on_error
        for found, is_open in group.files:
            self._on_begun(found.path)
            one = identified(found, held, group.spool, on_error)
            one = self._before(found, one) or one if is_open else one
            if isinstance(one, Outcome):
                others.append(one)
            else:
                yield one

    def _before(self, found: Found, one: LocalInstance | Outcome) -> Outcome | None:
        """Make the outcome of a file that was opened, if it needs nothing more."""
        stamp = found.file.stamp() if found.file else None
        if isinstance(one, LocalInstance):
            stamp = Stamp(one.size, one.mtime_ns)
        if stamp is None or not self._is_done(found.path, *stamp):
            return None
        if isinstance(one, Outcome):
            return Outcome(Status.DONE_BEFORE, found.path, stamp.size)
        resource = one.identity.resource
        return Outcome.of(resource, Status.DONE_BEFORE, found.path, size=stamp.size)


@dataclass(frozen=True)
class _KeptFile:
    """A file that was passing, with its bytes kept; or the error that this ended with."""

    path: str
    known_stamp: Stamp | None
    content: Content | None
    error: LocalError | None = None
    is_passing: bool = field(default=False, init=False)

    def stamp(self) -> Stamp | None:
        return self.known_stamp

    @contextmanager
    def open(self, _keeper: Keeper | None = None) -> Iterator[tuple[BinaryIO, Content]]:
        if self.content is None:
            raise self.error or LocalError("it was not kept", path=self.path)
        with self.content.open() as reader:
            yield reader, self.content


def _kept(found: Found, spool: Spool) -> Found:
    """Read a passing file now; others are read in the job."""
    file = found.file
    if file is None or not file.is_passing:
        return found
    return replace(found, file=_read_now(file, spool))


def _read_now(file: SourceFile, spool: Spool) -> _KeptFile:
    try:
        with file.open(spool) as (_, content):
            return _KeptFile(file.path, file.stamp(), content)
    except LocalError as error:
        return _KeptFile(file.path, file.stamp(), None, error)


def batches(instances: Iterable[LocalInstance], sender: Sender | Planner) -> Iterator[Batch]:
    """Put instances together: small ones to batches, a large one alone."""
    batch: Batch = []
    size, names = 0, set[str]()
    for instance in instances:
        uid, path = instance.identity.resource.instance, instance.path
        is_full = size + instance.size > sender.batch_bytes or len(batch) >= sender.batch_count
        # An answer names instances by UID: two of the same could not be told apart.
        if batch and (is_full or uid in names or path in names):
            yield batch
            batch, size, names = [], 0, set()
        batch.append(instance)
        size += instance.size
        names.add(uid)
        names.add(path)
    if batch:
        yield batch


def identified(found: Found, held: int, spool: Spool, on_error: OnError) -> LocalInstance | Outcome:
    """Identify a file. Junk that was merely met is skipped; what was named must be DICOM."""
    is_raised = found.named and on_error is OnError.RAISE
    if found.file is None:
        reason = found.error.strerror or str(found.error) if found.error else "it is not there"
        if is_raised:
            raise LocalError(f"{found.path} cannot be read: {reason}", path=found.path)
        return Outcome(Status.FAILED, found.path, reason=reason)
    try:
        return part10.identify_file(found.file, held, spool)
    except LocalError as error:
        if is_raised:
            raise
        if isinstance(error, NotDicom):
            status = Status.FAILED if found.named else Status.SKIPPED
            stamp = found.file.stamp() or Stamp(0, 0)
            words = why_not_dicom(found, error.message)
            return Outcome(status, found.path, stamp.size, words)
        return Outcome(Status.FAILED, found.path, reason=error.message)
