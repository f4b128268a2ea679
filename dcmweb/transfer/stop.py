"""A request to stop the run, seen by all its threads."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from dcmweb.errors import Interrupted


class Stop:
    """Set once, because of a signal or a fatal error; never taken back."""

    def __init__(self) -> None:
        self._event = Event()
        self._actions: list[Callable[[], None]] = []
        self.cause: Interrupted | None = None
        self.is_watched = False  # the main thread looks at `cause` every now and then

    def on_set(self, action: Callable[[], None]) -> None:
        """Register what is to be done at once, such as cutting connections."""
        self._actions.append(action)

    def request(self, cause: Interrupted) -> None:
        """Ask for a stop from a signal handler, which must not take locks.

        Raises the cause unless the main thread will see it by itself.
        """
        self.cause = cause
        if not self.is_watched:
            raise cause

    def set(self) -> None:
        """Ask all threads to stop."""
        if not self._event.is_set():
            self._event.set()
            for action in self._actions:
                action()

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Interrupted when it is time to stop."""
        if self._event.is_set():
            raise self.cause or Interrupted()

    def sleep(self, seconds: float) -> None:
        """Wait; raise Interrupted as soon as it is time to stop."""
        self._event.wait(seconds)
        self.check()
