"""Replacing an instance that the server has, so that at no time both the old and the new are lost.

Where a server replaces by itself (PUT, or POST as with OverwriteInstances of Orthanc), it does so.
Otherwise the old one is deleted before the new one is stored. Its bytes are kept on this machine
until then, and are put back if the new one is not accepted.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import (
    AuthError,
    DcmwebError,
    Interrupted,
    NothingMatched,
    ProtocolError,
    Refused,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.ways import Way
from dcmweb.transactions.store import failure_reasons, matching
from dcmweb.transactions.store.dialect import Dialect
from dcmweb.transactions.store.exchange import StoreExchange
from dcmweb.transactions.store.failure_reasons import Verdict
from dcmweb.transactions.store.ledger import Ledger
from dcmweb.transactions.store.matching import Said
from dcmweb.transactions.store.old_copy import Found, OldCopy
from dcmweb.transactions.store.response_module import NotStored, Stored
from dcmweb.transfer.outcomes import Outcome, Status

_SAME = "the server has the same bytes"
_REPLACED = "it replaces other bytes that the server had"
_KEPT = "the server keeps the one that it has"
_NO_PUT = (404, 405, 501)
_LOCKS = 64
_FORMATS = 3  # of a request, that are tried at most


@dataclass(frozen=True)
class _Attempt:
    """What came of sending an instance: what the server says of it, or why that is not known."""

    said: Said | None = None
    problem: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether the server says that it stored it."""
        return isinstance(self.said, Stored)


class Replacer:
    """Replaces instances one by one; `make_way` makes the way to delete in a context."""

    def __init__(
        self,
        context: RunContext,
        dialect: Dialect,
        headers: dict[str, str] | None,
        make_way: Callable[[RunContext], Way],
    ) -> None:
        self._context = context
        self._dialect = dialect
        self._headers = headers
        # A stop of the run does not end what goes this way.
        self._undisturbed = context.undisturbed()
        self._way = make_way(self._undisturbed)
        self._keeps = False  # the server kept an instance that was sent again
        # Two files of the same UID are replaced one after the other.
        self._locks = [Lock() for _ in range(_LOCKS)]
        pattern = context.server.replaces
        self._puts = bool(pattern and re.search(pattern, context.settings.base_url))

    def replace(self, instance: LocalInstance, ledger: Ledger) -> Outcome:
        """Replace an instance unless it is the same. Raises what other instances meet as well."""
        lock = self._locks[hash(instance.identity.resource.instance) % _LOCKS]
        try:
            with lock, OldCopy(self._context, instance) as old:
                old.fetch()
                if old.is_same:
                    return ledger.outcome(instance, Status.EXISTS, _SAME)
                if self._context.server.keeps_both:
                    reason = f"{self._context.server.label} cannot replace instances; {_KEPT}"
                    return ledger.outcome(instance, Status.FAILED, reason)
                if self._keeps:
                    return self._by_deleting(instance, ledger, old)
                return self._overwrite(instance, ledger, old)
        except Interrupted:
            raise
        except DcmwebError as error:
            if self._context.engine.gives_up(error):
                raise
            if ledger.unanswered([instance]):
                reason = f"{error.message}; the server has the old one or the new one"
                return ledger.outcome(instance, Status.UNKNOWN, reason)
            reason = f"not replaced: {error.message}"
            return ledger.outcome(instance, Status.FAILED, _with_hint(reason, error))

    def _overwrite(self, instance: LocalInstance, ledger: Ledger, old: OldCopy) -> Outcome:
        """Let the server replace the instance by itself; go on if it does not."""
        if self._puts:
            try:
                attempt = self._send(self._context, instance, ledger, "PUT")
            except (Refused, NothingMatched) as error:
                if isinstance(error, Refused) and error.status not in _NO_PUT:
                    raise
                self._puts = False
            else:
                return self._put(attempt, instance, ledger)
        attempt = self._send(self._context, instance, ledger)
        if isinstance(attempt.said, NotStored):
            verdict, words = failure_reasons.failure(attempt.said.reason, attempt.said.detail)
            if verdict is not Verdict.EXISTS:
                return ledger.outcome(instance, Status.FAILED, f"{words}; {_KEPT}")
            self._keeps = True
            return self._by_deleting(instance, ledger, old)
        found = old.look(self._context)
        if found in (Found.NEW, Found.OTHER) and attempt.is_stored:
            return _replaced(ledger, instance, attempt)
        if found is Found.OLD:
            self._keeps = True
            return self._by_deleting(instance, ledger, old)
        reason = attempt.problem or "the server does not say which one it has now"
        return ledger.outcome(instance, Status.UNKNOWN, reason)

    @staticmethod
    def _put(attempt: _Attempt, instance: LocalInstance, ledger: Ledger) -> Outcome:
        if isinstance(attempt.said, Stored):
            return _replaced(ledger, instance, attempt)
        if attempt.said is None:
            return ledger.outcome(instance, Status.UNKNOWN, attempt.problem)
        _, words = failure_reasons.failure(attempt.said.reason, attempt.said.detail)
        return ledger.outcome(instance, Status.FAILED, f"{words}; {_KEPT}")

    # Deleting first.

    def _by_deleting(self, instance: LocalInstance, ledger: Ledger, old: OldCopy) -> Outcome:
        """Delete the old instance and store the new one, without being interrupted in between."""
        if not old.is_as_stored:
            reason = "not replaced: the server does not send the old one as it is stored"
            return ledger.outcome(instance, Status.FAILED, f"{reason}, to keep a copy of it")
        self._context.notify_once(
            "The server does not replace instances by itself: they are deleted and stored anew. "
            f"Until that is done, a copy of each is below {tempfile.gettempdir()} in "
            "dcmweb-replaced-*"
        )
        old.make_sure()
        self._context.stop.check()
        with self._context.stop.holding():
            is_gone = True
            try:
                self._way.delete(instance.identity.resource)
            except (Refused, AuthError, ProtocolError) as error:
                reason = f"not replaced, as it cannot be deleted: {error.message}; {_KEPT}"
                return ledger.outcome(instance, Status.FAILED, _with_hint(reason, error))
            except DcmwebError:
                is_gone = False  # or it is; a look shows that
            return self._store_anew(instance, ledger, old, is_gone=is_gone)

    def _store_anew(
        self, instance: LocalInstance, ledger: Ledger, old: OldCopy, *, is_gone: bool
    ) -> Outcome:
        """Store the new instance in place of a deleted one, or put the old one back."""
        try:
            attempt = self._send(self._undisturbed, instance, ledger)
        except DcmwebError as error:
            attempt = _Attempt(problem=error.message)
        if is_gone and attempt.is_stored:
            return _replaced(ledger, instance, attempt)
        found = old.look(self._undisturbed)
        if found in (Found.NEW, Found.OTHER) or (attempt.is_stored and found is not Found.OLD):
            return _replaced(ledger, instance, attempt)
        reason = _why(attempt)
        if found is Found.OLD:
            return ledger.outcome(instance, Status.FAILED, f"not replaced: {reason}; {_KEPT}")
        return self._put_back(instance, ledger, old, reason)

    def _put_back(
        self, instance: LocalInstance, ledger: Ledger, old: OldCopy, reason: str
    ) -> Outcome:
        """Store the old instance again; if that fails, keep its copy and say where it is."""
        try:
            is_back = self._send(self._undisturbed, old.as_instance(), None).is_stored
        except DcmwebError as error:
            is_back, reason = False, f"{reason}; nor could the old one be put back: {error.message}"
        found = old.look(self._undisturbed)
        if found in (Found.NEW, Found.OTHER):
            return _replaced(ledger, instance, _Attempt())
        if found is Found.OLD or (found is Found.UNCLEAR and is_back):
            reason = f"not replaced: {reason}; the old one was put back"
            return ledger.outcome(instance, Status.FAILED, reason)
        old.keep()
        words = f"{reason}; the old one was deleted, and its copy is {old.path}"
        return ledger.outcome(instance, Status.FAILED, words)

    # Sending.

    def _send(
        self,
        context: RunContext,
        instance: LocalInstance,
        ledger: Ledger | None,
        method: str = "POST",
    ) -> _Attempt:
        """Send one instance, and wait where the server has no room for it now."""
        exchange = StoreExchange(context, self._dialect, self._headers, method)
        tries = 0
        while True:
            attempt = self._sent(context, exchange, instance, ledger)
            said = attempt.said
            if not isinstance(said, NotStored):
                return attempt
            verdict, _ = failure_reasons.failure(said.reason, said.detail)
            delay = context.engine.delay(tries, failure_reasons.NO_ROOM)
            if verdict is not Verdict.BUSY or delay is None:
                return attempt
            context.engine.pause(delay, failure_reasons.NO_ROOM)
            tries += 1

    def _sent(
        self,
        context: RunContext,
        exchange: StoreExchange,
        instance: LocalInstance,
        ledger: Ledger | None,
    ) -> _Attempt:
        for _ in range(_FORMATS):
            body_format = self._dialect.file_format
            if ledger:
                ledger.begin([instance])
            try:
                answer = context.engine.attempt(partial(exchange.post, [instance], body_format))
            except DcmwebError as error:
                if self._dialect.adapts_to(error, body_format):
                    continue
                if ledger and isinstance(error, (Refused, NothingMatched, AuthError)):
                    ledger.note_answered([instance], but=set())
                raise
            if ledger:
                ledger.note_answered([instance], but=set())
            matched = matching.match([instance], answer.response)
            if matched.said:
                return _Attempt(matched.said[0][1])
            words = f": {answer.words}" if answer.words else ""
            problem = f"answered {answer.status} without a word about it{words}"
            if answer.status >= 400:
                reason = f"refused with status {answer.status}{words}"
                return _Attempt(NotStored(instance.identity.resource.instance, None, reason))
            return _Attempt(problem=problem)
        raise ProtocolError("the server takes neither form of store requests")


def _replaced(ledger: Ledger, instance: LocalInstance, attempt: _Attempt) -> Outcome:
    said = attempt.said
    if not isinstance(said, Stored):
        said = Stored(instance.identity.resource.instance)
    outcome = ledger.stored(instance, said)
    return outcome._replace(reason="; ".join(filter(None, [_REPLACED, outcome.reason])))


def _why(attempt: _Attempt) -> str:
    if isinstance(attempt.said, NotStored):
        return failure_reasons.failure(attempt.said.reason, attempt.said.detail)[1]
    return attempt.problem or "the server said that it stored it, but does not have it"


def _with_hint(reason: str, error: DcmwebError) -> str:
    return f"{reason}; {error.hint}" if error.hint else reason
