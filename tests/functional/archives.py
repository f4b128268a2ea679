"""The embedded archive as the installed command runs it, and what one says to it."""

from __future__ import annotations

import io
import itertools
import json
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from dcmweb.dicom.native_xml import parse_native_xml
from dcmweb.http import media_types
from dcmweb.http.multipart import read_parts
from tests.conftest import DCMWEB, clean_environment, make_instance, make_series, tree
from tests.functional.archive import BOUNDARY, LEVELS, multipart_body

DATASET = "projects/p/locations/l/datasets/d"
STORE = f"{DATASET}/dicomStores/s/dicomWeb"
DIALECTS = ("dicomweb", f"v1/{STORE}", f"v1beta1/{STORE}")
STANDARD, GOOGLE, GOOGLE_BETA = DIALECTS
AS_STORED = "application/dicom; transfer-syntax=*"
ALL_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
XML_PARTS = 'multipart/related; type="application/dicom+xml"'
LONG = 30.0  # seconds in which a server should have started or ended

Part = tuple[dict[str, str], bytes]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Running:
    """An archive at work; `root` is the URL of the server, without the path of a dialect."""

    folder: Path
    root: str
    process: subprocess.Popen[bytes]
    session: requests.Session

    @property
    def url(self) -> str:
        return f"{self.root}/{STANDARD}"

    @property
    def port(self) -> int:
        return int(self.root.rpartition(":")[2])

    def __call__(
        self, method: str, path: str, accept: str | None = None, **how: Any
    ) -> requests.Response:
        """Make a request; a path begins with that of a dialect."""
        headers: dict[str, str | None] = {"Accept": accept, **how.pop("headers", {})}
        url = path if "://" in path else f"{self.root}/{path}"
        return self.session.request(method, url, headers=headers, timeout=LONG, **how)

    def get(self, path: str, accept: str | None = None, **how: Any) -> requests.Response:
        return self("GET", f"{STANDARD}/{path}", accept, **how)

    def files(self) -> dict[str, bytes]:
        """The files of the folder, but not those that the archive works with."""
        return {n: data for n, data in tree(self.folder).items() if not n.startswith(".dcmweb/")}

    def partial_files(self) -> list[str]:
        return [name for name in tree(self.folder) if name.endswith(".part")]


def start(folder: Path, *options: str, log: Path, env: Mapping[str, str] = {}) -> Running:
    """Start the command on a folder, its stderr in a file; return once it tells its URL."""
    with log.open("ab") as err:
        process = subprocess.Popen(
            [*DCMWEB, "serve", str(folder), "--port", "0", *options],
            env={**clean_environment(), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
        )
    assert process.stdout
    with process.stdout as out:
        url = out.readline().decode().strip()
    session = requests.Session()
    session.trust_env = False
    return Running(folder, url.removesuffix(f"/{STANDARD}"), process, session)


def stop(server: Running, number: int = signal.SIGTERM) -> int:
    """End an archive by a signal; its exit code."""
    server.session.close()
    server.process.send_signal(number)
    try:
        return server.process.wait(LONG)
    finally:
        server.process.kill()
        server.process.wait()


@contextmanager
def running(folder: Path, *options: str, env: Mapping[str, str] = {}) -> Iterator[Running]:
    """Run an archive for the time of a block, in which it must not meet a defect of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    server = start(folder, *options, log=log, env=env)
    try:
        yield server
    finally:
        code = stop(server)
    assert "Traceback" not in log.read_text()
    assert code == 143


# What is sent.


def new_series(count: int = 1, size: int = 512) -> list[bytes]:
    """Make instances of a study that no other test has."""
    study = f"1.2.{next(_numbers)}"
    if count == 1:
        return [make_instance(study, f"{study}.1", f"{study}.1.1", size)]
    return make_series(count, study, f"{study}.1")


def make_image(frames: int) -> bytes:
    """Make an image of several frames, of 16 rows and columns."""
    return changed(
        make_instance(size=frames * 512),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        NumberOfFrames=frames,
        Columns=16,
    )


def changed(data: bytes, **values: Any) -> bytes:
    """Give attributes of an instance other values; None takes one out."""
    dataset = read(data)
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "SOPInstanceUID" in dataset:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def sample(name: str) -> bytes:
    """Read a file that comes with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def multipart(inner: str = "application/dicom") -> dict[str, str]:
    return {"Content-Type": f'multipart/related; type="{inner}"; boundary={BOUNDARY}'}


def post(
    server: Running, parts: Iterable[bytes], path: str = f"{STANDARD}/studies", accept: str = ""
) -> requests.Response:
    """Store instances as the parts of one request."""
    return server("POST", path, accept or None, data=multipart_body(parts), headers=multipart())


def body_of(parts: Iterable[tuple[Mapping[str, str], bytes]]) -> bytes:
    """Make a multipart body whose parts have header fields of their own."""
    body = b""
    for headers, content in parts:
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"--{BOUNDARY}\r\n{fields}\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


# What comes back.


def read(data: bytes) -> FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def path_of(data: bytes, levels: int = 3) -> str:
    """The path of an instance below a base URL, or of what it belongs to."""
    return "/".join(f"{name}/{uid}" for name, uid in zip(LEVELS[:levels], uids(data), strict=False))


def uids(data: bytes) -> tuple[str, str, str]:
    dataset = read(data)
    return (
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
    )


def parts_of(response: requests.Response) -> list[Part]:
    """Split a multipart answer: header fields in lower case, and bodies."""
    content_type = media_types.parse(response.headers["Content-Type"])
    assert content_type.is_multipart, response.text
    stream = io.BytesIO(response.content)
    parts = read_parts(stream.read, content_type.parameters["boundary"])
    return [(dict(part.headers), b"".join(part.body)) for part in parts]


def bodies(response: requests.Response) -> list[bytes]:
    return [body for _, body in parts_of(response)]


def rows_of(response: requests.Response) -> list[dict[str, Any]]:
    """The data sets of an answer, in JSON or XML; none of one without content."""
    if response.status_code == 204:
        assert not response.content
        return []
    assert response.status_code == 200, response.text
    if "json" in response.headers["Content-Type"]:
        rows: list[dict[str, Any]] = json.loads(response.content)
        return rows
    return [parse_native_xml(body) for body in bodies(response)]


def module_of(response: requests.Response) -> dict[str, Any]:
    """The store response module of an answer, in JSON or XML."""
    if "xml" in response.headers["Content-Type"]:
        return parse_native_xml(response.content)
    module: dict[str, Any] = json.loads(response.content)
    return module


def values(dataset: Mapping[str, Any], tag: str) -> list[Any]:
    found: list[Any] = dataset.get(tag, {}).get("Value", [])
    return found


def value(dataset: Mapping[str, Any], tag: str) -> Any:
    """The only value of an element."""
    (only,) = values(dataset, tag)
    return only
