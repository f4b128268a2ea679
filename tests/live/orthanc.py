"""A real Orthanc with its DICOMweb plugin, from its Debian packages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"
START_SECONDS = 30
ATTEMPTS = 3


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    port: int
    storage: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count_instances(self) -> int:
        with urllib.request.urlopen(f"{self.root}/statistics", timeout=10) as answer:
            return int(json.load(answer)["CountInstances"])


def program() -> str | None:
    """Where Orthanc is, if it is installed, and its plugin with it."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    return found if PLUGIN.is_file() else None


@contextmanager
def running(storage: Path, **settings: Any) -> Iterator[Orthanc]:
    """Run an Orthanc, which is empty at first, with settings of its own for the time of a block."""
    storage.mkdir()
    orthanc, process = _launch(program() or "Orthanc", storage, settings)
    try:
        yield orthanc
    finally:
        process.kill()  # a polite stop takes seconds, and its storage is thrown away
        process.wait()


def _launch(
    program: str, storage: Path, settings: dict[str, Any]
) -> tuple[Orthanc, subprocess.Popen[bytes]]:
    """Start Orthanc on a free port; on another one if somebody else has taken it meanwhile."""
    file, log = storage / "configuration.json", storage / "log"
    for _ in range(ATTEMPTS):
        orthanc = Orthanc(_free_port(), storage)
        configuration = {
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "Plugins": [str(PLUGIN)],
            "HttpPort": orthanc.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            **settings,
        }
        file.write_text(json.dumps(configuration))
        with open(log, "wb") as output:
            process = subprocess.Popen([program, str(file)], stdout=output, stderr=output)
        if _has_started(process, log):
            return orthanc, process
        process.kill()
        process.wait()
    raise RuntimeError(f"Orthanc did not start: {log.read_text()}")


def _has_started(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until Orthanc says that it has started: an answer at its port may be another's."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if b"Orthanc has started" in log.read_bytes():
            return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
