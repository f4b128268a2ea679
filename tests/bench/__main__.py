"""The bench: whole processes, side by side in one run, against what users would pick instead.

    python -m tests.bench [ROWS]...

Prints a table: medians of three runs, wall time in seconds and peak memory in MB, and the ratio to
the other tool. dicomweb-client takes part where it is installed. ROWS are parts of names of rows.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RUNS = 3
DCMWEB = [sys.executable, "-m", "dcmweb"]
SERIES = "studies/1.2.3/series/1.2.3.4"

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
    commands: Callable[[str, Path, Path], dict[str, list[str]]]
    latency: float = 0.0
    target: str = ""


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


def storing(*options: str) -> Callable[[str, Path, Path], dict[str, list[str]]]:
    """Make the commands that store a corpus."""

    def commands(url: str, corpus: Path, _output: Path) -> dict[str, list[str]]:
        return {
            "dcmweb": [*DCMWEB, *options, url, "store", str(corpus)],
            "curl": curl_store(url, corpus),
            "dicomweb-client": [sys.executable, "-c", _STORE, url, str(corpus)],
        }

    return commands


def retrieving(*options: str) -> Callable[[str, Path, Path], dict[str, list[str]]]:
    """Make the commands that retrieve it."""

    def commands(url: str, corpus: Path, output: Path) -> dict[str, list[str]]:
        return {
            "dcmweb": [*DCMWEB, *options, url, "retrieve", "studies/1.2.3", "-o", str(output)],
            "curl": curl_retrieve(url, corpus, output),
            "curl, one stream": ["curl", "-s", "-o", str(output / "all"), f"{url}/studies/1.2.3"],
            "dicomweb-client": [sys.executable, "-c", _RETRIEVE, url, str(output)],
        }

    return commands


def starting(_url: str, _corpus: Path, _output: Path) -> dict[str, list[str]]:
    """Make the commands that only start."""
    return {
        "dcmweb": [*DCMWEB, "--version"],
        "import click": [sys.executable, "-c", "import click"],
    }


KB, MB = 1000, 1000 * 1000
ROWS = [
    Row("start", 1, 10 * KB, starting, target="<= 3 x import click"),
    Row("store 3000 x 10 KB", 3000, 10 * KB, storing(), target="<= 1.0 x curl"),
    Row("store 1000 x 530 KB, -m", 1000, 530 * KB, storing("-m"), target="<= 1.0 x curl, 64 MB"),
    Row("store 4 x 200 MB", 4, 200 * MB, storing(), target="<= 1.2 x curl, 64 MB"),
    Row("store 3000 x 10 KB, 20 ms, -m", 3000, 10 * KB, storing("-m"), 0.02, "<= 0.1 x curl"),
    Row("retrieve 3000 x 10 KB", 3000, 10 * KB, retrieving(), target="<= 1.5 x curl"),
    Row("retrieve 3000 x 10 KB, 20 ms, -m", 3000, 10 * KB, retrieving("-m"), 0.02, "<= 0.1 x curl"),
    Row("retrieve 1000 x 530 KB", 1000, 530 * KB, retrieving(), target="<= 1.5 x curl, one stream"),
    Row("retrieve 4 x 200 MB", 4, 200 * MB, retrieving(), target="<= 1.3 x curl, 64 MB"),
]


def make_corpus(folder: Path, count: int, size: int) -> Path:
    """Make the files, once, in another process: memory is counted from that of the one before."""
    corpus = folder / f"{count}x{size}"
    if not corpus.exists():
        command = [sys.executable, "-m", "tests.bench.corpus", str(corpus), str(count), str(size)]
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


def measure(command: list[str]) -> Measured:
    """Run a command to its end; its failure ends the bench."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command[:6])} failed: {error.decode()[-500:]}")
    return Measured(seconds, usage.ru_maxrss / 1024)


def medians(command: list[str], output: Path) -> Measured:
    """Run a command several times."""
    runs = []
    for _ in range(RUNS):
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        runs.append(measure(command))
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.memory for run in runs),
    )


def run(row: Row, folder: Path) -> None:
    """Measure one row and print its lines."""
    corpus, output = make_corpus(folder, row.count, row.size), folder / "output"
    with sinking(corpus, row.latency) as url:
        commands = row.commands(url, corpus, output)
        if importlib.util.find_spec("dicomweb_client") is None:
            commands.pop("dicomweb-client", None)
        found = {name: medians(command, output) for name, command in commands.items()}
    own = found.pop("dcmweb")
    print(f"| {row.name} | {own.seconds:.2f} s, {own.memory:.0f} MB | ", end="")
    others = [
        f"{name} {other.seconds:.2f} s, {other.memory:.0f} MB: {own.seconds / other.seconds:.2f}"
        for name, other in found.items()
    ]
    print("; ".join(others), f"| {row.target} |", flush=True)


def main() -> None:
    """Print the table."""
    print("| work | dcmweb | others: ratio | target |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="dcmweb-bench-") as folder:
        for row in ROWS:
            if not sys.argv[1:] or any(part in row.name for part in sys.argv[1:]):
                run(row, Path(folder))


if __name__ == "__main__":
    main()
