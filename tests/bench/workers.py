"""The bench of worker processes: how the work is spread, and what is left after kills.

    python -m tests.bench.workers spread [COUNT SIZE]
    python -m tests.bench.workers kills [COUNT SIZE SECONDS]

`spread` stores files into a sink, plain and with `--on local:4`, and prints the CPU time of each
process. With enough processors, a run takes as long as its busiest process: the ratio says how many
times faster four workers are. `kills` stores files over a cluster of Dask with 4 workers of one
thread, kills one of them every SECONDS, and compares what the command says with what came.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.__main__ import DCMWEB, make_corpus
from tests.bench.sink import Sink
from tests.live.servers.dask import running_dask

_TICKS = os.sysconf("SC_CLK_TCK")


class CountingSink(Sink):
    """A sink that knows which instances came, and finds them in searches."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull), 0.0)
        self.came: Counter[str] = Counter()
        self._lock = threading.Lock()

    def drop(self, reader: object, length: int) -> list[str]:
        uids = super().drop(reader, length)
        with self._lock:
            self.came.update(uids)
        return uids

    def talk(self, connection: socket.socket) -> None:
        with suppress(OSError):  # of a worker that was killed
            super().talk(connection)

    def rows(self, level: str, path: str) -> list[dict[str, object]]:
        with self._lock:
            self.files = dict.fromkeys(self.came, Path())
        return super().rows(level, path)


@contextmanager
def counting() -> Iterator[CountingSink]:
    sink = CountingSink()
    threading.Thread(target=sink.serve, daemon=True).start()
    try:
        yield sink
    finally:
        sink.listener.close()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def cpu_of_run(*args: str) -> tuple[float, list[float]]:
    """Run a command; return the CPU seconds of its process and of those that it began."""
    process = subprocess.Popen([*DCMWEB, *args], stderr=subprocess.PIPE)
    own, others = 0.0, dict[int, float]()
    reader = threading.Thread(target=lambda: process.stderr and process.stderr.read())
    reader.start()
    while process.poll() is None:
        with suppress(OSError, IndexError):
            own = max(own, cpu(process.pid))
        for pid in children(process.pid):
            with suppress(OSError, IndexError):
                others[pid] = cpu(pid)
        time.sleep(0.01)
    reader.join()
    if process.returncode:
        raise SystemExit(f"it ended with {process.returncode}")
    return own, sorted(others.values())


def starting(*args: str) -> float:
    """CPU seconds to start, which do not grow with the work."""
    return min(cpu_of_run(*args)[0] for _ in range(3))


def spread(folder: Path, count: int, size: int) -> None:
    corpus, one = make_corpus(folder, count, size), make_corpus(folder, 1, size)
    # A process of its own: its CPU is not that of this bench.
    command = [sys.executable, "-m", "tests.bench.sink", str(corpus), "0"]
    sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = sink.stdout.readline().strip() if sink.stdout else ""
        begin = starting("-q", url, "store", str(one))
        plain, _ = cpu_of_run("-q", url, "store", str(corpus))
        empty, others = cpu_of_run("-q", url, "store", str(one), "--on", "local:4")
        own, workers = cpu_of_run("-q", url, "store", str(corpus), "--on", "local:4")
    finally:
        sink.kill()
    ready = max(others)
    plain, own = plain - begin, own - empty
    busiest = max(own, *(worker - ready for worker in workers))
    each = ", ".join(f"{worker - ready:.2f}" for worker in workers)
    print(f"{count:,} files of {size:,} bytes; CPU seconds beside those to start ({begin:.2f}):")
    print(f"plain {plain:.2f}; --on local:4: this process {own:.2f}, workers {each}")
    print(f"{plain / busiest:.1f} times as fast where there are processors for all")


def kills(folder: Path, count: int, size: int, seconds: float) -> None:
    corpus = make_corpus(folder, count, size)
    files = {path.stem for path in corpus.glob("*.dcm")}
    out = folder / "events"
    with counting() as sink, running_dask(folder / "dask", 4, nanny=True) as cluster:
        command = [*DCMWEB, "-q", sink.url, "store", str(corpus), "--json"]
        command += ["--on", cluster.address, "--manifest", str(folder / "manifest")]
        began, killed = time.monotonic(), 0
        with out.open("w") as events:
            process = subprocess.Popen(command, stdout=events)
        due = time.monotonic() + seconds
        while process.poll() is None:
            time.sleep(0.05)
            if time.monotonic() < due or not sink.came:
                continue
            due = time.monotonic() + seconds
            nannies = [worker for worker in cluster.workers if worker.poll() is None]
            for _ in range(4 - len(nannies)):
                cluster.add_worker(nanny=True, waits=False)
            nanny = random.choice(nannies)
            for pid in children(nanny.pid):
                with suppress(OSError):
                    os.kill(pid, 9)
                    killed += 1
        took = time.monotonic() - began
    said = [json.loads(line) for line in out.read_text().splitlines()]
    named = Counter(event["item"] for event in said if "item" in event)
    kinds = Counter(event["type"] for event in said if "item" in event)
    done = {Path(e["item"]).stem for e in said if e["type"] in ("stored", "exists")}
    print(f"{count:,} files in {took:.0f} s, {killed} workers killed; exit {process.returncode}")
    print(f"named: {len(named):,}, more than once: {sum(n > 1 for n in named.values())}", end="; ")
    print(", ".join(f"{kind} {number:,}" for kind, number in kinds.items()))
    print(f"claimed, but not at the server: {len(done - set(sink.came))}", end="; ")
    print(f"at the server: {len(sink.came):,}, never named: {len(files) - len(named)}", end="; ")
    print(f"sent more than once: {sum(n > 1 for n in sink.came.values()):,}")


def main() -> None:
    what, *numbers = [*sys.argv[1:], "spread"] if len(sys.argv) < 2 else sys.argv[1:]
    if not re.fullmatch("spread|kills", what):
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory(prefix="dcmweb-bench-") as folder:
        if what == "spread":
            spread(Path(folder), *map(int, numbers or ("2000", "530000")))
        else:
            count, size, seconds = numbers or ("20000", "2000", "5")
            kills(Path(folder), int(count), int(size), float(seconds))


if __name__ == "__main__":
    main()
