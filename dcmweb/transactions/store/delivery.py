"""The way of one batch: sent, looked up in the answer, asked about, sent again by the table."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from dcmweb.counted import plural
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    LocalError,
    NothingMatched,
    Refused,
)
from dcmweb.settings.servers import says_exists
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store import failure_reasons, matching
from dcmweb.transactions.store.dialect import Dialect
from dcmweb.transactions.store.exchange import StoreExchange
from dcmweb.transactions.store.failure_reasons import NO_ROOM, Verdict
from dcmweb.transactions.store.ledger import Ledger
from dcmweb.transactions.store.matching import Matched
from dcmweb.transactions.store.presence import Presence
from dcmweb.transactions.store.request_body import Batch, BodyFormat
from dcmweb.transactions.store.resend import LARGE, WAITS, Again, Rule, Situation, Then, rule_for
from dcmweb.transactions.store.response import SUCCESS, Answer
from dcmweb.transactions.store.response_module import NotStored, Stored
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions.store.inquiry import Inquiry

log = logging.getLogger(__name__)

_LEFT_OPEN = "the answer does not name it, nor those of files that were sent by themselves"
FEW = 4  # instances that are not put into groups: each by itself takes as few requests


class Load(NamedTuple):
    """What goes in one request, and what was done with it before.

    It was in `splits` larger requests that failed, was sent `repeats` times as it is, and `tries`
    times after the server had no resources; `is_second` if an answer left it open before.
    """

    batch: Batch
    splits: int = 0
    repeats: int = 0
    tries: int = 0
    is_second: bool = False

    @property
    def size(self) -> int:
        """Bytes in the instances."""
        return sum(instance.size for instance in self.batch)


class Delivery:
    """Sends the instances of a batch until there is an outcome of each."""

    def __init__(
        self,
        context: RunContext,
        dialect: Dialect,
        exchange: StoreExchange,
        batch: Batch,
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._dialect = dialect
        self._exchange = exchange
        self._queue = deque([Load(batch)])
        self._ledger = Ledger(batch, context.session)

    @cached_property
    def _inquiry(self) -> Inquiry:
        from dcmweb.transactions.store.inquiry import Inquiry

        return Inquiry(self._context)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of each instance, whatever happens in between."""
        return self._ledger.accounting_for_all(self._steps())

    def _steps(self) -> Iterator[Outcome]:
        while self._queue:
            yield from self._step(self._queue.popleft())

    # Sending.

    def _step(self, load: Load) -> Iterator[Outcome]:
        """Send a load in one request; or put smaller ones into its place."""
        fitting = list(self._dialect.fitting(load.batch))
        if len(fitting) > 1:
            self._put_first(load._replace(batch=batch) for batch in fitting)
            return
        if load.is_second and self._dialect.alone_is_vain:
            yield self._ledger.outcome(load.batch[0], Status.UNKNOWN, _LEFT_OPEN)
            return
        body_format = self._dialect.format_for(load.batch)
        try:
            answer = self._engine.attempt(
                partial(self._post, load, body_format),
                fail_fast=lambda error: not _repeats(load, error),
                not_counted=lambda _: len(load.batch) > 1,  # smaller requests will tell
            )
        except LocalError as error:
            yield from self._without_unreadable(load, error)
        except DcmwebError as error:
            yield from self._after_error(load, body_format, error)
        else:
            yield from self._after_answer(load, answer)

    def _put_first(self, loads: Iterable[Load]) -> None:
        self._queue.extendleft(reversed([load for load in loads if load.batch]))

    def _post(self, load: Load, body_format: BodyFormat) -> Answer | None:
        """Send a load; None if a search shows that this is not needed any more."""
        before = self._ledger.unanswered(load.batch)
        if before and len(load.batch) == 1 and load.size >= LARGE and self._is_there(load.batch[0]):
            return None
        self._ledger.begin(load.batch)
        try:
            answer = self._exchange.post(load.batch, body_format)
        except Interrupted:
            raise
        except DcmwebError as error:
            if not rule_for(error).is_asked:
                self._ledger.note_answered(load.batch, but=before)
            raise
        is_success = answer.status in SUCCESS  # a refusal does not answer for earlier requests
        self._ledger.note_answered(load.batch, but=set() if is_success else before)
        return answer

    def _is_there(self, instance: LocalInstance) -> bool:
        return self._inquiry.ask([instance])[instance.path] is Presence.THERE

    def _without_unreadable(self, load: Load, error: LocalError) -> Iterator[Outcome]:
        """Name the file that could not be sent, and send the others."""
        bad = [one for one in load.batch if one.is_made_of(error.path)]
        if not bad:
            raise error
        for instance in bad:
            yield self._ledger.outcome(instance, Status.FAILED, error.message)
        self._put_first([load._replace(batch=[one for one in load.batch if one not in bad])])

    # After an error.

    def _after_error(
        self, load: Load, body_format: BodyFormat, error: DcmwebError
    ) -> Iterator[Outcome]:
        """Go on after a request that failed as a whole, by the table."""
        if self._dialect.adapts_to(error, body_format):
            self._put_first([load])
            return
        rule = rule_for(error)
        if rule.then is Then.PROBE:
            self._probe(load, error)
        elif rule.then is Then.STOP:
            raise error
        elif len(load.batch) > 1:
            yield from self._in_smaller_ones(load, rule, error)
        else:
            yield from self._in_the_end(load.batch[0], error)

    def _probe(self, load: Load, error: DcmwebError) -> None:
        """Wait for a server in trouble, and try it with one file. Raises the error in the end."""
        delay = self._engine.delay(load.tries, error)
        if delay is None:
            raise error
        self._engine.pause(delay, error)
        one, rest = load.batch[:1], load.batch[1:]
        self._put_first(load._replace(batch=batch, tries=load.tries + 1) for batch in (one, rest))

    def _check_address(self, error: DcmwebError) -> None:
        """Raise the error if 404 was not about the size: the service is not at this address."""
        is_404 = isinstance(error, Refused) and error.status == 404
        if is_404 and not self._dialect.takes_any() and not self._inquiry.has_service():
            raise NothingMatched(error.message, error.hint) from error

    def _in_smaller_ones(self, load: Load, rule: Rule, error: DcmwebError) -> Iterator[Outcome]:
        """Send several instances once more together, if that may help, and then in less."""
        count = len(load.batch)
        delay = self._engine.delay(0, error)
        again = rule.together is Again.ONCE and not load.repeats and not load.splits
        if again and delay is not None:
            self._engine.pause(delay, error)
            if load.size >= LARGE:
                load = yield from self._without_found(load, error)
            self._put_first([load._replace(repeats=1)])
            return
        log.info("%d instances in one request: %s; in smaller ones", count, error.message)
        if rule.then is Then.SMALLER:
            self._dialect.make_smaller(load.batch)
        if self._ledger.unanswered(load.batch):
            load = yield from self._without_found(load, error)
        self._put_first([load] if rule.then is Then.SMALLER else _split(load))

    def _without_found(self, load: Load, error: DcmwebError) -> Generator[Outcome, None, Load]:
        """Leave out what a search finds after an error, and return what is left."""
        presence = self._ask(load.batch, error)
        return (yield from self._leave_out(load, presence, error.message))

    def _leave_out(
        self, load: Load, presence: Mapping[str, Presence], words: str
    ) -> Generator[Outcome, None, Load]:
        """Yield what a search found, and return the rest."""
        rest = []
        for instance in load.batch:
            if presence[instance.path] is Presence.THERE:
                yield self._ledger.found(instance, words)
            else:
                rest.append(instance)
        return load._replace(batch=rest)

    def _in_the_end(self, instance: LocalInstance, error: DcmwebError) -> Iterator[Outcome]:
        """Yield the outcome of an instance that was sent by itself and failed for good."""
        self._check_address(error)
        if not self._ledger.unanswered([instance]):
            if self._engine.gives_up(error):
                raise error
            yield self._ledger.outcome(instance, Status.FAILED, error.message)
            return
        match self._ask([instance], error)[instance.path]:
            case Presence.THERE:
                yield self._ledger.found(instance, error.message)
                return
            case Presence.MISSING:
                reason = f"{error.message}; a search does not find it"
                yield self._ledger.outcome(instance, Status.FAILED, reason)
            case Presence.UNCLEAR:
                reason = f"{error.message}; the server cannot be asked whether it has it"
                yield self._ledger.outcome(instance, Status.UNKNOWN, reason)
        if self._engine.gives_up(error):
            raise error

    def _ask(self, batch: Batch, error: DcmwebError) -> dict[str, Presence]:
        """Ask about instances; raise the error if the server hangs at that as well."""
        presence = self._inquiry.ask(batch)
        if rule_for(error).situation is Situation.STALLED and self._inquiry.has_stalled:
            raise error
        return presence

    # After an answer.

    def _after_answer(self, load: Load, answer: Answer | None) -> Iterator[Outcome]:
        if answer is None:
            for instance in load.batch:
                yield self._ledger.found(instance, "no answer came when it was sent")
            return
        matched = matching.match(load.batch, answer.response)
        failed = []
        for instance, said in matched.said:
            if isinstance(said, Stored):
                if load.is_second:
                    self._dialect.note_sent_alone(helped=True)
                if len(load.batch) == 1 and said.sop_instance not in instance.identity.names:
                    self._dialect.send_one_by_one()  # so that each can be told from the others
                yield self._ledger.stored(instance, said)
            else:
                failed.append((instance, said))
        yield from self._failed(load, failed)
        if matched.unnamed:
            yield from self._unnamed(load, answer, matched)

    def _failed(
        self, load: Load, failed: list[tuple[LocalInstance, NotStored]]
    ) -> Iterator[Outcome]:
        """Tell refused instances from those that are there already, and those to try again."""
        busy = []
        for instance, failure in failed:
            verdict, words = failure_reasons.failure(failure.reason, failure.detail)
            delay = self._engine.delay(load.tries, NO_ROOM)
            if verdict is Verdict.BUSY and delay is not None:
                busy.append(instance)
            elif verdict is Verdict.EXISTS:
                yield self._ledger.outcome(instance, Status.EXISTS, words)
            else:
                said = [words, "" if failure.detail else instance.what_is_wrong()]
                yield self._ledger.outcome(instance, Status.FAILED, "; ".join(filter(None, said)))
        if busy:
            self._engine.pause(self._engine.delay(load.tries, NO_ROOM) or 0.0, NO_ROOM)
            self._put_first([load._replace(batch=busy, tries=load.tries + 1)])

    def _unnamed(self, load: Load, answer: Answer, matched: Matched) -> Iterator[Outcome]:
        """Find out about instances that an answer does not name, which is not success."""
        rest = load._replace(batch=matched.unnamed)
        if answer.status not in SUCCESS:
            if len(load.batch) > 1:
                self._put_first(_split(rest))
            elif not self._ledger.unanswered(rest.batch):
                yield self._refused(rest.batch[0], answer)
            else:
                yield from self._in_the_end(rest.batch[0], DcmwebError(_refusal(answer)))
        elif answer.status == 202 and not answer.response.names_any:
            yield from self._accepted(rest.batch, answer)
        elif matched.strangers:
            self._dialect.send_one_by_one()
            strangers = plural(matched.strangers, "instance")
            words = f"the answer names {strangers} by UIDs that were not sent"
            rest = yield from self._search_for(rest, words)
            for instance in rest.batch:
                yield self._ledger.outcome(instance, Status.UNKNOWN, words)
        else:
            yield from self._silent(rest, answer, is_alone=len(load.batch) == 1)

    def _search_for(self, load: Load, words: str) -> Generator[Outcome, None, Load]:
        """Leave out what a search finds after an answer, and return what is left."""
        return (yield from self._leave_out(load, self._inquiry.ask(load.batch), words))

    def _refused(self, instance: LocalInstance, answer: Answer) -> Outcome:
        if says_exists(answer.words) and self._is_there(instance):
            return self._ledger.outcome(instance, Status.EXISTS, answer.words)
        said = [f"refused with status {answer.status}", answer.words, instance.what_is_wrong()]
        return self._ledger.outcome(instance, Status.FAILED, "; ".join(filter(None, said)))

    def _accepted(self, batch: Batch, answer: Answer) -> Iterator[Outcome]:
        """Ask for what was accepted, once the server had some time to store it."""
        said = f"accepted (202): {answer.words}" if answer.words else "accepted (202)"
        load, state = Load(batch), "not listed yet"
        for wait in (0.0,) if self._dialect.waits_are_vain else WAITS:
            self._engine.sleep(
                wait, "the server has accepted it and not stored it yet" if wait else ""
            )
            presence = self._inquiry.ask(load.batch)
            load = yield from self._leave_out(load, presence, said)
            if Presence.UNCLEAR in presence.values():
                state = "the server cannot be asked for it"
                break
            if not load.batch:
                break
        self._dialect.waits_are_vain |= bool(load.batch)
        for instance in load.batch:
            yield self._ledger.outcome(instance, Status.UNKNOWN, f"{said}; {state}")

    def _silent(self, load: Load, answer: Answer, *, is_alone: bool) -> Iterator[Outcome]:
        """Send what a search does not find once more, each by itself: that may be named."""
        rest = yield from self._search_for(load, "the answer does not name it")
        if load.is_second:
            self._dialect.note_sent_alone(helped=not rest.batch)
        if not is_alone and not self._dialect.alone_is_vain:
            self._put_first(rest._replace(batch=[one], is_second=True) for one in rest.batch)
            return
        words = f": {answer.words}" if answer.words else ""
        for instance in rest.batch:
            reason = f"answered {answer.status} without a word about it{words}"
            yield self._ledger.outcome(instance, Status.UNKNOWN, reason)


def _refusal(answer: Answer) -> str:
    return "; ".join(filter(None, [f"refused with status {answer.status}", answer.words]))


def _repeats(load: Load, error: DcmwebError) -> bool:
    """Return True if the engine sends the same again after an error."""
    rule = rule_for(error)
    again = rule.together if len(load.batch) > 1 else rule.alone
    return again is Again.RETRIES or rule.then is Then.STOP  # which has its own, early end


def _split(load: Load) -> Iterator[Load]:
    """Split a load into groups, so that no file is in more than three requests of this kind."""
    batch = load.batch
    size = 1 if load.splits or len(batch) <= FEW else math.isqrt(len(batch) - 1) + 1
    for start in range(0, len(batch), size):
        yield load._replace(batch=batch[start : start + size], splits=load.splits + 1)
