"""What tests of all kinds share: the installed command, and DICOM files made for them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests import forks

DCMWEB = [sys.executable, "-m", "dcmweb"]


@dataclass(frozen=True)
class Result:
    """What a run of the command left: exit code and streams."""

    code: int
    out: str
    err: str
    data: bytes = b""  # what `out` is read from

    @property
    def last(self) -> str:
        """The last line on stderr, without its time."""
        return self.err.splitlines()[-1].partition(" -- ")[2]


Dcmweb = Callable[..., Result]


def pytest_configure() -> None:
    """Let commands be interrupted, also where a shell began the tests in the background.

    What it begins so ignores SIGINT, and so would every command that the tests begin.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def clean_environment() -> dict[str, str]:
    """The environment without what would change where requests go and with what."""
    dropped = ("DCMWEB_", "GOOGLE_", "CLOUDSDK_", "AWS_", "REQUESTS_", "CURL_", "SSL_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once, not each time
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        kept.pop(name, None)
        kept.pop(name.upper(), None)
    kept.pop("NETRC", None)
    return {**kept, "NO_GCE_CHECK": "true", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at a time than there are processors, as many of them wait most of the time."""
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or 2 * (os.cpu_count() or 1))


@pytest.fixture(scope="session")
def fork_server() -> Iterator[forks.ForkServer]:
    """The process whose forks run commands."""
    server = forks.ForkServer(clean_environment())
    yield server
    server.close()


@pytest.fixture
def dcmweb(tmp_path: Path, request: pytest.FixtureRequest) -> Dcmweb:
    """Run the command in an empty folder, as a script would."""
    home = tmp_path / "home"
    home.mkdir()

    def run(
        *args: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 60,
        text: str = "",
    ) -> Result:
        command = list(map(str, args))
        folder, changed = cwd or tmp_path, {"HOME": str(home), **(env or {})}
        environment = {**clean_environment(), **changed}
        if forks.is_possible(changed):
            server: forks.ForkServer = request.getfixturevalue("fork_server")
            code, data, errors = server.run(command, folder, environment, text.encode(), timeout)
        else:
            done = subprocess.run(
                [*DCMWEB, *command],
                cwd=folder,
                env=environment,
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
            code, data, errors = done.returncode, done.stdout, done.stderr
        out, err = data.decode(errors="replace"), errors.decode()
        assert "Traceback" not in err
        return Result(code, out, err, data)

    return run


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, by their paths relative to it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def make_instance(
    study: str = "1.2.3", series: str = "1.2.3.4", instance: str = "1.2.3.4.5", size: int = 512
) -> bytes:
    """Make a small CT instance with so many bytes of pixel data."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = instance
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.PatientName = "Test^Someone"
    dataset.PatientID = "secret-id-17"
    dataset.Modality = "CT"
    rows = 16 if size < 1_000_000 else 16_000  # columns are a number of 16 bits
    dataset.Rows, dataset.Columns = rows, size // (2 * rows)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = os.urandom(size)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def make_series(
    count: int, study: str = "1.2.3", series: str = "1.2.3.4", size: int = 512
) -> list[bytes]:
    """Make the instances of a series, their UIDs ending in 1, 2, 3 and so on."""
    return [make_instance(study, series, f"{series}.{n}", size) for n in range(1, count + 1)]


def write_files(folder: Path, files: list[bytes]) -> list[Path]:
    """Write files as 1.dcm, 2.dcm and so on, numbered so that they sort."""
    folder.mkdir(parents=True, exist_ok=True)
    width = len(str(len(files)))
    paths = [folder / f"{number:0{width}}.dcm" for number in range(1, len(files) + 1)]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths
