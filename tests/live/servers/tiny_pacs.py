"""tiny-pacs with tiny-pacs-dicomweb from PyPI: a DICOMweb server that is not Orthanc.

tiny_pacs 0.4.1 runs in a process of its own, with its archive in memory. It has tokens, and no
wildcards, no metadata, no frames and no deletion; a search that finds nothing gets 204. An
instance that it has already is refused with the reason 0110H, unless it may overwrite.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.servers.process import NotInstalled, Server, running

NEEDED = ("tiny_pacs", "tiny_pacs_dicomweb", "waitress")

# tiny_pacs listens for DICOM associations at all addresses of the machine; the tests want one.
LAUNCHER = """\
import runpy, socketserver, sys
bind = socketserver.TCPServer.server_bind
def bind_locally(server):
    server.server_address = ("127.0.0.1", server.server_address[1])
    bind(server)
socketserver.TCPServer.server_bind = bind_locally
sys.argv[0] = "tiny-pacs"
runpy.run_module("tiny_pacs", run_name="__main__")
"""

LOG = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["console"]},
}


@dataclass(frozen=True)
class TinyPacs(Server):
    """A running tiny-pacs."""

    @property
    def url(self) -> str:
        """The BASE_URL of the DICOMweb service."""
        return f"{self.root}/dicomweb"


@contextmanager
def running_tiny_pacs(
    folder: Path,
    tokens: Sequence[str] = (),
    largest_body: int = 64 * 1024 * 1024,
    overwrite: bool = False,
) -> Iterator[TinyPacs]:
    """Run an empty tiny-pacs for the time of a block; with tokens, requests must have one."""
    if not all(map(importlib.util.find_spec, NEEDED)):
        raise NotInstalled('tiny-pacs is not installed: pip install "tiny-pacs[dicomweb]"')
    folder.mkdir(parents=True)
    file = folder / "configuration.json"

    def command(port: int) -> list[str]:
        web = {"on": True, "prefix": "/dicomweb", "max_part_size": largest_body}
        login = {"auth": "token", "tokens": list(tokens)} if tokens else {}
        components = {
            **{name: {"on": True} for name in ("Database", "Devices", "PACS")},
            "InMemoryStorage": {"on": True, "overwrite": overwrite},
            "HttpServer": {"on": True, "port": port},
            "DICOMWeb": {**web, **login},
        }
        ae = {"port": 0, "dump_ds": False}
        file.write_text(json.dumps({"ae": ae, "log": LOG, "components": components}))
        return [sys.executable, "-c", LAUNCHER, "run", "-c", str(file)]

    with running("tiny-pacs", folder, command, says="Shared HTTP server listening") as server:
        yield TinyPacs(server.name, server.port, server.log, server.process)
