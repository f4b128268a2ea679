"""Keeps the instances of the source until there are enough for a request, and sends them on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.http.media_types import MediaType
from dcmweb.http.multipart import Part
from dcmweb.http.part_stream import Piece
from dcmweb.temporary import check_room, keep
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.copy.holdings import Holdings
from dcmweb.transactions.copy.sending import Sending
from dcmweb.transactions.retrieve.instance_parts import Requests, check
from dcmweb.transactions.retrieve.receiving import Received
from dcmweb.transactions.retrieve.transfer_syntax import note_other_syntax
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transfer.outcomes import ANY_SIZE, IsDone, Outcome, Status

MOST_IN_MEMORY = 8 * 1024 * 1024  # bytes of an instance; a larger one is in a temporary file
MEMORY = 32 * 1024 * 1024  # bytes that are held in all, by the workers together
_THERE = "the destination lists it"
_INTERRUPTED = "interrupted before it was sent"


class EndedByDestination(Exception):
    """The destination ended the run. All that was handed to it has an outcome by then.

    It is not an error of the source, so nothing that treats those may take it for one.
    """

    def __init__(self, error: DcmwebError) -> None:
        super().__init__(error.message)
        self.error = error


class CopyReceiver:
    """Receives instances to be sent on, except those that need not be.

    `is_done` says what an earlier run sent, if there was one, and `holdings` what the destination
    has, if that matters.
    """

    def __init__(
        self,
        context: RunContext,
        sender: Sender | Planner,
        wanted: MediaType,
        is_done: IsDone | None,
        holdings: Holdings | None,
    ) -> None:
        self.context = context
        self.sender = sender
        self.wanted = wanted.parameters.get("transfer-syntax", "")
        self.requests = Requests(context, wanted, lambda _: None)  # streams pass, and are not kept
        self.skips = is_done is not None or holdings is not None
        self.tags: tuple[str, ...] = ()
        # Each worker holds a batch that is sent, one that comes, and an instance that does not fit.
        self.in_memory = min(MOST_IN_MEMORY, MEMORY // (3 * context.settings.workers))
        self._is_done = is_done
        self._holdings = holdings

    def may_have(self, resource: Resource) -> bool:
        """Return True if some of a study or series was sent before, or is there."""
        if self._is_done is not None:
            return True
        return self._holdings is not None and self._holdings.any_below(resource)

    def there(self, instance: Resource, _row: Dataset) -> Outcome | None:
        """Return the outcome of an instance that is not sent; None if it is."""
        if self._is_done is not None and self._is_done(str(instance), ANY_SIZE, 0):
            return Outcome.of(instance, Status.DONE_BEFORE)
        if self._holdings is not None and self._holdings.has(instance):
            return Outcome.of(instance, Status.EXISTS)._replace(reason=_THERE)
        return None

    def intake(self) -> CopyIntake:
        """Return what takes the instances of one job."""
        return CopyIntake(self)


@dataclass
class _Batch:
    """Instances that came whole: those of one request."""

    received: list[Received] = field(default_factory=list)
    size: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, received: Received, instance: LocalInstance) -> None:
        """Add an instance."""
        self.received.append(received)
        self.size += instance.size
        self.names |= _names(instance)

    @property
    def instances(self) -> list[LocalInstance]:
        """The instances."""
        return [one.instance for one in self.received if one.instance is not None]

    @property
    def notes(self) -> dict[str, str]:
        """What was noted of instances as they came, by their paths."""
        return {str(one.resource): one.note for one in self.received if one.note}

    def let_go(self) -> None:
        """Forget the bytes."""
        for one in self.received:
            one.let_go()


class CopyIntake:
    """Takes the instances of one job, and sends them in batches: one while the next one comes.

    Each is kept in memory or, if it is large, in a temporary file, so that it can be sent again.
    """

    def __init__(self, receiver: CopyReceiver) -> None:
        self._receiver = receiver
        self._context = receiver.context
        self._sender = receiver.sender
        self._sending: Sending | None = None
        self._sent = _Batch()  # the one that is being sent
        self._waiting = deque([_Batch()])  # those that were not sent yet; the last is not full

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
        most = min(self._sender.batch_bytes, self._receiver.in_memory)
        batch = self._waiting[-1]
        # An answer names instances by UID: two of the same could not be told apart.
        if batch.size + instance.size > most or _names(instance) & batch.names:
            batch = self._begin_batch()
        batch.add(received, instance)
        if batch.size >= most or len(batch.received) >= self._sender.batch_count:
            self._begin_batch()
        yield from self._send_full()

    def _begin_batch(self) -> _Batch:
        if self._waiting[-1].received:
            self._waiting.append(_Batch())
        return self._waiting[-1]

    def all_of(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Yield the outcomes of the job, and send what is left at its end.

        What came whole before the source failed goes on as well.
        """
        try:
            yield from self._and_send(outcomes)
        except Interrupted:
            with suppress(Interrupted, EndedByDestination):
                yield from self._outcomes()
            yield from self._left(_INTERRUPTED)
            raise
        except EndedByDestination as ended:
            yield from self._left(f"not sent: {ended.error.message}")
            raise
        finally:
            self._end()

    def _and_send(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        try:
            yield from outcomes
        except Interrupted:
            raise
        except DcmwebError:
            yield from self._send_all()
            raise
        yield from self._send_all()

    def _send_all(self) -> Iterator[Outcome]:
        self._begin_batch()
        yield from self._send_full()
        yield from self._outcomes()

    def _send_full(self) -> Iterator[Outcome]:
        """Send the batches that are full, one at a time; wait for the one before."""
        if self._sending is not None and self._sending.is_over:
            yield from self._outcomes()
        while len(self._waiting) > 1:
            yield from self._outcomes()
            self._sent = self._waiting.popleft()
            self._sending = Sending(self._sender.deliver(self._sent.instances))

    def _outcomes(self) -> Iterator[Outcome]:
        """Wait for the batch that is being sent, and yield the outcome of each instance."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        notes = self._sent.notes
        try:
            for outcome in sending.outcomes():
                yield _with_note(outcome, notes.get(outcome.item, ""))
        except Interrupted:
            raise
        except DcmwebError as error:
            raise EndedByDestination(error) from None
        finally:
            self._sent.let_go()

    def _left(self, words: str) -> Iterator[Outcome]:
        """Yield the outcomes of what came whole and was not sent."""
        for instance in [one for batch in self._waiting for one in batch.instances]:
            found = instance.identity.resource
            outcome = Outcome.of(found, Status.FAILED, instance.path, size=instance.size)
            yield outcome._replace(reason=words, is_left_over=True)

    def _end(self) -> None:
        """Wait for what is being sent, when nobody wants its outcomes, and forget all bytes."""
        if self._sending is not None:
            self._sending.wait()
            self._sent.let_go()
        for batch in self._waiting:
            batch.let_go()


def _names(instance: LocalInstance) -> set[str]:
    return {instance.path, instance.identity.resource.instance}


def _with_note(outcome: Outcome, note: str) -> Outcome:
    if not note or not outcome.status.is_good:
        return outcome
    return outcome._replace(reason="; ".join(filter(None, [outcome.reason, note])))
