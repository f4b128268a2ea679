"""What the destination has already, so that it is not retrieved again."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from dcmweb.dicom.resources import Resource
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.inquiry import FEW, Inquiry
from dcmweb.transactions.store.listed_series import ListedSeries
from dcmweb.transactions.store.presence import Presence

MOST_VAIN = 3  # searches in a row without an answer, before none is made any more
MOST_REMEMBERED = 10_000  # studies and series that were asked for


class Holdings:
    """Asks the destination: for a study first, and for instances of those that it has.

    What it cannot be asked for is taken as missing: it is sent, and the answer decides.
    """

    def __init__(self, there: RunContext) -> None:
        self._inquiry = Inquiry(there)
        self._listed = ListedSeries(self._inquiry)
        self._known: dict[Resource, bool] = {}
        self._asked: Counter[Resource] = Counter()  # instances of a series
        self._vain = 0
        self._lock = Lock()

    def any_below(self, resource: Resource) -> bool:
        """Return True if the destination has some of a study or series."""
        known = self._known.get(resource)
        if known is None and self._can_ask:
            known = self._is_there(self._inquiry.any_below(resource))
            with self._lock:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.clear()
                self._known[resource] = known
        return known or False

    def has(self, instance: Resource) -> bool:
        """Return True if it has an instance: asked for by itself, or in a list of its series."""
        if not self.any_below(Resource(instance.study)):
            return False
        series = Resource(instance.study, instance.series)
        listed = self._listed.known(series)
        if listed is None and self._can_ask and self._is_asked_often(series):
            listed = self._listed.of(series)
        if listed is not None:
            return instance.instance in listed
        return self._can_ask and self._is_there(self._inquiry.instance(instance))

    @property
    def _can_ask(self) -> bool:
        return self._vain < MOST_VAIN

    def _is_there(self, presence: Presence) -> bool:
        self._vain = self._vain + 1 if presence is Presence.UNCLEAR else 0
        return presence is Presence.THERE

    def _is_asked_often(self, series: Resource) -> bool:
        with self._lock:
            if len(self._asked) >= MOST_REMEMBERED:
                self._asked.clear()
            self._asked[series] += 1
            return self._asked[series] > FEW
