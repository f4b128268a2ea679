"""A real Orthanc with its DICOMweb plugin, from its Debian packages."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.servers import process
from tests.live.servers.process import NotInstalled, Program, Server

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
ORTHANC = Program("Orthanc", "orthanc orthanc-dicomweb", (PLUGIN,))


@dataclass(frozen=True)
class Orthanc(Server):
    """A running Orthanc."""

    user: str = ""  # with AuthenticationEnabled: one of its users, "name:password"

    @property
    def url(self) -> str:
        """The BASE_URL of the DICOMweb service."""
        return f"{self.root}/dicom-web"

    @property
    def storage(self) -> Path:
        return self.log.parent

    def count_instances(self) -> int:
        request = urllib.request.Request(f"{self.root}/statistics")
        if self.user:
            login = base64.b64encode(self.user.encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(json.load(answer)["CountInstances"])


def missing() -> str:
    """Return how to install Orthanc, or nothing if it is installed."""
    try:
        ORTHANC.path()
    except NotInstalled as error:
        return str(error)
    return ""


@contextmanager
def running(storage: Path, **settings: Any) -> Iterator[Orthanc]:
    """Run an Orthanc, which is empty at first, with settings of its own for the time of a block."""
    program = ORTHANC.path()
    storage.mkdir(parents=True)
    file = storage / "configuration.json"

    def command(port: int) -> list[str]:
        configuration = {
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "Plugins": [str(PLUGIN)],
            "HttpPort": port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            **settings,
        }
        file.write_text(json.dumps(configuration))
        return [program, str(file)]

    users = settings.get("RegisteredUsers", {}) if settings.get("AuthenticationEnabled") else {}
    user = next((f"{name}:{password}" for name, password in users.items()), "")
    # An answer at its port may be another's.
    with process.running("Orthanc", storage, command, says="Orthanc has started") as server:
        yield Orthanc(server.name, server.port, server.log, server.process, user)
