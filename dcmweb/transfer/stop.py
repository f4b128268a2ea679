"""A request to stop a run, seen by all its threads."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from dcmweb.errors import Interrupted


class Stop:
    """Set once, because of a signal or a fatal error; never taken back.

    Each run has its own. A `parent` speaks for many: a signal that it is told of stops them all.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._event = Event()
        self._actions: list[Callable[[], None]] = []
        self._top: Stop = parent._top if parent else self
        self._cause: Interrupted | None = None
        self._is_watched = False

    @property
    def cause(self) -> Interrupted | None:
        """The signal that asked for the stop, if one did."""
        return self._top._cause

    @property
    def is_watched(self) -> bool:
        """Whether the main thread looks at `cause` every now and then."""
        return self._top._is_watched

    @is_watched.setter
    def is_watched(self, value: bool) -> None:
        self._top._is_watched = value

    def on_set(self, action: Callable[[], None]) -> None:
        """Register what to do at once, such as cutting connections."""
        self._actions.append(action)

    def request(self, cause: Interrupted) -> None:
        """Ask for a stop from a signal handler, which must not take locks.

        Raises the cause unless the main thread will see it by itself.
        """
        self._top._cause = cause
        if not self.is_watched:
            raise cause

    def set(self) -> None:
        """Ask all threads of the run to stop."""
        if not self._event.is_set():
            self._event.set()
            for action in self._actions:
                action()

    def is_set(self) -> bool:
        """Return True if the run is to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Interrupted when it is time to stop."""
        if self._event.is_set():
            raise self.cause or Interrupted()

    def sleep(self, seconds: float) -> None:
        """Wait; raise Interrupted as soon as it is time to stop."""
        self._event.wait(seconds)
        self.check()
