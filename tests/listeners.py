"""Threads that accept connections, and end before their socket is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_LONG = 5.0  # seconds; where a shutdown wakes no thread, it is left behind


def accept_until_closed(
    listener: socket.socket, take: Callable[[socket.socket], object]
) -> Callable[[], None]:
    """Have a thread pass on connections; return what ends it and closes the listener.

    A thread that is left at the call could take connections of the next socket of that number.
    """

    def accept() -> None:
        with suppress(OSError):
            while True:
                take(listener.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()

    def close() -> None:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # a close alone would not wake it
        thread.join(_LONG)
        listener.close()

    return close
