"""Keeps the instances of the source until there are enough for a request, and sends them on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.http.media_types import MediaType
from dcmweb.http.multipart import Part, Piece
from dcmweb.temporary import check_room, keep
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.instance_parts import Requests, check
from dcmweb.transactions.retrieve.receiving import Received
from dcmweb.transactions.retrieve.transfer_syntax import note_other_syntax
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transfer.outcomes import ANY_SIZE, IsDone, Outcome, Status

MOST_IN_MEMORY = 8 * 1024 * 1024  # bytes of an instance; a larger one is in a temporary file
MEMORY = 32 * 1024 * 1024  # bytes that are held in all, by the workers together
_NOT_SENT = "interrupted before it was sent"


class EndedByDestination(Exception):
    """The destination ended the run. All that was handed to it has an outcome by then.

    It is not an error of the source, so nothing that treats those may take it for one.
    """

    def __init__(self, error: DcmwebError) -> None:
        super().__init__(error.message)
        self.error = error


class CopyReceiver:
    """Receives instances to be sent on; those that an earlier run sent are left out.

    `skips` says whether there was an earlier run.
    """

    def __init__(
        self,
        context: RunContext,
        sender: Sender | Planner,
        wanted: MediaType,
        is_done: IsDone,
        *,
        skips: bool,
    ) -> None:
        self.context = context
        self.sender = sender
        self.wanted = wanted.parameters.get("transfer-syntax", "")
        self.requests = Requests(context, wanted, lambda _: None)  # streams pass, and are not kept
        self.skips = skips
        self.tags: tuple[str, ...] = ()
        # Each worker holds a batch, and an instance that does not fit into it.
        self.in_memory = min(MOST_IN_MEMORY, MEMORY // (2 * context.settings.workers))
        self._is_done = is_done

    def may_have(self, _resource: Resource) -> bool:
        """Return True if some of a study or series may have been sent before."""
        return self.skips

    def there(self, instance: Resource, _row: Dataset) -> Outcome | None:
        """Return the outcome of an instance that was sent before; None if it is to be sent."""
        if self.skips and self._is_done(str(instance), ANY_SIZE, 0):
            return Outcome.of(instance, Status.DONE_BEFORE)
        return None

    def intake(self) -> CopyIntake:
        """Return what takes the instances of one job."""
        return CopyIntake(self)


@dataclass
class _Waiting:
    """Instances that came whole and were not sent yet."""

    received: list[Received] = field(default_factory=list)
    size: int = 0
    names: set[str] = field(default_factory=set)

    @property
    def batch(self) -> list[LocalInstance]:
        """The instances."""
        return [one.instance for one in self.received if one.instance is not None]


class CopyIntake:
    """Takes the instances of one job, and sends them in batches.

    Each is kept in memory or, if it is large, in a temporary file, so that it can be sent again.
    """

    def __init__(self, receiver: CopyReceiver) -> None:
        self._receiver = receiver
        self._context = receiver.context
        self._sender = receiver.sender
        self._waiting = _Waiting()

    def receive(self, part: Part, asked: Resource, *, ends: bool = True) -> Received:
        """Take the bytes of an instance, and check them."""
        in_memory = self._receiver.in_memory
        if (part.declared_size or 0) > in_memory:
            check_room(part.declared_size or 0)
        kept = keep(self._pieces(part), in_memory)
        with kept.open() as reader:
            found, identity = check(reader, kept.size, part, asked, ends)
        note = note_other_syntax(self._context, self._receiver.wanted, identity.transfer_syntax)
        instance = LocalInstance(str(found), kept.size, 0, identity, file=kept)
        return Received(found, instance=instance, note=note, let_go=kept.close)

    def _pieces(self, part: Part) -> Iterator[Piece]:
        for piece in part.body:
            self._context.stop.check()
            yield piece

    def keep(self, received: Received) -> Iterator[Outcome]:
        """Add an instance to those that wait; send them once they are enough for a request."""
        instance = received.instance
        if instance is None:
            return
        names = {instance.path, instance.identity.resource.instance}
        most = min(self._sender.batch_bytes, self._receiver.in_memory)
        # An answer names instances by UID: two of the same could not be told apart.
        if self._waiting.size + instance.size > most or names & self._waiting.names:
            yield from self._send()
        waiting = self._waiting
        waiting.received.append(received)
        waiting.size += instance.size
        waiting.names |= names
        if waiting.size >= most or len(waiting.received) >= self._sender.batch_count:
            yield from self._send()

    def all_of(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Yield the outcomes of the job, and send what is left at its end.

        What came whole before the source failed goes on as well.
        """
        try:
            yield from outcomes
        except Interrupted:
            yield from self._left()
            raise
        except DcmwebError:
            yield from self._send()
            raise
        yield from self._send()

    def _left(self) -> Iterator[Outcome]:
        for instance in self._waiting.batch:
            found = instance.identity.resource
            outcome = Outcome.of(found, Status.FAILED, instance.path, size=instance.size)
            yield replace(outcome, reason=_NOT_SENT, is_left_over=True)

    def _send(self) -> Iterator[Outcome]:
        """Send what waits, and yield the outcome of each instance."""
        waiting, self._waiting = self._waiting, _Waiting()
        batch = waiting.batch
        if not batch:
            return
        notes = {str(one.resource): one.note for one in waiting.received if one.note}
        try:
            for outcome in self._sender.deliver(batch):
                yield _with_note(outcome, notes.get(outcome.item, ""))
        except Interrupted:
            raise
        except DcmwebError as error:
            raise EndedByDestination(error) from None
        finally:
            for one in waiting.received:
                one.let_go()


def _with_note(outcome: Outcome, note: str) -> Outcome:
    if not note or not outcome.status.is_good:
        return outcome
    return replace(outcome, reason="; ".join(filter(None, [outcome.reason, note])))
