"""Runs the command in a pseudo terminal of any width, and keeps what it draws."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DCMWEB, clean_environment

LONG = 40.0  # seconds in which anything here should have happened


class Terminal:
    """A terminal that a command writes to; stdout is a pipe unless it is a terminal as well."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(columns, rows)
        self._data = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, rows: int = 24) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def _read(self) -> None:
        with suppress(OSError):
            while piece := os.read(self.ours, 64 * 1024):
                self._data += piece

    def close(self) -> None:
        os.close(self.theirs)
        self._reader.join(LONG)
        os.close(self.ours)

    @property
    def text(self) -> str:
        """All that was written, control characters included."""
        return self._data.decode()

    @property
    def drawn(self) -> list[str]:
        """The bars that were drawn, one after the other."""
        pieces = self.text.replace("\r\n", "\n").split("\r")
        drawn = (piece.partition("\n")[0].rstrip() for piece in pieces[1:])
        return [bar for bar in drawn if bar and " -- " not in bar]  # no lines

    @property
    def lines(self) -> list[str]:
        """What remains to be seen at the end: lines as they look once all was drawn."""
        return [_seen(line) for line in self.text.replace("\r\n", "\n").split("\n")[:-1]]

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something is on the terminal."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)


def _seen(line: str) -> str:
    """Write one text over the other, as a carriage return lets a terminal do."""
    seen = ""
    for piece in line.split("\r"):
        seen = piece + seen[len(piece) :]
    return seen.rstrip()


class Running:
    """A command that runs in a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: Terminal) -> None:
        self.process = process
        self.terminal = terminal
        self.out = b""

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        self.out = self.process.communicate(timeout=LONG)[0] or b""
        return self.process.returncode


@contextmanager
def in_terminal(
    *args: str | Path,
    cwd: Path,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    data_too: bool = False,
    keyboard: bool = False,
) -> Iterator[Running]:
    """Run the command with stderr on a terminal, and stdout and stdin if that is wanted."""
    terminal = Terminal(columns, rows)
    environment = {**clean_environment(), "HOME": str(cwd), "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "PAGER", "LESS"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [*DCMWEB, *map(str, args)],
        cwd=cwd,
        env={**environment, **(env or {})},
        stdin=terminal.theirs if keyboard else subprocess.DEVNULL,
        stdout=terminal.theirs if data_too else subprocess.PIPE,
        stderr=terminal.theirs,
        start_new_session=True,  # so that it does not find the terminal of who runs the tests
    )
    try:
        yield Running(process, terminal)
    finally:
        process.kill()
        process.communicate()
        terminal.close()


@dataclass(frozen=True)
class Seen:
    """The exit code of a run, and all that it left on a terminal."""

    code: int
    screen: str
    lines: list[str]


def seen_in_terminal(
    *args: str | Path,
    cwd: Path,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    answers: Mapping[str, str] | None = None,
) -> Seen:
    """Run the command all on a terminal, and give answers to its questions, by their words."""
    with in_terminal(
        *args, cwd=cwd, columns=columns, rows=rows, env=env, data_too=True, keyboard=True
    ) as run:
        terminal = run.terminal
        for words, keys in (answers or {}).items():
            terminal.wait_for(lambda words=words: words in terminal.text)  # type: ignore[misc]
            terminal.press(keys)
        code = run.end()
    return Seen(code, terminal.text, terminal.lines)
