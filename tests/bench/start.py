"""The bench of start-up: CPU of a command that does next to nothing, beside `import click`.

    python -m tests.bench.start [RUNS]

Prints user and system CPU, the lowest of some runs by turns, and the ratio. `import requests` is
the least that a command with a server costs.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.bench.__main__ import DCMWEB, make_corpus, sinking
from tests.bench.rows import cpu_of

RUNS = 15
KB = 1000
TARGETS = {"--version": "<= 2 x", "search": "<= 3.5 x", "store": "<= 4 x"}


def commands_of(url: str, corpus: Path) -> dict[str, list[str]]:
    """Return the commands by name."""
    return {
        "import click": [sys.executable, "-c", "import click"],
        "import click, requests": [sys.executable, "-c", "import click, requests"],
        "--version": [*DCMWEB, "--version"],
        "search": [*DCMWEB, url, "search"],
        "store": [*DCMWEB, url, "store", str(corpus)],
    }


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if sys.argv[1:] else RUNS
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="dcmweb-bench-") as folder:
        corpus = make_corpus(Path(folder), 1, 10 * KB)
        with sinking(corpus, 0) as url:
            for _ in range(count):
                for name, command in commands_of(url, corpus).items():
                    found[name].append(cpu_of(command, hides_words=True)[0])
    least = min(found["import click"])
    print("| command | ms of CPU | ratio | target |\n| --- | --- | --- | --- |")
    for name, runs in found.items():
        ratio = f"{min(runs) / least:.2f} x"
        print(f"| {name} | {min(runs) * 1000:.0f} | {ratio} | {TARGETS.get(name, '')} |")


if __name__ == "__main__":
    main()
