"""Chooses the executor by what `--on` names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from dcmweb.errors import DcmwebError, UsageError
from dcmweb.executors.base import Executor, adapted
from dcmweb.extras import how_to_install

GROUP = "dcmweb.executors"  # of entry points: each is a function that gets what `--on` names
LOCAL = "local"
_LOCAL = re.compile(r"local(?::([0-9]{1,4}))?")
_DASK = ("tcp", "tls")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
MOST_PROCESSES = 256
_PRELOADED = ("dcmweb.library.worker",)  # in worker processes


def read_on(on: str) -> Callable[[], Executor]:
    """Read what `--on` names; return what opens it. Raises UsageError for what is not known."""
    if found := _LOCAL.fullmatch(on):
        return lambda: _local(_processes(found[1]))
    scheme = _SCHEME.match(on)
    if scheme and scheme[1].lower() in _DASK:
        return lambda: _dask(on)
    if scheme:
        point = _point(scheme[1].lower(), on)
        return lambda: _of_package(point, on)
    if os.path.isfile(on) or on.endswith(".json"):
        return lambda: _dask(on)
    raise UsageError(
        f"--on {on!r} is not a place to run on",
        "give local, local:N, tls://HOST:PORT, tcp://HOST:PORT or the path of a scheduler file",
    )


def _processes(text: str | None) -> int:
    count = int(text) if text else os.cpu_count() or 1
    if not 1 <= count <= MOST_PROCESSES:
        raise UsageError(f"local:{count} is not a number of processes", f"1 to {MOST_PROCESSES}")
    return count


def _local(count: int) -> Executor:
    from dcmweb.executors.local import LocalExecutor

    return LocalExecutor(count, _PRELOADED)


def _dask(address: str) -> Executor:
    try:
        from dcmweb.executors.dask import DaskExecutor
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
            raise
        raise UsageError(
            f"--on {address} needs the package distributed, of Dask",
            f"run: {how_to_install('dask')}",
        ) from None
    return DaskExecutor(address)


def _point(name: str, on: str) -> EntryPoint:
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        others = ", ".join(sorted(installed)) or "none"
        raise UsageError(
            f"--on {on}: there is no executor {name!r}",
            f"dcmweb has local, tcp:// and tls://; installed packages have: {others}",
        )
    return installed[name]


def _of_package(point: EntryPoint, on: str) -> Executor:
    try:
        return adapted(point.load()(on))
    except DcmwebError:
        raise
    except Exception as error:
        owner = point.dist.name if point.dist else point.value.partition(":")[0]
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(f"--on {on}, of the package {owner}, failed: {reason}") from error
