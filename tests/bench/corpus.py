"""Makes a corpus: a series of so many files of so many bytes, named by their UIDs.

python -m tests.bench.corpus FOLDER COUNT SIZE
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import make_instance

_MODEL = "1.2.3.4.1000000000"


def make(folder: Path, count: int, size: int) -> None:
    """Write the files; they differ in their UIDs alone."""
    folder.mkdir()
    model = make_instance(instance=_MODEL, size=size // 32 * 32)
    head, tail = model[:4096], model[4096:]
    for number in range(count):
        uid = f"1.2.3.4.{1_000_000_000 + number}"
        with (folder / f"{uid}.dcm").open("wb") as file:
            file.write(head.replace(_MODEL.encode(), uid.encode()))
            file.write(tail)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
