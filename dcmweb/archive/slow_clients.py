"""How long clients keep a thread of the archive waiting, and when that has been too long.

Each connection has an allowance of seconds. Waiting for its client uses it up; bytes that the
client sends or takes renew it. What the archive itself needs for an answer does not count.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cheroot.makefile import StreamReader, StreamWriter


@dataclass(frozen=True)
class Pace:
    """The slowest that clients may be: seconds that they can keep a thread waiting, and a rate."""

    seconds: float
    rate: float  # bytes for a second more


USUAL = Pace(60, 1024)
CROWDED = Pace(10, 16 * 1024)  # if all threads are busy and requests wait


class Progress:
    """The allowance that is left to a connection, by each pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self.renew()

    def renew(self) -> None:
        """Begin anew, as for a new request."""
        self._left = {pace: pace.seconds for pace in (USUAL, CROWDED)}

    def wait_for(self, move: Callable[[], int | None]) -> int | None:
        """Read or write, and count the time that it takes and the bytes that are moved."""
        self._since = started = self._clock()
        moved = None
        try:
            moved = move()
        finally:
            with self._lock:
                self._since = None
                self._count(self._clock() - started, moved or 0)
        return moved

    def _count(self, seconds: float, moved: int) -> None:
        for pace, left in self._left.items():
            self._left[pace] = min(pace.seconds, left - seconds + moved / pace.rate)

    def is_too_slow(self, pace: Pace) -> bool:
        """Return True if a client has been waited for long enough."""
        with self._lock:
            waited = self._clock() - self._since if self._since is not None else 0
            return self._left[pace] < waited


class _WatchedSocket(socket.SocketIO):
    """The bytes of a socket, with the time that they take."""

    def __init__(self, connection: socket.socket, mode: Any, progress: Progress) -> None:
        super().__init__(connection, mode)
        self._progress = progress

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived."""
        return self._progress.wait_for(lambda: super(_WatchedSocket, self).readinto(buffer))

    def write(self, data: Any) -> int | None:
        """Write what the client takes."""
        return self._progress.wait_for(lambda: super(_WatchedSocket, self).write(data))


class WatchedReader(StreamReader):
    """What a client sends."""

    def __init__(self, connection: socket.socket, size: int, progress: Progress) -> None:
        super(StreamReader, self).__init__(_WatchedSocket(connection, "r", progress), size)
        self.bytes_read = 0


class WatchedWriter(StreamWriter):
    """What a client is sent."""

    def __init__(self, connection: socket.socket, size: int, progress: Progress) -> None:
        super(StreamWriter, self).__init__(_WatchedSocket(connection, "w", progress), size)
        self.bytes_written = 0
