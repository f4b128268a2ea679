"""Finds out beside a run how much there is to do, so that its progress can say how much is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Lock, Thread

from dcmweb.errors import DcmwebError
from dcmweb.transfer.stop import Stop

# Yields numbers of items and bytes to be added up, or None where it cannot be known. The stop is
# set when the run is over.
Count = Callable[[Stop], Iterator["tuple[int, int | None] | None"]]

_LONGEST_END = 1.0  # seconds that the end of a run waits for the count to end as well


class Ahead:
    """A count that is made in a thread of its own, once somebody wants to know."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stop = Stop()
        self._is_known = Event()
        self._items = 0
        self._bytes: int | None = 0

    def begin(self) -> None:
        """Begin to count, unless that was done before or the run is over."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = Thread(target=self._add_up, name="dcmweb count", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Stop counting, as the run is over."""
        with self._lock:
            self._stop.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_END)

    @property
    def is_counting(self) -> bool:
        """Whether the count is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def items(self) -> int | None:
        """How many items there are; None while that is not known."""
        return self._items if self._is_known.is_set() else None

    @property
    def bytes(self) -> int | None:
        """How large they are; None while that is not known."""
        return self._bytes if self._is_known.is_set() else None

    def _add_up(self) -> None:
        with suppress(DcmwebError):  # the run itself says what is wrong
            for counted in self._count(self._stop):
                if counted is None or self._stop.is_set():
                    return
                items, size = counted
                self._items += items
                self._bytes = None if self._bytes is None or size is None else self._bytes + size
            self._is_known.set()
