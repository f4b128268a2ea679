"""A real Orthanc with its DICOMweb plugin, from its Debian packages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"
START_SECONDS = 30


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
    orthanc = Orthanc(_free_port(), storage)
    process = _launch(program() or "Orthanc", orthanc, settings)
    try:
        _wait_until_it_answers(orthanc, process)
        yield orthanc
    finally:
        process.kill()  # a polite stop takes seconds, and its storage is thrown away
        process.wait()


def _launch(program: str, orthanc: Orthanc, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    orthanc.storage.mkdir()
    configuration = {
        "StorageDirectory": str(orthanc.storage),
        "IndexDirectory": str(orthanc.storage),
        "Plugins": [str(PLUGIN)],
        "HttpPort": orthanc.port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        **settings,
    }
    file = orthanc.storage / "configuration.json"
    file.write_text(json.dumps(configuration))
    with open(orthanc.storage / "log", "wb") as log:
        return subprocess.Popen([program, str(file)], stdout=log, stderr=log)


def _wait_until_it_answers(orthanc: Orthanc, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{orthanc.root}/system", timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers, if only that it wants a password
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"Orthanc did not start: {(orthanc.storage / 'log').read_text()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
