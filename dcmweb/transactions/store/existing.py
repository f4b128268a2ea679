"""What is done with instances that the server has already: found out before they are sent.

Servers do not say it in one way: some refuse them, Orthanc and dcm4chee keep theirs and answer as
for a new one, and others replace it. So the server is asked first, unless it does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.inquiry import FEW, Inquiry
from dcmweb.transactions.store.ledger import Ledger
from dcmweb.transactions.store.listed_series import ListedSeries
from dcmweb.transactions.store.options import IfExists
from dcmweb.transactions.store.presence import Presence
from dcmweb.transactions.store.replacement import Replacer
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transfer.outcomes import Outcome, Status

_EXISTS = "the server has an instance of this UID"
_UNCLEAR = "not sent: the server cannot be asked whether it has it"
_AGAIN = "the server has it; a worker that was lost may have stored it"
_OWN = "an earlier request of this run had stored it"


class ExistingInstances:
    """Sends what the server does not have, and treats the rest by the rule.

    `is_again`: they were handed to a worker before, which was lost. What the server has of them is
    not a failure then, as it may be this run that stored it.
    """

    def __init__(
        self,
        context: RunContext,
        rule: IfExists,
        send: Callable[[Batch], Iterator[Outcome]],
        replacer: Replacer,
        *,
        is_again: bool = False,
    ) -> None:
        self._is_again = is_again
        self._context = context
        self._rule = rule
        self._send = send
        self._replacer = replacer
        self._inquiry = Inquiry(context)
        self._listed = ListedSeries(self._inquiry)

    def deliver(self, batch: Batch) -> Iterator[Outcome]:
        """Yield the outcome of each instance, whatever happens in between."""
        ledger = Ledger(batch, self._context.session)
        return ledger.accounting_for_all(self._deliver(batch, ledger))

    def _deliver(self, batch: Batch, ledger: Ledger) -> Iterator[Outcome]:
        presence = self._presence(batch)
        there = []
        for instance in batch:
            match presence[instance.path]:
                case Presence.UNCLEAR if self._rule is not IfExists.SKIP:
                    yield ledger.outcome(instance, Status.FAILED, _UNCLEAR)
                case Presence.THERE if self._is_again and self._rule is not IfExists.REPLACE:
                    yield ledger.outcome(instance, Status.EXISTS, _AGAIN)
                case Presence.THERE if self._rule is IfExists.FAIL:
                    yield ledger.outcome(instance, Status.FAILED, _EXISTS)
                case Presence.THERE:
                    there.append(instance)
        is_open: tuple[Presence, ...] = (
            Presence.MISSING,
        )  # with the rule to skip, servers skip by themselves
        if self._rule is IfExists.SKIP:
            is_open += (Presence.UNCLEAR,)
        missing = [one for one in batch if presence[one.path] in is_open]
        yield from self._send_missing(missing, ledger, there)
        for instance in there:
            yield self._replacer.replace(instance, ledger)
            self._context.stop.check()

    def _send_missing(
        self, missing: Batch, ledger: Ledger, there: list[LocalInstance]
    ) -> Iterator[Outcome]:
        """Send what a search did not find; add to `there` what the server has after all."""
        by_path = {instance.path: instance for instance in missing}
        for outcome in self._send(missing) if missing else ():
            instance = by_path[outcome.item]
            if outcome.status is not Status.EXISTS:
                ledger.settle(instance)
                self._remember(outcome)
                yield outcome
            elif outcome.attempts > 1:  # it was not there before the first
                ledger.settle(instance)
                yield outcome._replace(status=Status.STORED, reason=_OWN)
            elif self._rule is IfExists.SKIP or (self._is_again and self._rule is IfExists.FAIL):
                ledger.settle(instance)
                yield outcome
            elif self._rule is IfExists.FAIL:
                ledger.settle(instance)
                yield outcome._replace(status=Status.FAILED)
            else:
                there.append(instance)

    def _presence(self, batch: Batch) -> dict[str, Presence]:
        """Ask for instances; those of a series are listed once, as it may come in many batches."""
        groups: dict[Resource, Batch] = defaultdict(list)
        for instance in batch:
            own = instance.identity.resource
            groups[Resource(own.study, own.series)].append(instance)
        found: dict[str, Presence] = {}
        for series, group in groups.items():
            listed = self._series(series, len(group)) if series.study and series.series else None
            if listed is None:
                found |= self._inquiry.ask(group)
                continue
            for one in group:
                is_there = one.identity.resource.instance in listed
                found[one.path] = Presence.THERE if is_there else Presence.MISSING
        return found

    def _series(self, series: Resource, count: int) -> set[str] | None:
        """Return the instances of a series; None if they are better asked for by themselves."""
        return self._listed.known(series) if count <= FEW else self._listed.of(series)

    def _remember(self, outcome: Outcome) -> None:
        """Remember what was stored: the same UID may come again."""
        if outcome.status is Status.STORED:
            self._listed.add(Resource(outcome.study, outcome.series, outcome.instance))
