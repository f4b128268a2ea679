"""A real Orthanc with its DICOMweb plugin, started anew for each test from its Debian packages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
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


StartOrthanc = Callable[..., Orthanc]


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[StartOrthanc]:
    """Start Orthanc with settings of its own; it is stopped after the test."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.is_file():
        reason = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(reason)
        pytest.skip(reason)
    running: list[subprocess.Popen[bytes]] = []

    def start(**settings: Any) -> Orthanc:
        orthanc = Orthanc(_free_port(), tmp_path / f"orthanc{len(running)}")
        running.append(_launch(program, orthanc, settings))
        _wait_until_it_answers(orthanc, running[-1])
        return orthanc

    yield start
    for process in running:
        process.kill()  # a polite stop takes seconds, and its storage is thrown away
        process.wait()


@pytest.fixture
def orthanc(start_orthanc: StartOrthanc) -> Orthanc:
    """An empty Orthanc."""
    return start_orthanc()


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
    with _log(orthanc) as log:
        return subprocess.Popen([program, str(file)], stdout=log, stderr=log)


@contextmanager
def _log(orthanc: Orthanc) -> Iterator[Any]:
    with open(orthanc.storage / "log", "wb") as log:
        yield log


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
    pytest.fail(f"Orthanc did not start: {(orthanc.storage / 'log').read_text()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
