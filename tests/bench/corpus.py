"""Makes a corpus: so many files of so many bytes, named by their UIDs, in one series or more.

python -m tests.bench.corpus FOLDER COUNT SIZE [SERIES]
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import make_instance

_SERIES, _INSTANCE = "1.2.3.4.500000000", "1.2.3.4.1000000000"


def make(folder: Path, count: int, size: int, series: int = 1) -> None:
    """Write the files; they differ in their UIDs alone."""
    folder.mkdir()
    model = make_instance("1.2.3", _SERIES, _INSTANCE, size // 32 * 32)
    head, tail = model[:4096], model[4096:]
    for number in range(count):
        own = f"1.2.3.4.{500_000_000 + number * series // count}"
        uid = f"1.2.3.4.{1_000_000_000 + number}"
        with (folder / f"{uid}.dcm").open("wb") as file:
            file.write(head.replace(_INSTANCE.encode(), uid.encode()).replace(*_both(own)))
            file.write(tail)


def _both(series: str) -> tuple[bytes, bytes]:
    return _SERIES.encode(), series.encode()


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
