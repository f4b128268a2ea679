"""A worker process of `--on local`: it gets functions on stdin, and writes results to stdout.

Once stdin ends, as when the process that began it is killed, it ends too.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from dcmweb.executors.cancelling import end_all

SIZE = struct.Struct(">Q")
READY = "ready"  # the first message of a process
GRACE = 3.0  # seconds for a unit to end after nobody wants its result any more


def write_message(stream: BinaryIO, message: object) -> None:
    """Write a value to the other process. Raises OSError if it ended."""
    data = pickle.dumps(message)
    stream.write(SIZE.pack(len(data)) + data)
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """Read a value. Raises EOFError if the other process ended."""
    head = stream.read(SIZE.size)
    if len(head) < SIZE.size:
        raise EOFError
    (size,) = SIZE.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from the process that began this one


def main() -> None:
    """Do what is asked for until there is nobody who asks."""
    for name in ("SIGINT", "SIGBREAK"):  # of the terminal: the process that began it decides
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    stdin = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing but results goes there
    for module in sys.argv[1:]:  # what units need, before there is one
        import_module(module)
    write_message(stdout, READY)
    orders: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_read, args=(stdin, orders), daemon=True).start()
    while (order := orders.get()) is not None:
        function, args = order
        try:
            answer = (True, function(*args))
        except BaseException as error:
            answer = (False, f"{type(error).__name__}: {error}")
        try:
            write_message(stdout, answer)
        except OSError:
            break
    os._exit(0)


def _read(stdin: BinaryIO, orders: SimpleQueue[Any]) -> None:
    """Take orders; a message of None ends the units that run."""
    with suppress(EOFError, OSError):
        while True:
            message = read_message(stdin)
            if message is None:
                end_all()
            else:
                orders.put(message)
    orders.put(None)
    end_all()
    _exit_later()


def _exit_later() -> None:
    """End the process, whatever it does, once its units had time to remove what is half done."""
    from time import sleep

    sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
