"""Sends instances to be stored, and finds the outcome of each (PS3.18 section 10.5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.delivery import Delivery
from dcmweb.transactions.store.dialect import Dialect
from dcmweb.transactions.store.exchange import StoreExchange
from dcmweb.transactions.store.options import IfExists
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.transactions.store.existing import ExistingInstances


class Sender:
    """Sends batches; what the server turned out to want is remembered for the run."""

    def __init__(
        self,
        context: RunContext,
        headers: dict[str, str] | None = None,
        if_exists: IfExists = IfExists.SKIP,
        orthanc_api: str = "",
        *,
        is_again: bool = False,
    ) -> None:
        self._context = context
        self._dialect = Dialect(context.settings, context.notify, context.server)
        self._exchange = StoreExchange(context, self._dialect, headers)
        self._existing: ExistingInstances | None = None
        if if_exists is not IfExists.SKIP or is_again:
            from dcmweb.transactions.delete.ways import way_to_delete
            from dcmweb.transactions.store.existing import ExistingInstances
            from dcmweb.transactions.store.replacement import Replacer

            make_way = partial(way_to_delete, orthanc_api=orthanc_api)
            replacer = Replacer(context, self._dialect, headers, make_way)
            self._existing = ExistingInstances(
                context, if_exists, self._send, replacer, is_again=is_again
            )

    @property
    def batch_bytes(self) -> int:
        """The most bytes of several instances in one request."""
        return self._dialect.batch_bytes

    @property
    def batch_count(self) -> int:
        """The most instances in one request."""
        return self._dialect.batch_count

    def deliver(self, batch: Batch) -> Iterator[Outcome]:
        """Send instances and yield the outcome of each, whatever happens in between."""
        yield from self._existing.deliver(batch) if self._existing else self._send(batch)

    def _send(self, batch: Batch) -> Iterator[Outcome]:
        yield from Delivery(self._context, self._dialect, self._exchange, batch).outcomes()


class Planner:
    """Stands in for a sender in a dry run: it says what would be sent, and sends nothing."""

    def __init__(self, context: RunContext) -> None:
        self.batch_bytes = context.settings.batch_bytes
        self.batch_count = context.settings.batch_count

    @staticmethod
    def deliver(batch: Batch) -> Iterator[Outcome]:
        """Yield what would become of instances."""
        for instance in batch:
            yield Outcome.of(
                instance.identity.resource,
                Status.PLANNED,
                instance.path,
                size=instance.size,
                mtime_ns=instance.mtime_ns,
            )
