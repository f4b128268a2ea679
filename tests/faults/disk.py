"""A small disk of its own for a run, which fills up: a tmpfs in a namespace of mounts.

The command runs inside the namespace. From outside the disk is seen through /proc.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PAGE = 4096


class Disk:
    """A disk with so many bytes, mounted as the folder `disk` of a run."""

    def __init__(self, cwd: Path, size: int) -> None:
        (cwd / "disk").mkdir()
        mount = f"mount -t tmpfs -o size={max(_PAGE, size)} tmpfs disk && echo ready && cat"
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", mount],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise OSError("a disk of its own takes Linux with user namespaces")
        self._cwd = cwd
        self.path = Path(f"/proc/{self._holder.pid}/root{cwd}/disk")

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs another one where the disk is."""
        target = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount"]
        line = f"cd {shlex.quote(str(self._cwd))} && exec {shlex.join(command)}"
        return [*target, "--preserve-credentials", "sh", "-c", line]

    def grow(self) -> None:
        """Give it room for all."""
        self._run("mount -o remount,size=1g disk")

    def _run(self, line: str) -> None:
        subprocess.run(self.inside(["sh", "-c", line]), check=True, timeout=60)

    def close(self) -> None:
        """Take it away, with all that is on it."""
        if self._holder.stdin:
            self._holder.stdin.close()
        if self._holder.stdout:
            self._holder.stdout.close()
        self._holder.wait(60)


@contextmanager
def small_disk(cwd: Path, size: int) -> Iterator[Disk]:
    """Mount a disk for the time of a block. Raises OSError where that is not possible."""
    disk = Disk(cwd, size)
    try:
        yield disk
    finally:
        disk.close()


def is_possible(folder: Path) -> bool:
    """Return True if disks can be mounted here."""
    try:
        with small_disk(folder, _PAGE):
            return True
    except OSError:
        return False
    finally:
        (folder / "disk").rmdir()
