"""The installed command, started and looked at while it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import DCMWEB, clean_environment

Process = subprocess.Popen[bytes]
Start = Callable[..., Process]


@contextmanager
def starting(folder: Path, *, to_files: bool = False) -> Iterator[Start]:
    """Yield what starts the command in a folder; what it started does not outlive the block.

    Its output goes through pipes, or to files called out and err: a pipe that nobody reads would
    stop a command that writes much.
    """
    started: list[Process] = []

    def start(*args: str | Path, before: tuple[str, ...] = ()) -> Process:
        out = (folder / "out").open("wb") if to_files else None
        err = (folder / "err").open("wb") if to_files else None
        process = subprocess.Popen(
            [*before, *DCMWEB, *map(str, args)],
            cwd=folder,
            env={**clean_environment(), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=out or subprocess.PIPE,
            stderr=err or subprocess.PIPE,
        )
        for file in (out, err):
            if file:
                file.close()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.communicate()
