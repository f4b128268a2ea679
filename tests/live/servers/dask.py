"""A Dask cluster of processes on 127.0.0.1, each of which a test can kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.servers.process import NotInstalled
from tests.live.servers.tls import Certificate

START_SECONDS = 120  # on a busy machine


@dataclass
class Cluster:
    """A scheduler and its workers."""

    folder: Path
    environment: dict[str, str]
    protocol: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def add_worker(
        self, *, nanny: bool = False, preload: str = "", waits: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start a worker with one thread; `preload` is a script that it runs first."""
        number = len(self.workers)
        more: list[str] = []
        if preload:
            script = self.folder / f"preload{number}.py"
            script.write_text(preload)
            more = ["--preload", str(script)]
        worker = self._start(
            f"worker{number}",
            *("dask_worker", self.address, "--nthreads", "1", "--host", "127.0.0.1"),
            *("--nanny" if nanny else "--no-nanny", "--no-dashboard", "--name", f"w{number}"),
            *("--local-directory", str(self.folder), "--protocol", self.protocol, *more),
        )
        self.workers.append(worker)
        if waits:
            log = self.folder / f"worker{number}.log"
            _until(lambda: "Registered to:" in log.read_text(), worker)
        return worker

    def _start(self, name: str, module: str, *args: str) -> subprocess.Popen[bytes]:
        return _start(self.folder, self.environment, name, module, *args)


def _start(
    folder: Path, environment: dict[str, str], name: str, module: str, *args: str
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *args],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # killed as a group: nannies have workers of their own
        )


def tls_environment(bundle: Path, certificate: Certificate) -> dict[str, str]:
    """Name the certificates as Dask's configuration does."""
    names = {"CA_FILE": bundle}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        names |= {f"{role}__CERT": certificate.chain, f"{role}__KEY": certificate.key}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in names.items()}


@contextmanager
def running_dask(
    folder: Path, workers: int = 2, *, nanny: bool = False, tls: dict[str, str] | None = None
) -> Iterator[Cluster]:
    """Run a cluster for the time of a block."""
    import importlib.util

    if importlib.util.find_spec("distributed") is None:
        raise NotInstalled("distributed is not installed: pip install 'dcmweb[dask]'")
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **(tls or {})}
    protocol = "tls" if tls else "tcp"
    scheduler = _start(
        folder,
        environment,
        "scheduler",
        *("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        *("--scheduler-file", str(folder / "scheduler.json"), "--protocol", protocol),
    )
    cluster = Cluster(folder, environment, protocol, scheduler)
    try:
        _until(
            lambda: cluster.file.is_file() and b"address" in cluster.file.read_bytes(), scheduler
        )
        for _ in range(workers):
            cluster.add_worker(nanny=nanny, waits=False)
        for number in range(workers):
            log = folder / f"worker{number}.log"
            _until(lambda log=log: "Registered to:" in log.read_text(), cluster.workers[number])
        yield cluster
    finally:
        _kill([*cluster.workers, scheduler])


def _until(condition: object, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "a process of the cluster ended"
        assert time.monotonic() < deadline, "the cluster does not start"
        time.sleep(0.05)


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
