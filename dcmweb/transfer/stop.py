"""A request to stop a run, which all its threads see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from dcmweb.errors import Interrupted


class Stop:
    """A flag that is set once, by a signal or a fatal error, and never cleared.

    Each run has its own. A signal that reaches the `parent` stops all runs that share it.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self._event = Event()
        self._actions: list[Callable[[], None]] = []
        self._top: Stop = parent._top if parent else self
        self._cause: Interrupted | None = None
        self._is_watched = False
        self._holds = 0
        self._lock = Lock()

    @property
    def cause(self) -> Interrupted | None:
        """The signal that requested the stop, if any."""
        return self._top._cause

    @property
    def is_watched(self) -> bool:
        """Whether the main thread checks `cause` regularly."""
        return self._top._is_watched

    @is_watched.setter
    def is_watched(self, value: bool) -> None:
        self._top._is_watched = value

    def on_set(self, action: Callable[[], None]) -> None:
        """Register an action to run at the stop, such as cutting connections."""
        self._actions.append(action)

    def request(self, cause: Interrupted) -> None:
        """Request a stop from a signal handler, which must not take locks.

        Raises the cause if the main thread does not check for it.
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
        """Return True if a stop was requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Interrupted if a stop was requested."""
        if self._event.is_set():
            raise self.cause or Interrupted()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Ask for time to finish what must not be left half done when the run stops."""
        with self._lock:
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1

    @property
    def is_held(self) -> bool:
        """Whether something is under way that must not be left half done."""
        return self._holds > 0

    def sleep(self, seconds: float) -> None:
        """Wait; raise Interrupted as soon as a stop is requested."""
        self._event.wait(seconds)
        self.check()
