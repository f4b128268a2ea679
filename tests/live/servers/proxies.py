"""Proxies with passwords: tinyproxy for HTTP, microsocks for SOCKS 5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.live.servers.process import Program, Server, running

TINYPROXY = Program("tinyproxy", "tinyproxy")
MICROSOCKS = Program("microsocks", "microsocks")

# Without ConnectPort, CONNECT is allowed to all ports.
CONFIGURATION = """\
Listen 127.0.0.1
Port {port}
Timeout 60
MaxClients 100
LogLevel Connect
DisableViaHeader No
"""


@dataclass(frozen=True)
class Proxy(Server):
    """A running proxy; without a user it serves everybody."""

    scheme: str
    user: str
    password: str

    @property
    def url(self) -> str:
        """Its URL with user and password."""
        return self.url_with(self.user, self.password)

    @property
    def bare_url(self) -> str:
        """Its URL without user and password."""
        return self.url_with("", "")

    def url_with(self, user: str, password: str, scheme: str = "") -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"{scheme or self.scheme}://{login}127.0.0.1:{self.port}"

    def connections(self) -> list[str]:
        """The lines of its log that name a connection to a server."""
        marks = {"http": "Request (file descriptor", "socks5h": "connected to"}
        return [line for line in self.log_text().splitlines() if marks[self.scheme] in line]


@contextmanager
def running_tinyproxy(folder: Path, user: str = "", password: str = "") -> Iterator[Proxy]:
    """Run an HTTP proxy for the time of a block."""
    program = TINYPROXY.path()
    folder.mkdir(parents=True)
    file = folder / "tinyproxy.conf"
    login = f"BasicAuth {user} {password}\n" if user else ""

    def command(port: int) -> list[str]:
        file.write_text(CONFIGURATION.format(port=port) + login)
        return [program, "-d", "-c", str(file)]

    with running("tinyproxy", folder, command) as server:
        yield Proxy(server.name, server.port, server.log, server.process, "http", user, password)


@contextmanager
def running_microsocks(folder: Path, user: str = "", password: str = "") -> Iterator[Proxy]:
    """Run a SOCKS 5 proxy for the time of a block; it looks up the names of hosts itself."""
    program = MICROSOCKS.path()
    login = ["-u", user, "-P", password] if user else []

    def command(port: int) -> list[str]:
        return [program, "-i", "127.0.0.1", "-p", str(port), *login]

    with running("microsocks", folder, command) as server:
        yield Proxy(server.name, server.port, server.log, server.process, "socks5h", user, password)
