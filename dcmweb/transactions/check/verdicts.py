"""The outcomes of a comparison: what is equal, missing, extra or different, and why."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from dcmweb.dicom.content_digest import Agreement
from dcmweb.dicom.resources import Resource
from dcmweb.transactions.check.contents import DATA_SET, DIFFERENT, FAILED
from dcmweb.transactions.check.inventory import Group, Inventory, Side, Study
from dcmweb.transactions.check.options import CheckOptions
from dcmweb.transactions.context import RunContext
from dcmweb.transfer.outcomes import Outcome, Status

_BOTH, _HERE, _THERE = "b", "h", "t"
_MISSING = "the server does not list it"
_BY_COUNT = "as many instances on both sides; UIDs were not compared"
_MOVED = f"{DIFFERENT}the other side has it in series {{}}"


class Report:
    """Makes outcomes of what the inventory knows.

    `where` says where the reference has its instances, as in "not among the files".
    """

    def __init__(self, inventory: Inventory, options: CheckOptions, where: str) -> None:
        self._inventory = inventory
        self._options = options
        self._where = where
        self._lock = Lock()
        self._by_count = 0  # studies that are equal by their counts
        self.in_doubt: set[Side] = set()  # of which something could not be read, or has no UID
        self._by_data_set = 0  # instances that are equal but for their file meta information

    def by_count(self, study: Study) -> Outcome:
        """Make the outcome of a study of which both sides count as many instances."""
        self._by_count += 1
        equal = _outcome(study.resource, Status.EQUAL, study.here or 0)
        return equal._replace(reason=_BY_COUNT)

    def lone(self, study: Study) -> Outcome:
        """Make the outcome of a study that one side alone lists."""
        count = study.here if study.there is None else study.there
        state = _HERE if study.there is None else _THERE
        return self._outcome(study.resource, state, max(0, count or 0))

    def failed(self, study: Study, reason: str) -> Outcome:
        """Make the outcome of a study that cannot be compared."""
        count = max(0, study.here or 0, study.there or 0)
        return _outcome(study.resource, Status.FAILED, count)._replace(reason=reason)

    def nothing_to_compare(self, study: Study) -> Outcome:
        """Make the outcome of a study that was named, and is not in the reference."""
        return self.failed(study, f"it is not {self._where}, so there is nothing to look for")

    def match_moved(self, study: Study) -> None:
        """Find instances that the two sides have in different series."""
        has_both = all(self._inventory.count(study, where) for where in (_HERE, _THERE))
        if has_both:
            self._inventory.match_moved(study, _MOVED)

    def outcomes(self, study: Study, problem: str) -> Iterator[Outcome]:
        """Yield the outcomes of a study whose instances are known.

        If there is a problem with what a server lists, nothing that is only listed elsewhere is
        said to be equal: the study as a whole fails.
        """
        if problem and not (self._options.one_way and not self._any_missing(study)):
            yield self.failed(study, problem)
            return
        for resource, group in self._groups(study):
            outcome = self._outcome(resource, group.state, group.count)
            if self._options.one_way and outcome.status is Status.EXTRA:
                continue
            if resource.instance:
                path = self._inventory.path(study, resource.series, resource.instance)
                outcome = outcome._replace(place=path)
            yield outcome

    def _any_missing(self, study: Study) -> bool:
        return self._inventory.count(study, _HERE) > 0

    def _groups(self, study: Study) -> Iterator[tuple[Resource, Group]]:
        """Yield the largest resources whose instances all have the same."""
        is_whole = not self._options.each
        state, count = self._inventory.state(study)
        if state and is_whole:
            yield study.resource, Group("", "", state, count)
            return
        for series in self._inventory.series(study):
            if series.state and is_whole:
                yield Resource(study.uid, series.series), series
                continue
            for one in self._inventory.instances(study, series.series):
                yield Resource(study.uid, one.series, one.instance), one

    def _outcome(self, resource: Resource, state: str, count: int) -> Outcome:
        """Make an outcome of where something is, and of the verdict on its contents."""
        where, verdict, reason = state[:1], state[1:2], state[2:]
        if where in (_HERE, _THERE):
            return self._lone_outcome(resource, where, count)
        if verdict in (FAILED, DIFFERENT):
            status = Status.FAILED if verdict == FAILED else Status.DIFFERENT
            return _outcome(resource, status, count)._replace(reason=reason)
        if verdict == DATA_SET:
            with self._lock:
                self._by_data_set += count
            reason = Agreement.DATA_SET.value
        return _outcome(resource, Status.EQUAL, count)._replace(reason=reason)

    def _lone_outcome(self, resource: Resource, where: str, count: int) -> Outcome:
        """Make the outcome of what one side alone has.

        It is unknown if the other side may have it, in what could not be read or identified: it
        must not be deleted or copied by mistake.
        """
        if where == _HERE:
            status, reason, other = Status.MISSING, _MISSING, Side.THERE
        else:
            status, reason, other = Status.EXTRA, f"it is not {self._where}", Side.HERE
        if other in self.in_doubt:
            status, reason = Status.UNKNOWN, f"{reason}, but not all could be read there"
        return _outcome(resource, status, count)._replace(reason=reason)

    def notify(self, context: RunContext) -> None:
        """Say what the outcomes rest on, at the end of the run."""
        if self._by_count:
            context.notify(
                f"Studies that are equal by the number of their instances: {self._by_count:,}; "
                "--thorough compares every UID"
            )
        if self._by_data_set:
            context.notify(
                f"Instances of which the {Agreement.DATA_SET.value}: {self._by_data_set:,}"
            )


def _outcome(resource: Resource, status: Status, count: int) -> Outcome:
    return Outcome.of(resource, status)._replace(instances=count)
