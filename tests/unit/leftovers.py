"""Names of partial files that runs left behind."""

from __future__ import annotations

import subprocess
import sys

from dcmweb.local import partial_files


def left_by_a_dead_run() -> str:
    """Name a partial file of a process that has ended, on this machine."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return f".dcmweb-{partial_files._host()}-{process.pid}-0123abcd-1.part"
