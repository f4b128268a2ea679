"""`--on tls://HOST:PORT`, `tcp://HOST:PORT` or a scheduler file: a Dask cluster.

Each unit is bound to one worker. Left to itself, Dask runs what a worker took with it anew on
another one, several times and without a word; but how often a unit was tried decides what an
answer of the server means, and whether the unit is what ends workers. So a unit whose worker is
gone counts as lost here, and is handed out again by whoever submitted it.

The result of a task stays on its worker until it is asked for, and dies with it. It is taken at
once; where that fails, the unit is lost.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Any

_IS_ALONE = "distributed" not in sys.modules  # nobody else in this process wants its logs

import distributed  # noqa: E402

from dcmweb import __version__  # noqa: E402
from dcmweb.errors import DcmwebError, LocalError, Unreachable, UsageError  # noqa: E402
from dcmweb.executors.base import (  # noqa: E402
    Check,
    Checked,
    ExecutorGone,
    Sealed,
    WorkerLost,
)
from dcmweb.executors.pinned import Elsewhere, run_in  # noqa: E402

log = logging.getLogger(__name__)

CONNECTING = 10.0  # seconds for a scheduler to answer at the start
LOOKS_EVERY = 0.5  # seconds between looks at the workers
SILENCE = 30.0  # seconds after which a scheduler that does not answer is gone
NO_WORKERS = 60.0  # seconds to wait while a cluster has no workers
TAKING = 30.0  # seconds to take a result from a worker
CLOSING = 3.0  # seconds


@dataclass(eq=False)
class _Worker:
    """A worker that has checked itself."""

    address: str
    name: str
    threads: int
    process: str
    is_running: bool = True  # rather than paused, or about to leave
    units: list[_Unit] = field(default_factory=list)  # in the order in which they were handed out


@dataclass(eq=False)
class _Unit:
    mine: Future[Any]
    worker: _Worker
    task: Any = None  # the future of Dask


class DaskExecutor:
    """The workers of a Dask cluster, each of which is used once it has checked itself."""

    queue = 1
    most_slots = 128

    def __init__(self, where: str) -> None:
        self.is_private = where.lower().startswith("tls:")
        self._where = where
        self._client = _connect(where)
        self.is_private = self._client.scheduler.address.startswith("tls:")
        self._changed = Condition()
        self._workers: dict[str, _Worker] = {}
        self._asked: set[str] = set()  # addresses that are checking themselves, or left out
        self._gone: ExecutorGone | None = None
        self._is_stopped = False
        self._over = Event()
        self._check: Callable[[str], None] | None = None
        self._takers = ThreadPoolExecutor(4, thread_name_prefix="dcmweb taker")
        Thread(target=self._watch, name="dcmweb cluster", daemon=True).start()

    @property
    def slots(self) -> int:
        """The threads of all workers."""
        return sum(worker.threads for worker in list(self._workers.values()) if worker.is_running)

    # Workers.

    def check_workers(
        self, check: Check, order: Sealed, notify: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have each worker check itself; those that join later do so as they come."""
        deadline = time.monotonic() + NO_WORKERS
        try:
            while not (found := self._listed()):
                if time.monotonic() > deadline:
                    raise Unreachable(f"the cluster at {self._where} has no workers")
                time.sleep(LOOKS_EVERY)
            self._asked.update(found)
            for checked in self._admit(check, order, found):
                checked.raise_error()
        except ExecutorGone as error:
            raise Unreachable(str(error), retryable=False) from None

        def later(address: str) -> None:
            try:
                for checked in self._admit(check, order, {address: self._listed()[address]}):
                    checked.raise_error()
            except DcmwebError as error:
                notify(f"Please note: not used: {error}")
            except (KeyError, ExecutorGone):
                self._asked.discard(address)

        self._check = later

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        """Ask the scheduler for its workers. Raises ExecutorGone if it does not answer."""
        client = self._client
        if client.status != "running":
            raise ExecutorGone(f"the scheduler at {self._where} is gone")
        try:
            found = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=SILENCE)
        except Exception as error:
            words = str(error) or type(error).__name__
            raise ExecutorGone(
                f"the scheduler at {self._where} does not answer: {words}"
            ) from error
        return dict(found["workers"])

    def _admit(
        self, check: Check, order: Sealed, found: Mapping[str, Mapping[str, Any]]
    ) -> list[Checked]:
        """Have workers check themselves; use those that can work, and return what they said."""
        said = self._run(check, order, workers=list(found))
        answers = []
        for address, answer in said.items():
            one = found[address]
            name = str(one.get("name") or address)
            name = address if name == address else f"{name} at {address}"
            if isinstance(answer, OSError):
                self._asked.discard(address)  # it is gone, or will be asked again
                continue
            checked = answer if isinstance(answer, Checked) else self._of_another(address, answer)
            answers.append(Checked(worker=name, process=checked.process, error=checked.error))
            if checked.error is None:
                with self._changed:
                    worker = _Worker(address, name, int(one["nthreads"]), checked.process)
                    self._workers[address] = worker
                    self._changed.notify_all()
        return answers

    def _run(self, function: Callable[..., Any], *args: Any, workers: list[str]) -> dict[str, Any]:
        try:
            return dict(self._client.run(function, *args, workers=workers, on_error="return"))
        except Exception as error:
            raise ExecutorGone(f"the workers at {self._where} cannot be asked: {error}") from error

    def _of_another(self, address: str, error: object) -> Checked:
        """Say what is wrong with a worker that does not know the check."""
        from importlib.metadata import version

        found = self._run(version, "dcmweb", workers=[address]).get(address)
        has = f"has dcmweb {found}" if isinstance(found, str) else "has no dcmweb"
        if found == __version__:
            has = f"has another dcmweb: {error}"
        hint = f"install dcmweb {__version__} there"
        return Checked(worker=address, process="", error=UsageError(has, hint))

    def _watch(self) -> None:
        """Notice which workers come and go, and that the scheduler is gone."""
        while not self._over.wait(LOOKS_EVERY):
            if self._check is None:
                continue
            try:
                self._look(self._listed(), self._check)
            except ExecutorGone as gone:
                self._end_all(gone)
                return

    def _look(self, found: Mapping[str, Mapping[str, Any]], check: Callable[[str], None]) -> None:
        with self._changed:
            for address, worker in list(self._workers.items()):
                if address not in found:
                    self._forget(worker)
                else:
                    worker.is_running = found[address].get("status", "running") == "running"
            self._asked &= set(found)
            new = set(found) - self._asked
            self._asked |= new
            self._changed.notify_all()
        for address in new:
            Thread(target=check, args=(address,), name="dcmweb check", daemon=True).start()

    def _forget(self, worker: _Worker) -> None:
        """Give a worker up; what it had is lost."""
        self._workers.pop(worker.address, None)
        self._asked.discard(worker.address)
        for number, unit in enumerate(list(worker.units)):
            lost = WorkerLost(worker.name, was_running=number < worker.threads)
            self._settle(unit, error=lost)

    def _end_all(self, gone: ExecutorGone) -> None:
        with self._changed:
            self._gone = gone
            for worker in self._workers.values():
                for unit in list(worker.units):
                    self._settle(unit, error=gone)
            self._changed.notify_all()

    # Units.

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function on the worker with the fewest units for each of its threads."""
        mine: Future[Any] = Future()
        with self._changed:
            worker = self._next_worker()
            if worker is None:
                if self._is_stopped:
                    mine.cancel()
                    mine.set_running_or_notify_cancel()
                else:
                    mine.set_exception(self._gone or ExecutorGone("no workers are left"))
                return mine
            unit = _Unit(mine, worker)
            worker.units.append(unit)
        try:
            unit.task = self._client.submit(
                run_in,
                worker.process,
                function,
                *args,
                pure=False,
                workers=[worker.address],
                allow_other_workers=False,
            )
            unit.task.add_done_callback(lambda _: self._takers.submit(self._take, unit))
        except Exception as error:
            self._settle(unit, error=ExecutorGone(f"the scheduler takes no tasks: {error}"))
        return mine

    def _next_worker(self) -> _Worker | None:
        """Wait for a worker; None if there is none for long, or no unit is wanted any more."""
        deadline = time.monotonic() + NO_WORKERS
        while not (self._gone or self._is_stopped):
            usable = [worker for worker in self._workers.values() if worker.is_running]
            if usable:
                return min(usable, key=lambda one: len(one.units) / one.threads)
            left = deadline - time.monotonic()
            if left <= 0:
                self._gone = ExecutorGone(f"the cluster at {self._where} has no workers any more")
                break
            self._changed.wait(min(left, LOOKS_EVERY))
        return None

    def _take(self, unit: _Unit) -> None:
        """Take the result of a task at once, since it dies with its worker."""
        task, name = unit.task, unit.worker.name
        if unit.mine.done() or task.status in ("cancelled", "lost", "pending"):
            return  # by the watch, or it will be
        try:
            value = task.result(timeout=TAKING)
        except (CancelledError, distributed.TimeoutError, OSError, distributed.KilledWorker):
            self._settle(unit, error=WorkerLost(name))
        except Exception as error:
            words = f"worker {name}: {type(error).__name__}: {error}"
            self._settle(unit, error=RuntimeError(words))
        else:
            if isinstance(value, Elsewhere):  # another process took the address of the worker
                with self._changed:
                    self._forget(unit.worker)
            else:
                self._settle(unit, value=value)

    def _settle(
        self, unit: _Unit, *, value: object = None, error: BaseException | None = None
    ) -> None:
        """Settle the future of a unit, once, and let go of its task."""
        with self._changed:
            if unit in unit.worker.units:
                unit.worker.units.remove(unit)
            with suppress(InvalidStateError):
                if error is None:
                    unit.mine.set_result(value)
                else:
                    unit.mine.set_exception(error)
            self._changed.notify_all()
        if unit.task is not None and self._gone is None:
            with suppress(Exception):
                if error is not None:
                    unit.task.cancel()
                unit.task.release()

    def stop(self) -> None:
        """Cancel the tasks that wait; those that run are left to be heard of."""
        with self._changed:
            self._is_stopped = True
            waiting = [unit for one in self._workers.values() for unit in one.units[one.threads :]]
            self._changed.notify_all()
        for unit in waiting:
            self._settle(unit, error=WorkerLost(unit.worker.name, was_running=False))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the cluster, which goes on without us."""
        self._over.set()
        closer = Thread(target=self._close, args=(cancel_futures,), daemon=True)
        closer.start()
        if wait:
            closer.join(CLOSING)
        self._takers.shutdown(wait=False, cancel_futures=True)

    def _close(self, cancels: bool) -> None:
        with suppress(Exception):
            if cancels and self._gone is None:
                units = [unit for one in self._workers.values() for unit in one.units]
                self._client.cancel([unit.task for unit in units if unit.task is not None])
            self._client.close(timeout=CLOSING)


class _Client(distributed.Client):  # type: ignore[misc]
    """A client that is closed by us alone: Dask's own end of a broken one takes 20 seconds."""

    def __del__(self) -> None:
        """Do nothing."""


def _connect(where: str) -> distributed.Client:
    """Connect to a scheduler. Raises UsageError or Unreachable."""
    if _IS_ALONE:
        _silence_logs()
    address = where if "://" in where else _address_in(where)
    if address.startswith("tls:") and not distributed.Security().tls_ca_file:
        raise UsageError(
            f"--on {where}: there are no certificates for TLS",
            "name them in Dask's configuration, such as DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        )
    try:
        return _Client(address, timeout=CONNECTING, set_as_default=False, name="dcmweb")
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"--on {where}: {error}", "check Dask's configuration: distributed.comm"
        ) from error
    except (OSError, distributed.TimeoutError) as error:
        cause = error.__cause__ or error
        words = str(cause).partition("\n")[0] or type(cause).__name__
        raise Unreachable(
            f"the scheduler at {where} cannot be reached: {words}", retryable=False
        ) from error


def _address_in(file: str) -> str:
    """Read the address in the file that a scheduler wrote."""
    try:
        with open(file, encoding="utf-8") as opened:
            return str(json.load(opened)["address"])
    except OSError as error:
        words = f"the scheduler file {file} cannot be read: {error.strerror}"
        raise LocalError(words, path=file) from error
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{file} is not a scheduler file", "name the one of dask scheduler"
        ) from None


def _silence_logs() -> None:
    """Keep what Dask logs from stderr: it is said there in our words."""
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
