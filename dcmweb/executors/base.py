"""What an executor is, and what can happen to the units that it runs.

It is an executor of PEP 3148, `concurrent.futures.Executor`, with a few things more. One of another
package needs `submit` and `shutdown` alone: `adapted` fills in the rest.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from typing import Any, Protocol

from dcmweb.errors import DcmwebError, Unreachable

PROCESS = secrets.token_hex(8)  # of this process: another one at the same address has another


class WorkerLost(Exception):
    """The process that had a unit ended, and nobody knows how far it came.

    `worker` names it; `was_running` is False for a unit that only waited there for its turn.
    """

    def __init__(self, worker: str, *, was_running: bool = True) -> None:
        super().__init__(worker)
        self.worker = worker
        self.was_running = was_running


class ExecutorGone(Exception):
    """The executor does not work any more, as when the scheduler of a cluster ended."""


class Sealed:
    """Bytes that may have secrets in them, and are shown in no log."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"Sealed({len(self.data)} bytes)"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a worker found when it checked whether it can work; `error` is None if it can."""

    worker: str
    process: str = PROCESS
    error: DcmwebError | None = None

    def raise_error(self, worker: str = "") -> None:
        """Raise what is wrong, with the name of the worker."""
        if self.error is not None:
            self.error.message = f"worker {worker or self.worker}: {self.error.message}"
            raise self.error


Check = Callable[[Sealed], Checked]


class Executor(Protocol):
    """Runs functions in other processes. Functions and their arguments can be pickled."""

    @property
    def is_private(self) -> bool:
        """Whether nobody else can read what is sent to the workers, so that secrets may be."""

    @property
    def slots(self) -> int:
        """How many units can run at a time now; 0 while there are no workers."""

    @property
    def most_slots(self) -> int:
        """How many slots there may be in the course of a run."""

    @property
    def queue(self) -> int:
        """How many units may wait for each slot, so that it is never idle."""

    def check_workers(
        self, check: Check, order: Sealed, notify: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have each worker check whether it can work, those that join later as well.

        Raises what is wrong, which names the worker. One that joins later is left out instead,
        and `notify` told.
        """

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function. The future raises WorkerLost or ExecutorGone where it is not known how.

        Waits for a worker while there is none.
        """

    def stop(self) -> None:
        """Have running units end early, if that can be done; do not begin those that wait."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the workers."""


class Adapted:
    """An executor of another package, of which only `submit` and `shutdown` are known."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        most = getattr(executor, "_max_workers", None)
        self._slots = most if isinstance(most, int) and most > 0 else os.cpu_count() or 1

    @property
    def is_private(self) -> bool:
        """Whether the executor says so of itself."""
        return bool(getattr(self._executor, "is_private", False))

    @property
    def slots(self) -> int:
        """What the executor says, or else the number of processors here."""
        found = getattr(self._executor, "slots", self._slots)
        return found if isinstance(found, int) else self._slots

    @property
    def most_slots(self) -> int:
        """As many as there are now."""
        return self.slots

    @property
    def queue(self) -> int:
        """One unit, as nothing is known of how it hands them out."""
        return 1

    def check_workers(
        self, check: Check, order: Sealed, _notify: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have one worker check: which one is the executor's choice."""
        try:
            said: Checked = self._executor.submit(check, order).result()
        except Exception as error:
            raise Unreachable(f"no worker can be asked: {error}", retryable=False) from error
        said.raise_error()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function; whatever ends it but its result, its worker is lost."""
        mine: Future[Any] = Future()
        try:
            other = self._executor.submit(function, *args)
        except Exception as error:
            mine.set_exception(ExecutorGone(str(error)))
            return mine
        mine.set_running_or_notify_cancel()
        other.add_done_callback(lambda done: _pass_on(done, mine))
        return mine

    def stop(self) -> None:
        """Do nothing: units that wait are cancelled at the shutdown."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the workers."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def _pass_on(done: Any, mine: Future[Any]) -> None:
    try:
        result = done.result()
    except BrokenExecutor as error:  # of concurrent.futures: it takes no further units
        mine.set_exception(ExecutorGone(str(error)))
    except BaseException as error:
        mine.set_exception(WorkerLost(str(error) or type(error).__name__))
    else:
        mine.set_result(result)


def adapted(made: Any) -> Executor:
    """Return an executor with all that is needed; one that has it already, as it is."""
    has_all = all(
        hasattr(made, name) for name in ("check_workers", "slots", "most_slots", "queue", "stop")
    )
    return made if has_all else Adapted(made)
