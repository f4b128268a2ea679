"""Make many requests, by hand.

    python -m tests.api [--seeds 1-10] [--examples 50] [--only studies]

Prints what was wrong, and how many requests were made by the status of their answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from schemathesis import GenerationMode

from tests.api.requests import Asking, operations
from tests.functional import archives


def main() -> int:
    """Read the command line, and ask."""
    parser = argparse.ArgumentParser(prog="python -m tests.api", description=__doc__)
    parser.add_argument("--seeds", default="1-5", help="FIRST-LAST")
    parser.add_argument("--examples", type=int, default=30, help="for each route, and as many odd")
    parser.add_argument("--only", default="", help="routes whose name has this")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    wrong, began = 0, time.monotonic()
    chosen = [one for one in operations() if given.only in one.label]
    with (
        tempfile.TemporaryDirectory(prefix="dcmweb-api-") as folder,
        archives.running(Path(folder) / "served", "--page-can-delete") as archive,
    ):
        asking = Asking(archive)
        for number in range(int(first), int(last or first) + 1):
            for operation in chosen:
                try:
                    asking.ask_all(operation, given.examples, number, list(GenerationMode))
                except Exception as error:
                    wrong += 1
                    print(f"== seed {number}, {operation.label}", flush=True)
                    traceback.print_exception(error, limit=0)
    print(f"{asking.statuses.total()} requests in {time.monotonic() - began:.0f} s: {wrong} wrong")
    print(", ".join(f"{status} {count}" for status, count in sorted(asking.statuses.items())))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
