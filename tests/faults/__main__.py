"""Run many seeds, by hand.

    python -m tests.faults --seeds 1-1000 [--server orthanc|restarting] [--kill] [--command store]
    python -m tests.faults --seeds 1-1000 --disk-full --clock-jumps

Prints the seeds whose run was wrong, with what happened, and the faults that were injected.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests import forks
from tests.conftest import clean_environment
from tests.faults.runs import Hardship, Plan, archive_lab, orthanc_lab, restarting_lab, run

_LABS = {"archive": archive_lab, "orthanc": orthanc_lab, "restarting": restarting_lab}


def main() -> int:
    """Read the command line, and run the seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", default="1-200", help="FIRST-LAST")
    parser.add_argument("--server", choices=sorted(_LABS), default="archive")
    parser.add_argument("--kill", action="store_true", help="kill the command, and start it again")
    parser.add_argument(
        "--disk-full", action="store_true", help="write to a disk that is too small"
    )
    parser.add_argument("--clock-jumps", action="store_true", help="have the time of day jump")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--command", action="append", default=[])
    parser.add_argument("--wrong", type=int, default=10, help="stop after so many wrong runs")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    folder = Path(tempfile.mkdtemp(prefix="dcmweb-faults-"))
    fork_server = forks.ForkServer(clean_environment())
    make = _LABS[asked.server]
    hardship = None
    if asked.disk_full or asked.clock_jumps:
        hardship = Hardship(asked.disk_full, asked.clock_jumps)
    wrong: list[int] = []
    done, began = 0, time.monotonic()
    with make(folder, fork_server) as lab, ThreadPoolExecutor(asked.jobs) as pool:

        def one(seed: int) -> None:
            if len(wrong) < asked.wrong:
                plan = Plan.of(seed, commands=asked.command)
                run(lab, plan, kills=asked.kill, hardship=hardship)

        jobs = {pool.submit(one, seed): seed for seed in seeds}
        for job in as_completed(jobs):
            seed = jobs.pop(job)
            if error := job.exception():
                wrong.append(seed)
                print(f"== seed {seed}", *traceback.format_exception(error)[-1:], flush=True)
            else:
                shutil.rmtree(folder / f"run-{seed}", ignore_errors=True)
            done += 1
    print(f"{done} seeds in {time.monotonic() - began:.0f} s; wrong: {sorted(wrong)}")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(lab.faults.items())))
    fork_server.close()
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
