"""Starts programs that serve on a port, waits until they do, and stops them."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 30
ATTEMPTS = 3
# Below the ports that Linux gives to outgoing connections and to listeners on port 0, so that the
# other tests do not take a port between the choice and the start.
PORTS = range(20_000, 32_000)


class NotInstalled(Exception):
    """A program that a test needs is not installed; the message says how to install it."""


@dataclass(frozen=True)
class Program:
    """A program from a Debian package, and the files that it needs besides."""

    name: str
    packages: str
    files: tuple[Path, ...] = ()

    def path(self) -> str:
        """Return where the program is; raise NotInstalled if it or one of its files is absent."""
        # Debian has daemons in /usr/sbin, which is not in everyone's PATH.
        found = shutil.which(self.name) or shutil.which(self.name, path="/usr/sbin")
        if found is None or not all(file.is_file() for file in self.files):
            raise NotInstalled(f"{self.name} is not installed: apt-get install {self.packages}")
        return found


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(
    name: str, folder: Path, command: Callable[[int], Sequence[str]], says: str = ""
) -> Iterator[Server]:
    """Run the command for a free port for the time of a block.

    It is ready when its log has the text `says`, or else when something listens at the port.
    """
    server = _start(name, folder, command, says)
    try:
        yield server
    finally:
        stop(server.process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a server at once: a polite stop takes seconds, and its data is thrown away."""
    process.kill()
    process.wait()


def free_port() -> int:
    """Find a port of 127.0.0.1 at which nothing listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _start(name: str, folder: Path, command: Callable[[int], Sequence[str]], says: str) -> Server:
    """Start on a free port; on another one if somebody else has taken it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    for _ in range(ATTEMPTS):
        port = free_port()
        arguments = [*_bound_to_tests(), *command(port)]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*_bound_to_tests(), *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        server = Server(name, port, log, process)
        if _has_started(server, says):
            return server
        stop(process)
    raise RuntimeError(f"{name} did not start: {log.read_text(errors='replace')}")


def _bound_to_tests() -> list[str]:
    """Let a server end with the tests, also where these are killed (setpriv is in util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _has_started(server: Server, says: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if says in server.log_text() if says else _listens(server.port):
            return True
        time.sleep(0.02)
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
