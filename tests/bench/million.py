"""The bench of very many files: a run with a manifest, the same again, back, and counted.

    python -m tests.bench.million [FILES] [LINES]

Stores so many files of 770 bytes (a million by default), goes on with the same manifest when all is
done, retrieves them, counts them with `manifest`, and loads a manifest of so many lines (ten times
as many), each beside a tenth of it. Prints wall time, CPU of user and system, and peak memory. To
reach: linear, 64 MB; ten million lines within 60 s and 100 MB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.__main__ import DCMWEB, as_installed, make_corpus, sinking
from tests.bench.check import write_manifest
from tests.bench.listing import Listing

TINY = 64  # of pixel data, which makes about 770 bytes
PER_STUDY = 500


def run(name: str, count: int, command: list[str]) -> None:
    """Run a command and print its row; its failure ends the bench."""
    os.sync()
    began = time.perf_counter()
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=as_installed())
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"| {name} | {count:,} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |", flush=True)


def all_four(folder: Path, count: int) -> None:
    """Store, store again, retrieve and count."""
    corpus = make_corpus(folder, count, TINY)
    stored, retrieved, output = folder / "stored", folder / "retrieved", folder / "out"
    with sinking(corpus, 0) as url:
        store = [*DCMWEB, url, "store", str(corpus), "--manifest", str(stored)]
        run("store", count, store)
        run("all done", count, store)
        retrieve = [*DCMWEB, url, "retrieve", "studies/1.2.3", "-o", str(output)]
        run("retrieve", count, [*retrieve, "--manifest", str(retrieved)])
        run("count", count, [*DCMWEB, "manifest", str(retrieved)])
    shutil.rmtree(output)
    shutil.rmtree(corpus)


def load(folder: Path, lines: int) -> None:
    """Begin a run with a manifest of others."""
    corpus = make_corpus(folder, 1, TINY)
    manifest = folder / f"{lines}.ndjson"
    with sinking(corpus, 0) as url:
        write_manifest(manifest, Listing(lines, PER_STUDY), url)
        run("load", lines, [*DCMWEB, url, "store", str(corpus), "--manifest", str(manifest)])
    manifest.unlink()


def main() -> None:
    files = int(sys.argv[1]) if sys.argv[1:] else 10**6
    lines = int(sys.argv[2]) if sys.argv[2:] else 10 * files
    print("| work | files or lines | s | s of CPU | MB |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="dcmweb-bench-") as name:
        for tenth in (10, 1):
            for what, count in ((all_four, files), (load, lines)):
                folder = Path(name) / f"{what.__name__}-{tenth}"
                folder.mkdir()
                what(folder, count // tenth)


if __name__ == "__main__":
    main()
