"""The bench: whole processes, side by side in one run, against what users would pick instead.

    python -m tests.bench [ROWS]...

Prints a table: medians of three runs, wall time in seconds and peak memory in MB, and the ratio to
the other tool. dicomweb-client takes part where it is installed, Orthanc as well. ROWS are parts of
names of rows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import orthanc

RUNS = 3
DCMWEB = [sys.executable, "-m", "dcmweb"]
SERIES = "studies/1.2.3/series/1.2.3.4.500000000"
SETTLING = 6.0  # seconds in which ext4 is slow to reuse what was deleted

_STORE = """
import sys, pathlib, pydicom
from dicomweb_client.api import DICOMwebClient
client = DICOMwebClient(url=sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.dcm")):
    client.store_instances([pydicom.dcmread(path)])
"""
_RETRIEVE = """
import sys, pathlib
from dicomweb_client.api import DICOMwebClient
client = DICOMwebClient(url=sys.argv[1])
for dataset in client.iter_study("1.2.3", media_types=(("application/dicom", "*"),)):
    dataset.save_as(pathlib.Path(sys.argv[2]) / f"{dataset.SOPInstanceUID}.dcm")
"""


Commands = dict[str, list[str]]
Work = Callable[[str, Path, Path], Commands]


@dataclass(frozen=True)
class Measured:
    """Wall time in seconds and peak memory in MB of a process."""

    seconds: float
    memory: float


@dataclass(frozen=True)
class Row:
    """A line of the table: the work, on so many files of so many bytes, and how to do it."""

    name: str
    count: int
    size: int
    commands: Work
    latency: float = 0.0
    target: str = ""
    series: int = 1
    into_orthanc: bool = False
    has_destination: bool = False


def curl_store(url: str, corpus: Path) -> list[str]:
    """One POST for each file, four at a time."""
    return curl(
        corpus,
        "store",
        [
            f'url = "{url}/studies"\noutput = "{os.devnull}"\ndata-binary = "@{path}"\n'
            'header = "Content-Type: application/dicom"\nheader = "Expect:"\n'
            for path in sorted(corpus.glob("*.dcm"))
        ],
    )


def curl_retrieve(url: str, corpus: Path, output: Path) -> list[str]:
    """One GET for each instance, four at a time."""
    return curl(
        corpus,
        "retrieve",
        [
            f'url = "{url}/{SERIES}/instances/{path.stem}"\noutput = "{output / path.name}"\n'
            for path in sorted(corpus.glob("*.dcm"))
        ],
    )


def curl(corpus: Path, name: str, requests: list[str]) -> list[str]:
    """Put the requests, of which there can be very many, into a file."""
    config = corpus.parent / f"{corpus.name}-{name}.curl"
    config.write_text("next\n".join(f"silent\n{request}" for request in requests))
    return ["curl", "-Z", "--parallel-max", "4", "-K", str(config)]


def curl_store_series(url: str, corpus: Path) -> list[str]:
    """One POST for each series, four at a time; the bodies are made beforehand."""
    head = b"\r\n--bench\r\nContent-Type: application/dicom\r\n\r\n"
    bodies = []
    files = sorted(corpus.glob("*.dcm"))
    for first in range(0, len(files), 100):
        body = corpus.parent / f"{corpus.name}-{first}.body"
        if not body.exists():
            with body.open("wb") as file:
                for path in files[first : first + 100]:
                    file.write(head)
                    file.write(path.read_bytes())
                file.write(b"\r\n--bench--\r\n")
        bodies.append(body)
    kind = 'multipart/related; type=\\"application/dicom\\"; boundary=bench'
    return curl(
        corpus,
        "series",
        [
            f'url = "{url}/studies"\noutput = "{os.devnull}"\ndata-binary = "@{body}"\n'
            f'header = "Content-Type: {kind}"\nheader = "Expect:"\n'
            for body in bodies
        ],
    )


def storing(*options: str) -> Work:
    """Make the commands that store a corpus."""

    def commands(url: str, corpus: Path, _output: Path) -> Commands:
        return {
            "dcmweb": [*DCMWEB, *options, url, "store", str(corpus)],
            "curl": curl_store(url, corpus),
            "dicomweb-client": [sys.executable, "-c", _STORE, url, str(corpus)],
        }

    return commands


def storing_series(url: str, corpus: Path, _output: Path) -> Commands:
    """Make the commands that store a corpus of several series."""
    return {
        "dcmweb": [*DCMWEB, "-m", url, "store", str(corpus)],
        "curl, series": curl_store_series(url, corpus),
    }


def retrieving(*options: str) -> Work:
    """Make the commands that retrieve it."""

    def commands(url: str, corpus: Path, output: Path) -> Commands:
        return {
            "dcmweb": [*DCMWEB, *options, url, "retrieve", "studies/1.2.3", "-o", str(output)],
            "curl": curl_retrieve(url, corpus, output),
            "curl, one stream": ["curl", "-s", "-o", str(output / "all"), f"{url}/studies/1.2.3"],
            "dicomweb-client": [sys.executable, "-c", _RETRIEVE, url, str(output)],
        }

    return commands


def starting_with(*arguments: str) -> Work:
    """Make the commands that do next to nothing."""

    def commands(url: str, corpus: Path, output: Path) -> Commands:
        places = {"FOLDER": str(corpus), "OUTPUT": str(output)}
        return {
            "dcmweb": [*DCMWEB, url, *(places.get(one, one) for one in arguments)],
            "import click": [sys.executable, "-c", "import click"],
        }

    return commands


def in_parallel(url: str, corpus: Path, output: Path) -> Commands:
    """Make the commands that retrieve many series with and without `-m`."""
    retrieve = [url, "retrieve", "studies/1.2.3", "-o", str(output)]
    return {"dcmweb": [*DCMWEB, "-m", *retrieve], "without -m": [*DCMWEB, *retrieve]}


def storing_in_parallel(url: str, corpus: Path, _output: Path) -> Commands:
    """Make the commands that store with and without `-m`."""
    store = [url, "store", str(corpus)]
    return {"dcmweb": [*DCMWEB, "-m", *store], "without -m": [*DCMWEB, *store]}


def copying(urls: str, corpus: Path, output: Path) -> Commands:
    """Make the commands that copy from one server to another; what takes longest rules."""
    source, _, there = urls.partition(" ")
    return {
        "dcmweb": [*DCMWEB, source, "copy", "studies/1.2.3", there],
        "own retrieve": [*DCMWEB, source, "retrieve", "studies/1.2.3", "-o", str(output)],
        "own store": [*DCMWEB, there, "store", str(corpus)],
    }


def going_on(url: str, corpus: Path, output: Path) -> Commands:
    """Make the commands that go on with a manifest, with ten times the files and without."""
    small = make_corpus(corpus.parent, 20_000, TINY)
    return {
        "dcmweb": going_on_with(url, corpus, output / "manifest"),
        "20,000": going_on_with(url, small, output / "manifest-20000"),
    }


def going_on_with(url: str, corpus: Path, manifest: Path) -> list[str]:
    """Make a manifest by which all but 1,000 files of a corpus are done."""
    if manifest.parent.exists():
        header = {"type": "manifest", "version": 1, "base_url": url, "command": "store"}
        with manifest.open("w") as file:
            print(json.dumps(header), file=file)
            for path in sorted(corpus.glob("*.dcm"))[1000:]:
                status = path.stat()
                event = {"type": "stored", "item": str(path), "size": status.st_size}
                event |= {"mtime_ns": status.st_mtime_ns, "study": "1.2.3"}
                event |= {"series": "1.2.3.4.500000000", "instance": path.stem, "attempts": 1}
                print(json.dumps(event), file=file)
    return [*DCMWEB, url, "store", str(corpus), "--manifest", str(manifest)]


def starting(_url: str, _corpus: Path, _output: Path) -> Commands:
    """Make the commands that only start."""
    return {
        "dcmweb": [*DCMWEB, "--version"],
        "import click": [sys.executable, "-c", "import click"],
    }


KB, MB = 1000, 1000 * 1000
TINY = 64
ROWS = [
    Row("start", 1, 10 * KB, starting, target="<= 2 x import click"),
    Row("start, search", 1, 10 * KB, starting_with("search"), target="<= 3.5 x import click"),
    Row("start, store", 1, 10 * KB, starting_with("store", "FOLDER"), target="<= 4 x import click"),
    Row("store 30000 x 10 KB", 30_000, 10 * KB, storing(), target="<= 0.8 x curl"),
    Row("retrieve 30000 x 10 KB", 30_000, 10 * KB, retrieving(), target="<= 1.2 x curl"),
    Row(
        "retrieve 100 x 100 x 10 KB, -m",
        *(10_000, 10 * KB, in_parallel),
        target="<= 1.05 x without",
        series=100,
    ),
    Row(
        "store 100 x 100 x 10 KB, -m",
        *(10_000, 10 * KB, storing_in_parallel),
        target="<= 1.05 x without",
        series=100,
    ),
    Row("store 3000 x 10 KB", 3000, 10 * KB, storing(), target="<= 1.0 x curl"),
    Row("store 1000 x 530 KB, -m", 1000, 530 * KB, storing("-m"), target="<= 1.0 x curl, 64 MB"),
    Row("store 4 x 200 MB", 4, 200 * MB, storing(), target="<= 1.2 x curl, 64 MB"),
    Row("store 3000 x 10 KB, 20 ms, -m", 3000, 10 * KB, storing("-m"), 0.02, "<= 0.1 x curl"),
    Row(
        "store 1000 x 530 KB into Orthanc, -m",
        *(1000, 530 * KB, storing_series),
        target="<= 1.1 x curl",
        series=10,
        into_orthanc=True,
    ),
    Row("retrieve 3000 x 10 KB", 3000, 10 * KB, retrieving(), target="<= 1.5 x curl"),
    Row("retrieve 3000 x 10 KB, 20 ms, -m", 3000, 10 * KB, retrieving("-m"), 0.02, "<= 0.1 x curl"),
    Row("retrieve 1000 x 530 KB", 1000, 530 * KB, retrieving(), target="<= 1.5 x curl, one stream"),
    Row("retrieve 4 x 200 MB", 4, 200 * MB, retrieving(), target="<= 1.3 x curl, 64 MB"),
    Row(
        "copy 3000 x 10 KB",
        *(3000, 10 * KB, copying),
        target="<= 1.2 x the slower, 64 MB",
        has_destination=True,
    ),
    Row(
        "copy 1000 x 530 KB",
        *(1000, 530 * KB, copying),
        target="<= 1.2 x the slower, 64 MB",
        has_destination=True,
    ),
    Row("200,000 files, 1,000 not done", 200_000, TINY, going_on, target="<= 1.5 x the memory"),
]


def make_corpus(folder: Path, count: int, size: int, series: int = 1) -> Path:
    """Make the files, once, in another process: memory is counted from that of the one before."""
    corpus = folder / f"{count}x{size}in{series}"
    if not corpus.exists():
        numbers = [str(number) for number in (count, size, series)]
        command = [sys.executable, "-m", "tests.bench.corpus", str(corpus), *numbers]
        subprocess.run(command, check=True)
    return corpus


@contextmanager
def sinking(corpus: Path, latency: float) -> Iterator[str]:
    """Run the sink for the time of a block, which gets its base URL."""
    command = [sys.executable, "-m", "tests.bench.sink", str(corpus), str(latency)]
    sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield sink.stdout.readline().strip() if sink.stdout else ""
    finally:
        sink.kill()
        sink.communicate()


@contextmanager
def two_sinks(corpus: Path, empty: Path, latency: float) -> Iterator[str]:
    """Run a sink that has the corpus, and one that has nothing; yield both base URLs."""
    empty.mkdir()
    with sinking(corpus, latency) as source, sinking(empty, latency) as there:
        yield f"{source} {there}"


@contextmanager
def an_orthanc(storage: Path) -> Iterator[str]:
    """Run an empty Orthanc for the time of a block, which gets its base URL."""
    with orthanc.running(storage) as server:
        yield server.url
    shutil.rmtree(storage)


def serving(row: Row, corpus: Path, output: Path) -> AbstractContextManager[str]:
    """Run what a row goes to."""
    if row.has_destination:
        return two_sinks(corpus, output.with_name(f"{output.name}-empty"), row.latency)
    storage = output.with_name(f"{output.name}-orthanc")
    return an_orthanc(storage) if row.into_orthanc else sinking(corpus, row.latency)


def as_installed() -> dict[str, str]:
    """Return the environment in which packages are compiled once, as those that are installed."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def measure(command: list[str]) -> Measured:
    """Run a command to its end; its failure ends the bench."""
    os.sync()  # no run is to pay for what another one wrote
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=as_installed()
    )
    peaks: list[int] = [0]
    watcher = threading.Thread(target=watch_memory, args=(process.pid, peaks))
    watcher.start()
    error = process.stderr.read() if process.stderr else b""
    status = process.wait()
    seconds = time.perf_counter() - began
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command[:6])} failed: {error.decode()[-500:]}")
    return Measured(seconds, max(peaks) / 1024)


def watch_memory(pid: int, peaks: list[int]) -> None:
    """Note a process's peak of resident memory, in KiB, until it ends.

    What `wait4` tells counts the memory of the process that started it as well.
    """
    try:
        while found := re.search(r"VmHWM:\s*([0-9]+)", Path(f"/proc/{pid}/status").read_text()):
            peaks.append(int(found[1]))
            time.sleep(0.01)
    except OSError:
        return


def run(row: Row, folder: Path) -> None:
    """Measure one row, the tools by turns, and print its lines."""
    corpus, outputs = make_corpus(folder, row.count, row.size, row.series), folder / "outputs"
    runs: dict[str, list[Measured]] = defaultdict(list)
    names = list(row.commands("", corpus, outputs))
    if importlib.util.find_spec("dicomweb_client") is None and "dicomweb-client" in names:
        names.remove("dicomweb-client")
    for number in range(RUNS):
        for name in names:
            output = outputs / f"{name}{number}"
            output.mkdir(parents=True)
            with serving(row, corpus, output) as url:
                runs[name].append(measure(row.commands(url, corpus, output)[name]))
    shutil.rmtree(outputs)
    time.sleep(SETTLING)
    found = {name: median(of_one) for name, of_one in runs.items()}
    own = found.pop("dcmweb")
    print(f"| {row.name} | {own.seconds:.2f} s, {own.memory:.0f} MB | ", end="")
    others = [
        f"{name} {other.seconds:.2f} s, {other.memory:.0f} MB: {own.seconds / other.seconds:.2f}"
        for name, other in found.items()
    ]
    print("; ".join(others), f"| {row.target} |", flush=True)


def median(runs: list[Measured]) -> Measured:
    """Take the median of time and of memory."""
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.memory for run in runs),
    )


def main() -> None:
    """Print the table."""
    print("| work | dcmweb | others: ratio | target |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="dcmweb-bench-") as folder:
        for row in ROWS:
            wanted = not sys.argv[1:] or any(part in row.name for part in sys.argv[1:])
            if row.into_orthanc and (missing := orthanc.missing()):
                print(f"| {row.name} | {missing} | | {row.target} |")
            elif wanted:
                run(row, Path(folder))


if __name__ == "__main__":
    main()
