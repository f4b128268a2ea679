"""Sending instances to be stored, and finding out what became of each (PS3.18 section 10.5)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import SOP_INSTANCE_UID
from dcmweb.errors import (
    DcmwebError,
    Interrupted,
    LocalError,
    NetworkError,
    Refused,
    Stalled,
    Truncated,
)
from dcmweb.http.media_types import DICOM_JSON, DICOM_XML
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.paging import Pages, Query
from dcmweb.transactions.store import failure_reasons
from dcmweb.transactions.store.failure_reasons import Verdict
from dcmweb.transactions.store.request_body import (
    BodyFormat,
    body_of,
    can_be_metadata,
    is_made_of,
    what_is_wrong,
)
from dcmweb.transactions.store.response import SUCCESS, TELLING, Answer, read_answer
from dcmweb.transactions.store.response_module import NotStored, Stored
from dcmweb.transfer.outcomes import Outcome, Status

log = logging.getLogger(__name__)

Batch = list[LocalInstance]

_NO_METADATA = (
    "The server takes no metadata with bulk data: DICOM files are made of it here, and sent instead"
)
# Refusals of the whole address rather than of what was sent to it.
_HOPELESS = (301, 302, 303, 307, 308, 405, 501)


class Sender:
    """Sends batches and finds out what became of every instance in them.

    What a server turned out to want is remembered for the run: the format of the request, the
    media type of the answer, the size of a batch.
    """

    def __init__(self, context: RunContext, headers: Mapping[str, str] | None = None) -> None:
        self._context = context
        self._engine = context.engine
        self._headers = headers  # of every request, beside what it needs
        self._file_format = BodyFormat.FILES
        self._takes_metadata = True
        self._format_is_sure = False
        self._accept = DICOM_JSON
        self._attempts: Counter[str] = Counter()  # requests that files in flight were in
        self.batch_bytes = context.settings.batch_bytes
        self.batch_count = context.settings.batch_count

    def deliver(self, batch: Batch) -> Iterator[Outcome]:
        """Send instances and yield what became of each, whatever happens in between."""
        waiting = {instance.path: instance for instance in batch}
        try:
            for outcome in self._send(batch):
                waiting.pop(outcome.item, None)
                yield outcome
        except Interrupted:
            for instance in waiting.values():
                yield self._outcome(
                    instance, Status.UNKNOWN, "interrupted before the server answered"
                )
            raise
        except DcmwebError as error:
            for instance in waiting.values():
                yield self._outcome(instance, Status.FAILED, error.message)
            raise
        except Exception:
            for instance in waiting.values():
                yield self._outcome(instance, Status.UNKNOWN, "a defect of dcmweb ended the run")
            raise

    def _send(self, batch: Batch, tries: int = 0) -> Iterator[Outcome]:
        """Send instances in one request, or more if need be."""
        body_format = self._format_for(batch)
        if body_format is BodyFormat.SINGLE and len(batch) > 1:
            yield from self._send_each([[instance] for instance in batch])
            return
        try:
            answer = self._engine.attempt(
                lambda: self._post(batch, body_format),
                # One bad part can make a server stumble: smaller requests will tell which.
                fail_fast=lambda error: len(batch) > 1 and _status(error) == 500,
                not_counted=lambda error: len(batch) > 1 and not isinstance(error, Stalled),
            )
        except LocalError as error:
            yield from self._without_unreadable(batch, error)
        except DcmwebError as error:
            yield from self._after_error(batch, body_format, error)
        else:
            self._format_is_sure |= body_format is not BodyFormat.METADATA
            yield from self._reconcile(batch, answer, tries)

    def _send_each(self, batches: Iterable[Batch]) -> Iterator[Outcome]:
        for batch in batches:
            yield from self._send(batch)

    def _format_for(self, batch: Batch) -> BodyFormat:
        takes_it = self._takes_metadata and can_be_metadata(batch)
        return BodyFormat.METADATA if takes_it else self._file_format

    def _post(self, batch: Batch, body_format: BodyFormat) -> Answer:
        self._attempts.update(instance.path for instance in batch)
        body, counted = body_of(batch, body_format, self._engine.meter)
        session, path = self._context.session, Level.STUDIES.value
        try:
            with session.post(path, body, accept=self._accept, headers=self._headers) as response:
                response.check(*TELLING)
                answer = read_answer(response)
            if body_format is BodyFormat.METADATA and answer.refuses_format:
                raise Refused(answer.words, status=415)
            return answer
        except DcmwebError:
            for source in counted:
                source.take_back()
            raise

    def _without_unreadable(self, batch: Batch, error: LocalError) -> Iterator[Outcome]:
        """Name the file that could not be sent, and send the others."""
        rest = []
        for instance in batch:
            if is_made_of(instance, error.path):
                yield self._outcome(instance, Status.FAILED, error.message)
            else:
                rest.append(instance)
        if rest:
            yield from self._send(rest)

    def _after_error(
        self, batch: Batch, body_format: BodyFormat, error: DcmwebError
    ) -> Iterator[Outcome]:
        """Go on after a request that failed as a whole: another format, smaller batches, or not."""
        if self._adapts_to(error, batch, body_format):
            yield from self._send(batch)
        elif not _is_about_content(error) or self._engine.gives_up(error):
            raise error
        elif len(batch) > 1:
            log.info("%d instances in one request: %s; in halves", len(batch), error.message)
            yield from self._send_each(_halves(batch))
        elif isinstance(error, (NetworkError, Truncated)) and self._is_there(batch[0]):
            # It was the answer that got lost.
            reason = f"{error.message}, but a search finds it"
            place = self._url(batch[0].identity.resource)
            yield self._outcome(batch[0], Status.STORED, reason, place)
        else:
            yield self._outcome(batch[0], Status.FAILED, error.message)

    def _adapts_to(self, error: DcmwebError, batch: Batch, body_format: BodyFormat) -> bool:
        """Change the format of requests as a refusal tells to; False if that cannot help."""
        status = _status(error)
        if status in (415, 501) and body_format is BodyFormat.METADATA:
            is_news, self._takes_metadata = self._takes_metadata, False
            if is_news:
                self._context.notify(f"{_NO_METADATA} ({error.message})")
            return True
        if status == 415 and not self._format_is_sure:
            if body_format is not self._file_format:
                return True  # another worker has found out meanwhile
            self._format_is_sure = body_format is BodyFormat.SINGLE  # the second format is the last
            self._file_format = (
                BodyFormat.FILES if body_format is BodyFormat.SINGLE else BodyFormat.SINGLE
            )
            return True
        if status == 406 and self._accept == DICOM_JSON:
            self._accept = DICOM_XML
            return True
        if status == 413 and len(batch) > 1:
            total = sum(instance.size for instance in batch)
            self.batch_bytes = min(self.batch_bytes, max(1, total // 2))
        return False

    def _reconcile(self, batch: Batch, answer: Answer, tries: int) -> Iterator[Outcome]:
        """Look up every instance in an answer, by name."""
        names = _names(batch)
        unmentioned: Batch = []
        failed: list[tuple[LocalInstance, NotStored]] = []
        for instance in batch:
            match answer.response.about(names[instance.identity.resource.instance]):
                case Stored() as stored:
                    yield self._stored(instance, stored)
                case NotStored() as failure:
                    failed.append((instance, failure))
                case None:
                    unmentioned.append(instance)
        others = answer.response.other_failures
        if len(others) == len(unmentioned):
            # Failures without a UID, as many as there are instances without a word: these.
            failed += zip(unmentioned, others, strict=True)
            unmentioned = []
        yield from self._failed(failed, tries)
        if unmentioned:
            yield from self._unmentioned(batch, unmentioned, answer)

    def _failed(
        self, failed: list[tuple[LocalInstance, NotStored]], tries: int
    ) -> Iterator[Outcome]:
        """Tell refused instances from those that are there already, and those to try again."""
        busy = []
        for instance, failure in failed:
            verdict, words = failure_reasons.failure(failure.reason, failure.detail)
            if verdict is Verdict.BUSY:
                busy.append((instance, words))
            elif verdict is Verdict.EXISTS:
                yield self._outcome(instance, Status.EXISTS, words)
            else:
                said = [words, "" if failure.detail else what_is_wrong(instance)]
                yield self._outcome(instance, Status.FAILED, "; ".join(filter(None, said)))
        if busy:
            yield from self._once_more(busy, tries)

    def _once_more(self, busy: list[tuple[LocalInstance, str]], tries: int) -> Iterator[Outcome]:
        """Send what the server had no resources for again, after a while."""
        delay = self._engine.delay(tries, DcmwebError(""))
        if delay is None:
            for instance, words in busy:
                yield self._outcome(instance, Status.FAILED, words)
            return
        self._engine.pause(delay)
        yield from self._send([instance for instance, _ in busy], tries + 1)

    def _unmentioned(self, batch: Batch, unmentioned: Batch, answer: Answer) -> Iterator[Outcome]:
        """Find out about instances that an answer does not mention, which is not success."""
        if answer.status in SUCCESS:
            rest = []
            for instance in unmentioned:
                if self._is_there(instance):
                    reason = "the answer does not mention it, but a search finds it"
                    yield self._outcome(
                        instance, Status.STORED, reason, self._url(instance.identity.resource)
                    )
                else:
                    rest.append(instance)
            unmentioned = rest
        if len(batch) > 1:
            # In halves even if others were stored: servers exist that take the first part only.
            yield from self._send_each(_halves(unmentioned))
            return
        for instance in unmentioned:
            yield self._never_mentioned(instance, answer)

    def _never_mentioned(self, instance: LocalInstance, answer: Answer) -> Outcome:
        if answer.status in SUCCESS:
            words = f": {answer.words}" if answer.words else ""
            reason = f"answered {answer.status} without a word about it{words}"
            return self._outcome(instance, Status.UNKNOWN, reason)
        if "already exist" in answer.words.lower() and self._is_there(instance):
            return self._outcome(instance, Status.EXISTS, answer.words)
        said = [f"refused with status {answer.status}", answer.words, what_is_wrong(instance)]
        return self._outcome(instance, Status.FAILED, "; ".join(filter(None, said)))

    def _is_there(self, instance: LocalInstance) -> bool:
        """Ask the server, by a search, whether it has an instance."""
        own = instance.identity.resource
        parent = Resource(own.study, own.series) if own.study and own.series else Resource()
        query = Query(parent, Level.INSTANCES, (("SOPInstanceUID", own.instance),))
        try:
            # Compared here as well: servers exist that ignore what they do not know.
            return any(
                paging.uid(row, SOP_INSTANCE_UID) == own.instance
                for row in Pages(self._context, query)
            )
        except Interrupted:
            raise
        except DcmwebError:
            return False

    def _outcome(
        self, instance: LocalInstance, status: Status, reason: str = "", place: str = ""
    ) -> Outcome:
        resource = instance.identity.resource
        return Outcome(
            status,
            instance.path,
            instance.size,
            reason,
            place,
            instance.mtime_ns,
            resource.study,
            resource.series,
            resource.instance,
            self._attempts.pop(instance.path, 0),
        )

    def _stored(self, instance: LocalInstance, stored: Stored) -> Outcome:
        notes = []
        if stored.warning is not None:
            notes.append(failure_reasons.warning(stored.warning, stored.detail))
        if instance.identity.bare:
            notes.append("a bare data set, without preamble and file meta information")
        place = stored.retrieve_url or self._url(instance.identity.resource)
        return self._outcome(instance, Status.STORED, "; ".join(notes), place)

    def _url(self, resource: Resource) -> str:
        return self._context.session.url(str(resource))


class Planner:
    """Stands in for a sender in a dry run: it says what would be sent, and sends nothing."""

    def __init__(self, context: RunContext) -> None:
        self.batch_bytes = context.settings.batch_bytes
        self.batch_count = context.settings.batch_count

    @staticmethod
    def deliver(batch: Batch) -> Iterator[Outcome]:
        """Yield what would become of instances."""
        for instance in batch:
            found = instance.identity.resource
            yield Outcome(
                Status.PLANNED,
                instance.path,
                instance.size,
                mtime_ns=instance.mtime_ns,
                study=found.study,
                series=found.series,
                instance=found.instance,
            )


def _names(batch: Batch) -> dict[str, tuple[str, ...]]:
    """By which UIDs each instance may be called; none by which another may be as well.

    The UID in the file meta information can differ from that of the data set, and some servers go
    by it. But another instance may really have it.
    """
    calls = Counter(name for instance in batch for name in instance.identity.names)
    names = {}
    for instance in batch:
        own = instance.identity.resource.instance
        others = (name for name in instance.identity.names if name != own and calls[name] == 1)
        names[own] = (own, *others)
    return names


def _status(error: DcmwebError) -> int:
    return error.status if isinstance(error, Refused) else 0


def _is_about_content(error: DcmwebError) -> bool:
    """Tell whether an error may be about what was sent, rather than about where to."""
    if isinstance(error, Refused):
        return error.status not in _HOPELESS
    return error.retryable and not error.fatal


def _halves(batch: Batch) -> list[Batch]:
    middle = len(batch) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]
