"""`--on local`: worker processes of this machine, each of which does one unit at a time.

Python's ProcessPoolExecutor is given up as a whole when one of its processes is killed, and does
not say which unit that process had.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any, BinaryIO, cast

import dcmweb
from dcmweb.errors import LocalError
from dcmweb.executors.base import Check, Checked, ExecutorGone, Sealed, WorkerLost
from dcmweb.executors.local_process import READY, read_message, write_message

IS_WINDOWS = os.name == "nt"
_MODULE = "dcmweb.executors.local_process"
_TIME_TO_END = 5.0  # seconds after their stdin ended
_TIMES_TO_CHECK = 5
_MOST_DEAD_AT_ONCE = 20  # processes in a row that end before they had begun
_NONE_LIVES = "worker processes end as soon as they begin"


class _Process:
    """A worker process, and the pipes to it."""

    def __init__(self, preloaded: Sequence[str]) -> None:
        package = Path(dcmweb.__file__).parents[1]
        paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Ctrl-C in a terminal goes to all processes of a group: this one alone decides.
        own_group: dict[str, Any] = {"start_new_session": True}
        if IS_WINDOWS:
            own_group = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", _MODULE, *preloaded],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **own_group,
        )
        self.name = f"process {self._process.pid}"
        self._lock = Lock()

    def tell(self, message: object) -> None:
        """Write a message. Raises OSError if the process ended."""
        with self._lock:
            write_message(cast("BinaryIO", self._process.stdin), message)

    def answer(self) -> tuple[bool, Any]:
        """Read the answer to an order. Raises EOFError if the process ended."""
        return cast("tuple[bool, Any]", read_message(cast("BinaryIO", self._process.stdout)))

    def is_ready(self) -> bool:
        """Wait until the process has begun; return False if it ended before."""
        try:
            return bool(read_message(cast("BinaryIO", self._process.stdout)) == READY)
        except (EOFError, OSError):
            return False

    def end(self) -> None:
        """Let the process end: it does once its stdin ended."""
        with suppress(OSError), self._lock:
            cast("BinaryIO", self._process.stdin).close()

    def wait(self) -> None:
        """Wait for the end, and bring it about if it does not come."""
        try:
            self._process.wait(_TIME_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        cast("BinaryIO", self._process.stdout).close()


class LocalExecutor:
    """So many worker processes, each replaced by a new one when it ends."""

    is_private = True  # pipes
    queue = 1

    def __init__(self, processes: int, preloaded: Sequence[str] = ()) -> None:
        self._preloaded = preloaded
        self.slots = self.most_slots = processes
        self._orders: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._changed = Condition()
        self._processes: set[_Process] = set()
        self._is_ending = self._is_stopped = False
        self._dead_at_once = 0
        self._threads = [
            Thread(target=self._serve, name="dcmweb process", daemon=True) for _ in range(processes)
        ]
        for thread in self._threads:
            thread.start()

    def check_workers(
        self, check: Check, order: Sealed, _notify: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have one process check: all are of the same program on the same machine."""
        for _ in range(_TIMES_TO_CHECK):
            try:
                said: Checked = self.submit(check, order).result()
            except (WorkerLost, ExecutorGone):
                continue
            said.raise_error()
            return
        raise LocalError(f"--on local: {_NONE_LIVES}", fatal=True)

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function in the next process that is free."""
        future: Future[Any] = Future()
        with self._changed:
            if self._is_ending or self._is_stopped:
                future.cancel()
                future.set_running_or_notify_cancel()
            elif self._dead_at_once >= _MOST_DEAD_AT_ONCE:
                raise ExecutorGone(_NONE_LIVES)
            else:
                self._orders.append((future, function, args))
                self._changed.notify()
        return future

    def _serve(self) -> None:
        """Hand orders to one process, one after another."""
        process: _Process | None = None
        while order := self._next():
            future, function, args = order
            if not future.set_running_or_notify_cancel():
                continue
            try:
                process = process or self._begin()
                if process is None:
                    future.set_exception(ExecutorGone(_NONE_LIVES))
                    continue
                process.tell((function, args))
                fine, value = process.answer()
            except (OSError, EOFError) as error:
                name = process.name if process else f"a new process ({error})"
                self._forget(process)
                process = None
                future.set_exception(WorkerLost(name))
                continue
            if fine:
                future.set_result(value)
            else:
                future.set_exception(RuntimeError(value))
        self._forget(process)

    def _next(self) -> tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None:
        with self._changed:
            while not self._orders and not self._is_ending:
                self._changed.wait()
            return self._orders.popleft() if self._orders else None

    def _begin(self) -> _Process | None:
        """Start a process; None if too many have ended before they had begun."""
        while self._dead_at_once < _MOST_DEAD_AT_ONCE:
            process = _Process(self._preloaded)
            with self._changed:
                self._processes.add(process)
            if process.is_ready():
                self._dead_at_once = 0
                return process
            self._dead_at_once += 1
            self._forget(process)
        return None

    def _forget(self, process: _Process | None) -> None:
        if process is not None:
            process.end()
            process.wait()
            with self._changed:
                self._processes.discard(process)

    def stop(self) -> None:
        """Have running units end, and drop those that wait."""
        with self._changed:
            self._is_stopped = True
            waiting, self._orders = list(self._orders), deque()
            running = list(self._processes)
        for future, *_ in waiting:
            future.cancel()
            future.set_running_or_notify_cancel()
        for process in running:
            with suppress(OSError):
                process.tell(None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: at once those that are idle, the others after their unit."""
        if cancel_futures:
            self.stop()
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
            running = list(self._processes)
        for process in running if cancel_futures else ():
            process.end()
        for thread in self._threads if wait else ():
            thread.join()
