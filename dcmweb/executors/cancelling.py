"""Ends a running unit early, where its executor can say that it is not wanted any more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Any

LOOKS_EVERY = 0.5  # seconds

_lock = Lock()
_running: set[Callable[[], object]] = set()  # what ends the units of this process
_is_stopped = False


@contextmanager
def ending_early(end: Callable[[], object]) -> Iterator[None]:
    """Call `end` if the unit is not wanted any more, while a block does it."""
    with _lock:
        _running.add(end)
        late = _is_stopped
    if late:
        end()
    watch = _watch_of_dask(end)
    try:
        yield
    finally:
        watch.set()
        with _lock:
            _running.discard(end)


def end_all() -> None:
    """End all units of this process, and those that begin later."""
    global _is_stopped  # noqa: PLW0603 - a process is stopped once
    with _lock:
        _is_stopped = True
        running = list(_running)
    for end in running:
        end()


def _watch_of_dask(end: Callable[[], object]) -> Event:
    """Begin to watch whether Dask cancelled the task of this thread; return what ends that.

    A worker of Dask marks a running task as cancelled once no client wants its result, as after
    the client ended, but lets it run.
    """
    over = Event()
    worker_module = sys.modules.get("distributed.worker")
    if worker_module is None:
        return over
    try:
        worker: Any = worker_module.get_worker()
        key = worker.get_current_task()
    except (ValueError, AttributeError):
        return over

    def watch() -> None:
        while not over.wait(LOOKS_EVERY):
            task = worker.state.tasks.get(key)
            if task is None or task.state in ("cancelled", "resumed", "released", "forgotten"):
                end()
                return

    Thread(target=watch, name="dcmweb watch", daemon=True).start()
    return over
