"""The instances of series that a server lists, asked for once: a series comes in many batches."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from dcmweb.dicom.resources import Resource
from dcmweb.transactions.store.inquiry import Inquiry

MOST_REMEMBERED = 100_000  # instances of series that were listed; larger ones are asked about anew


class ListedSeries:
    """Remembers the instances of the series that were listed last."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._listed: OrderedDict[Resource, set[str]] = OrderedDict()
        self._lock = Lock()

    def known(self, series: Resource) -> set[str] | None:
        """Return the UIDs of the instances of a series, if it was listed."""
        with self._lock:
            return self._listed.get(series)

    def of(self, series: Resource) -> set[str] | None:
        """Return them, listed now if need be; None if they are too many, or there is no answer."""
        listed = self.known(series)
        if listed is None:
            listed = self._inquiry.listing(series, MOST_REMEMBERED)
            if listed is not None:
                self._remember(series, listed)
        return listed

    def _remember(self, series: Resource, listed: set[str]) -> None:
        with self._lock:
            self._listed[series] = listed
            while sum(map(len, self._listed.values())) > MOST_REMEMBERED:
                self._listed.popitem(last=False)

    def add(self, instance: Resource) -> None:
        """Add an instance that was stored, if its series was listed."""
        with self._lock:
            listed = self._listed.get(Resource(instance.study, instance.series))
            if listed is not None:
                listed.add(instance.instance)
