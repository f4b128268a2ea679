"""HAProxy as a reverse proxy that ends TLS and wants a client's certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.live.servers.process import Program, Server, running
from tests.live.servers.tls import Certificate

HAPROXY = Program("haproxy", "haproxy")

CONFIGURATION = """\
global
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend outside
  bind 127.0.0.1:{port} ssl crt {certificate} {checks}
  default_backend inside
backend inside
  server archive {upstream}
"""


@dataclass(frozen=True)
class Haproxy(Server):
    """A running HAProxy."""

    @property
    def root(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The BASE_URL of the DICOMweb service."""
        return f"{self.root}/dicom-web"


@contextmanager
def running_haproxy(
    folder: Path,
    upstream: str,
    certificate: Certificate,
    client_authority: Path,
    verify: str = "required",
    tls: tuple[str, str] = ("TLSv1.2", "TLSv1.3"),
) -> Iterator[Haproxy]:
    """Run HAProxy in front of the server at a URL, for the time of a block."""
    program = HAPROXY.path()
    folder.mkdir(parents=True)
    file = folder / "haproxy.cfg"
    versions = f"ssl-min-ver {tls[0]} ssl-max-ver {tls[1]}"

    def command(port: int) -> list[str]:
        configuration = CONFIGURATION.format(
            port=port,
            certificate=certificate.both,
            checks=f"ca-file {client_authority} verify {verify} {versions}",
            upstream=urlsplit(upstream).netloc,
        )
        file.write_text(configuration)
        return [program, "-db", "-f", str(file)]

    with running("haproxy", folder, command) as server:
        yield Haproxy(server.name, server.port, server.log, server.process)
