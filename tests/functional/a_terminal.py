"""The command in a terminal: what a person sees, and what keys do."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DCMWEB, clean_environment

PATIENCE = 120.0  # seconds, for what hangs


@dataclass(frozen=True)
class Seen:
    """What a run left on the screen, and its exit code."""

    code: int
    screen: str

    @property
    def lines(self) -> list[str]:
        return self.screen.replace("\r\n", "\n").split("\n")


class Terminal:
    """A terminal of a size, in which one command runs."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        piped_input: bool = False,
    ) -> None:
        self._main, side = os.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**clean_environment(), "TERM": "xterm", **(env or {})}
        for name in ("COLUMNS", "LINES", "PAGER", "LESS"):
            if name not in (env or {}):
                environment.pop(name, None)
        self._process = subprocess.Popen(
            [*DCMWEB, *arguments],
            stdin=subprocess.DEVNULL if piped_input else side,
            stdout=side,
            stderr=side,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(side)
        self._shown = b""

    def wait_for(self, words: str) -> None:
        """Wait until words are on the screen."""
        deadline = time.monotonic() + PATIENCE
        while words.encode() not in self._shown:
            assert time.monotonic() < deadline, self._shown
            assert self._read(), self._shown

    def press(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def end(self) -> Seen:
        """Wait for the end of the command."""
        while self._read():
            pass
        code = self._process.wait(PATIENCE)
        os.close(self._main)
        return Seen(code, self._shown.decode("utf-8", "replace"))

    def _read(self) -> bool:
        if not select.select([self._main], [], [], PATIENCE)[0]:
            self._process.kill()
            raise AssertionError(self._shown)
        try:
            piece = os.read(self._main, 65536)
        except OSError:  # what Linux says when the other end is closed
            return False
        self._shown += piece
        return bool(piece)
