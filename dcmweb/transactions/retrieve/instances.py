"""Retrieve whole instances, many in one stream if possible (PS3.18 section 10.4.1.1.1)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

from dcmweb.counted import plural
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    LocalError,
    NothingMatched,
    ProtocolError,
    Refused,
    Truncated,
)
from dcmweb.http.multipart import Part
from dcmweb.http.response import Response
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job, one_of_many
from dcmweb.transactions.retrieve.completeness import ReceivedInstances
from dcmweb.transactions.retrieve.instance_jobs import unusable
from dcmweb.transactions.retrieve.instance_parts import parts, receive_one
from dcmweb.transactions.retrieve.metadata import described
from dcmweb.transactions.retrieve.receiving import Intake, Received, Receiver
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

STREAMS_AGAIN = 5  # at most, after one that broke off

_STORE = Resource()


class InstanceRetriever:
    """Retrieves studies and series as streams, and what these lack as single instances."""

    def __init__(self, context: RunContext, receiver: Receiver) -> None:
        self._context = context
        self._engine = context.engine
        self._receiver = receiver
        self._requests = receiver.requests
        self._lister = Lister(context)

    def jobs(self, resource: Resource, *, spread: bool) -> Iterator[Job]:
        """Make the jobs for a resource: the largest streams that keep the workers busy.

        That is the series of a study, if it has to be `spread` over them.
        """
        match resource.level:
            case Level.STORE:
                for study, count in self._lister.whole_store():
                    self._engine.meter.expect(count)
                    yield partial(self._one_stream_of_many, study, count)
            case Level.STUDIES if spread and self._engine.workers > 1:
                yield from self._series_jobs(resource)
            case Level.INSTANCES:
                self._engine.meter.expect(1)
                yield partial(self._one_named, resource)
            case _:
                self._engine.meter.expect(None)
                yield partial(self._many, resource, None)

    def plan(self, resource: Resource) -> Iterator[Job]:
        """Make jobs that list what would be retrieved, for a dry run."""
        self._engine.meter.expect(1 if resource.instance else None)
        if resource.instance:
            yield partial(iter, [self._planned(resource, {})])
        elif resource.study:
            yield partial(self._plan, resource)
        else:
            for study, _ in self._lister.whole_store():
                yield partial(
                    one_of_many, self._engine, str(study or "?"), partial(self._plan, study)
                )

    def _plan(self, parent: Resource | None) -> Iterator[Outcome]:
        if parent is None:
            yield unusable(_STORE)
            return
        listed = 0
        for instance, row in self._lister.instances(parent, *self._receiver.tags):
            listed += 1
            yield self._planned(instance, row) if instance else unusable(parent)
        if not listed:
            raise NothingMatched(f"the server lists no instances in {parent}", "check the path")

    def _planned(self, instance: Resource, row: Dataset) -> Outcome:
        return self._receiver.there(instance, row) or Outcome.of(instance, Status.PLANNED)

    def _series_jobs(self, study: Resource) -> Iterator[Job]:
        """Make a job for each series; one for the study if the server cannot list them."""
        any_series = False
        try:
            for series, count in self._lister.series(study):
                any_series = True
                self._engine.meter.expect(count)
                yield partial(self._one_stream_of_many, series, count, study)
        except (Refused, NothingMatched, ProtocolError):
            if any_series:
                raise
        if not any_series:
            self._engine.meter.expect(None)
            yield partial(self._many, study, None)

    def _one_stream_of_many(
        self, resource: Resource | None, count: int | None, parent: Resource = _STORE
    ) -> Iterator[Outcome]:
        """Retrieve one study or series of many; its failure does not end the run."""
        if resource is None:
            yield unusable(parent)
        else:
            job = partial(self._whole, resource, count)
            yield from one_of_many(self._engine, str(resource), job)

    def _whole(self, resource: Resource, count: int | None) -> Iterator[Outcome]:
        yield from self._many(resource, count)
        self._context.was_done(str(resource))

    def _many(self, resource: Resource, count: int | None) -> Iterator[Outcome]:
        """Retrieve a study or series as one stream, then what is missing one by one.

        Raises the error of the stream if nothing else can be retrieved.
        """
        intake = self._receiver.intake()
        received = ReceivedInstances(resource, count, intake)
        yield from intake.all_of(self._all_of(received))

    def _all_of(self, received: ReceivedInstances) -> Iterator[Outcome]:
        resource = received.resource
        if self._receiver.may_have(resource):
            yield from self._what_is_there(received)
        if not received.instances or received.is_worth_a_stream:
            yield from self._stream(received)
        if received.count is None:
            received.count = self._lister.count(resource)
        if not self._context.has_counts and (received.count or 0) < len(received.instances):
            received.count = None  # that of a file, rather than the server's
        if received.is_broken and resource.level is Level.STUDIES:
            yield from self._series_by_series(received)
        else:
            yield from self._complete(received)

    def _series_by_series(self, received: ReceivedInstances) -> Iterator[Outcome]:
        """Continue with a stream for each series if the stream of the study broke off."""
        try:
            series = list(self._lister.series(received.resource))
        except (Refused, NothingMatched, ProtocolError):
            series = []
        if len(series) < 2 or any(one is None for one, _ in series):
            yield from self._complete(received)
            return
        for one, count in series:
            if one is not None:
                yield from self._complete(received.part(one, count))

    def _complete(self, received: ReceivedInstances) -> Iterator[Outcome]:
        """Get what is missing: as a stream while much is missing, then one by one."""
        for _ in range(STREAMS_AGAIN):
            came = len(received.instances)
            received.missing = (received.count or 0) - came
            if not (received.is_broken and received.is_worth_a_stream):
                break
            received.problem = None
            yield from self._stream(received)
            if len(received.instances) == came:
                break
        if not received.is_complete:
            yield from self._make_good(received)

    def _what_is_there(self, received: ReceivedInstances) -> Iterator[Outcome]:
        """Count files that exist as received, and count what is missing."""
        try:
            listing = self._lister.instances(received.resource, *self._receiver.tags)
            for instance, row in listing:
                outcome = self._receiver.there(instance, row) if instance else None
                if outcome is None or instance is None:
                    received.missing += 1
                elif received.add(instance):
                    yield outcome
        except (Refused, NothingMatched, ProtocolError):
            received.missing = sys.maxsize  # unknown

    def _stream(self, received: ReceivedInstances) -> Iterator[Outcome]:
        """Receive one stream, and keep what is new in it; an error is noted for later."""
        try:
            response = self._engine.attempt(lambda: self._requests.open(received.resource))
        except (Refused, NothingMatched, ProtocolError) as error:
            received.problem = error
            return
        with response:
            received.partial_content = response.is_partial
            # What goes wrong while an instance is kept is not an error of the stream.
            for one in self._received(response, received):
                if received.add(one.resource):
                    yield from received.intake.keep(one)

    def _received(self, response: Response, received: ReceivedInstances) -> Iterator[Received]:
        try:
            for part in parts(response):
                if one := _taken(part, received):
                    yield one
        except Interrupted:
            raise
        except DcmwebError as error:
            if error.fatal or isinstance(error, LocalError):
                raise
            received.problem = error
        else:
            response.finish()

    def _make_good(self, received: ReceivedInstances) -> Iterator[Outcome]:
        """Retrieve one by one what the server lists and the stream lacked."""
        listed, any_lacks = 0, False
        listing = self._lister.instances(received.resource)
        while True:
            try:
                instance, _ = next(listing, (_STORE, {}))
            except (Refused, NothingMatched, ProtocolError) as error:
                yield from self._cannot_list(received, error)
                return
            if instance == _STORE:
                break
            listed += 1
            if instance is None:
                yield unusable(received.resource)
            elif not received.has(instance):
                any_lacks = True
                yield from self._one_of_many(instance, received.intake)
        if received.stranger is not None:
            self._context.notify(f"{received.resource}: {received.stranger.message}")
        if not listed:
            yield from self._nothing_listed(received)
        elif self._context.has_counts and (received.count or 0) > max(
            listed, len(received.instances)
        ):
            counts = plural(received.count or 0, "instance")
            yield self._incomplete(received, f"the server counts {counts}, but lists {listed:,}")
        elif received.partial_content and not any_lacks:
            yield self._incomplete(received, "the server says that it sent only a part of it (206)")

    def _incomplete(self, received: ReceivedInstances, reason: str) -> Outcome:
        return Outcome(Status.FAILED, str(received.resource), reason=reason)

    def _cannot_list(self, received: ReceivedInstances, error: DcmwebError) -> Iterator[Outcome]:
        if received.problem is not None:
            raise received.problem
        if received.partial_content or received.count is not None:
            came = len(received.instances)
            count = "more" if received.count is None else received.count
            reason = (
                f"{plural(came, 'instance')} came, the server has {count}, but does not list them"
            )
            yield self._incomplete(received, f"{reason}: {error.message}")
            return
        self._context.notify(
            f"{received.resource}: the server lists no instances to compare with: {error.message}"
        )

    def _nothing_listed(self, received: ReceivedInstances) -> Iterator[Outcome]:
        if received.problem is not None:
            raise received.problem
        if received.partial_content or (received.count or 0) > len(received.instances):
            yield self._incomplete(received, "the server did not send all of it")

    def _one_named(self, resource: Resource) -> Iterator[Outcome]:
        """Retrieve the instance that the user named. Raises its error."""
        row = (
            described(self._context, resource, self._receiver.tags, {})
            if self._receiver.skips
            else {}
        )
        if there := self._receiver.there(resource, row):
            yield there
            return
        intake = self._receiver.intake()
        yield from intake.all_of(self._one(resource, intake))

    def _one(self, resource: Resource, intake: Intake) -> Iterator[Outcome]:
        yield from intake.keep(self._receive_one(resource, intake))

    def _one_of_many(self, resource: Resource, intake: Intake) -> Iterator[Outcome]:
        """Retrieve an instance, and keep it; only the retrieval may fail without an end."""
        came: list[Received] = []

        def receive() -> tuple[()]:
            came.append(self._receive_one(resource, intake))
            return ()

        yield from one_of_many(self._engine, str(resource), receive)
        for one in came:
            yield from intake.keep(one)

    def _receive_one(self, resource: Resource, intake: Intake) -> Received:
        return self._engine.attempt(lambda: receive_one(self._requests, intake, resource))


def _taken(part: Part, received: ReceivedInstances) -> Received | None:
    """Receive one instance of a stream; a wrong one is noted for later."""
    try:
        return received.intake.receive(part, received.resource)
    except Truncated:
        raise
    except ProtocolError as error:
        received.problem = received.stranger = error
        return None
