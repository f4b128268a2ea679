"""The bench of `check`: time and peak memory for two sizes, beside each other.

    python -m tests.bench.check [INSTANCES] [PER_STUDY]

Compares a server that lists so many instances (a million by default), and one that lists a tenth,
with a manifest of them and with another server. To reach: 100 MB, and ten times the time at most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.__main__ import DCMWEB, measure
from tests.bench.listing import Listing, uids


def write_manifest(path: Path, listing: Listing, url: str) -> None:
    """Write the manifest of a store of all instances."""
    header = {"type": "manifest", "version": 1, "base_url": url, "command": "store"}
    with path.open("w") as file:
        print(json.dumps(header), file=file)
        for study in range(listing.studies):
            for number in range(listing.size_of(study)):
                one, series, instance = uids(study, number)
                event: dict[str, object] = {
                    "type": "stored",
                    "item": f"/data/{study:06}/{number:08}.dcm",
                }
                event |= {"size": 530_000, "mtime_ns": 1795444642612996795, "study": one}
                event |= {"series": series, "instance": instance, "attempts": 1}
                print(json.dumps(event), file=file)


@contextmanager
def listing_server(instances: int, per_study: int) -> Iterator[str]:
    """Run a server for the time of a block."""
    command = [sys.executable, "-m", "tests.bench.listing", str(instances), str(per_study)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    instances, per_study = (*map(int, sys.argv[1:]), 500)[:2] if sys.argv[1:] else (10**6, 500)
    print("| instances | compared with | seconds | MB |\n| --- | --- | --- | --- |")
    for count in (instances // 10, instances):
        with (
            tempfile.TemporaryDirectory() as folder,
            listing_server(count, per_study) as url,
            listing_server(count, per_study) as other,
        ):
            manifest = Path(folder, "manifest")
            writer = [sys.executable, "-c", _WRITE, str(manifest), str(count), str(per_study), url]
            subprocess.run(writer, check=True)
            for name, arguments in (
                ("manifest, counts", [str(manifest)]),
                ("manifest, every UID", [str(manifest), "--thorough"]),
                ("manifest, every UID, -m", [str(manifest), "--thorough", "-m"]),
                ("server, counts", [other]),
                ("server, every UID", [other, "--thorough"]),
            ):
                found = measure([*DCMWEB, url, "check", "-q", *arguments])
                print(
                    f"| {count:,} | {name} | {found.seconds:.1f} | {found.memory:.0f} |", flush=True
                )


# In a process of its own: the memory of a command is counted from that of its parent.
_WRITE = """
import sys
from pathlib import Path
from tests.bench.check import write_manifest
from tests.bench.listing import Listing
path, count, per_study, url = sys.argv[1:]
write_manifest(Path(path), Listing(int(count), int(per_study)), url)
"""

if __name__ == "__main__":
    main()
