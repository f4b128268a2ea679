"""What is known of the instances of a batch until there is an outcome of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.http.session import Session
from dcmweb.transactions.store import failure_reasons
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.response_module import Stored
from dcmweb.transfer.outcomes import Outcome, Status


class Ledger:
    """Counts the requests that instances were in, and which of these were never answered."""

    def __init__(self, batch: Batch, session: Session) -> None:
        self._session = session
        self._waiting = {instance.path: instance for instance in batch}
        self._requests: Counter[str] = Counter()
        self._unanswered: set[str] = set()  # may have been stored, though no answer says so

    def begin(self, batch: Batch) -> None:
        """Note that a request with these instances is sent."""
        paths = [instance.path for instance in batch]
        self._requests.update(paths)
        self._unanswered.update(paths)

    def unanswered(self, batch: Batch) -> set[str]:
        """Return the paths of those that may have been stored, though no answer says so."""
        return self._unanswered.intersection(instance.path for instance in batch)

    def note_answered(self, batch: Batch, *, but: set[str]) -> None:
        """Note that there is an answer for instances; some of them were open before already."""
        self._unanswered.difference_update({instance.path for instance in batch} - but)

    def settle(self, instance: LocalInstance) -> None:
        """Note that the outcome of an instance is known from elsewhere."""
        self._waiting.pop(instance.path, None)

    def outcome(self, instance: LocalInstance, status: Status, reason: str = "") -> Outcome:
        """Make the outcome of an instance."""
        return self._outcome(instance, status, reason)

    def found(self, instance: LocalInstance, words: str) -> Outcome:
        """Say that a search finds an instance."""
        place = self._session.url(str(instance.identity.resource))
        reason = f"{words}, but a search finds it"
        return self._outcome(instance, Status.STORED, reason, place)

    def stored(self, instance: LocalInstance, said: Stored) -> Outcome:
        """Say that an instance was stored, as which, and what else there is to know."""
        notes = []
        resource = instance.identity.resource
        if said.sop_instance not in instance.identity.names:
            notes.append(f"the server stores it as {said.sop_instance}")
            resource = said.resource
        if said.warning is not None:
            notes.append(failure_reasons.warning(said.warning, said.detail))
        if instance.identity.bare:
            notes.append("a bare data set, without preamble and file meta information")
        place = said.retrieve_url
        if not place and resource.study:
            place = self._session.url(str(resource))
        return self._outcome(instance, Status.STORED, "; ".join(notes), place, resource)

    def accounting_for_all(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Yield outcomes; if something ends them, also those of the instances that are left."""
        try:
            yield from outcomes
        except Interrupted:
            yield from self.left_by_a_stop()
            raise
        except DcmwebError as error:
            yield from self.left(error.message)
            raise
        except Exception:
            yield from self.left("a defect of dcmweb ended the run")
            raise

    def left_by_a_stop(self) -> Iterator[Outcome]:
        """Yield the outcomes of the others when the run is interrupted."""
        for instance in list(self._waiting.values()):
            if self._requests[instance.path]:
                words = "interrupted before the server answered"
                yield self._left_over(instance, Status.UNKNOWN, words)
            else:
                yield self._left_over(instance, Status.FAILED, "interrupted before it was sent")

    def left(self, words: str) -> Iterator[Outcome]:
        """Yield the outcomes of the others when the run stops."""
        for instance in list(self._waiting.values()):
            if instance.path in self._unanswered:
                reason = f"it was sent, and no answer came: {words}"
                yield self._left_over(instance, Status.UNKNOWN, reason)
            elif self._requests[instance.path]:
                yield self._left_over(instance, Status.FAILED, words)
            else:
                yield self._left_over(instance, Status.FAILED, f"not sent: {words}")

    def _left_over(self, instance: LocalInstance, status: Status, reason: str) -> Outcome:
        return self._outcome(instance, status, reason)._replace(is_left_over=True)

    def _outcome(
        self,
        instance: LocalInstance,
        status: Status,
        reason: str,
        place: str = "",
        resource: Resource | None = None,
    ) -> Outcome:
        self._waiting.pop(instance.path, None)
        resource = resource or instance.identity.resource
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
            self._requests[instance.path],
        )
