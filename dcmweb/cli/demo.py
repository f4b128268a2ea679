"""`dcmweb demo`: the command line at work, on an archive of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation
from dcmweb.cli.serve import archive_module
from dcmweb.counted import plural
from dcmweb.dicom.part10 import identify_file
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, ExitCode, ProtocolError
from dcmweb.temporary import temporary_folder

_SHOWN_LINES = 14
_DCMWEB = (sys.executable, "-m", "dcmweb")
_PNG = b"\x89PNG\r\n"


@click.command(cls=Command)
@click.pass_obj
def demo(invocation: Invocation, /) -> int:
    """Show dcmweb at work: an archive on a temporary folder, and every command on it.

    What is retrieved is compared with what was stored; any difference is a failure.
    """
    samples = archive_module("samples").sample_files()
    with temporary_folder("dcmweb-demo-") as folder:
        demonstration = Demonstration(invocation, Path(folder))
        demonstration.copy(samples)
        with demonstration.archive() as base_url:
            demonstration.walk_through(base_url)
    invocation.console.data("All is well: what came back is what was stored, byte for byte.")
    invocation.console.data("An archive to keep, with a page to look at: dcmweb serve FOLDER")
    return ExitCode.OK


class Demonstration:
    """Commands run one after the other in a folder, each shown before its output."""

    def __init__(self, invocation: Invocation, folder: Path) -> None:
        self._say = invocation.console.data
        self._folder = folder
        self._images = folder / "images"
        self._archive = folder / "archive"

    def copy(self, samples: list[str]) -> None:
        """Put the sample files where the commands find them."""
        self._images.mkdir()
        self._archive.mkdir()
        for sample in samples:
            shutil.copy(sample, self._images)
        self._say(f"# {len(samples)} DICOM files that come with pydicom are in ./images")

    @contextmanager
    def archive(self) -> Iterator[str]:
        """Run an archive for the time of a block, which gets its base URL."""
        arguments = ["serve", "./archive", "--port", "0"]
        self._say(f"\n$ {_shown(arguments)} &")
        server = subprocess.Popen(  # noqa: S603 - this very program
            [*_DCMWEB, *arguments],
            cwd=self._folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            base_url = (server.stdout.readline() if server.stdout else "").strip()
            if not base_url:
                raise ProtocolError("the archive did not start")
            self._say(base_url)
            yield base_url
        finally:
            server.terminate()
            server.communicate()

    def walk_through(self, base_url: str) -> None:
        """Store, search, retrieve and delete, and look at what came of it."""
        first = identify_file(str(self._images / "CT_small.dcm")).identity.resource
        study = Resource(first.study)
        self._command(base_url, "store", "./images")
        self._command(base_url, "search", "studies", "PatientName=*MR*")
        self._command(base_url, "retrieve", "--output", "./data")
        self._compare()
        self._command(base_url, "retrieve", f"{first}/metadata")
        self._command(
            base_url, "retrieve", str(first), "--type", "image/png", "--output", "./pictures"
        )
        self._look_at_pictures()
        self._command(base_url, "delete", str(study))
        left = self._command(base_url, "search", "studies", f"StudyInstanceUID={first.study}")
        _check(left.strip() == "[]", "the study that was deleted is still found")

    def _command(self, base_url: str, *arguments: str) -> str:
        """Run a command, show it and what it prints; it has to succeed. Returns its stdout."""
        self._say(f"\n$ {_shown([base_url, *arguments])}")
        done = subprocess.run(  # noqa: S603 - this very program
            [*_DCMWEB, base_url, *arguments],
            cwd=self._folder,
            env=_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        lines = (done.stderr + done.stdout).splitlines()
        for line in lines[:_SHOWN_LINES]:
            self._say(line)
        if len(lines) > _SHOWN_LINES:
            self._say(f"... ({len(lines) - _SHOWN_LINES} more lines)")
        _check(done.returncode == 0, f"the command ended with exit code {done.returncode}")
        return done.stdout

    def _compare(self) -> None:
        """Compare what was retrieved with what was stored, by content."""
        stored = sorted(path.read_bytes() for path in self._images.iterdir())
        retrieved = sorted(path.read_bytes() for path in (self._folder / "data").rglob("*.dcm"))
        _check(stored == retrieved, "what was retrieved is not what was stored")
        files = plural(len(stored), "file")
        self._say(f"# {files} stored, {len(retrieved)} retrieved: all the same bytes")

    def _look_at_pictures(self) -> None:
        pictures = list((self._folder / "pictures").rglob("*.png"))
        _check(len(pictures) == 1, "there is not one picture of the instance")
        _check(pictures[0].read_bytes().startswith(_PNG), "the picture is not a PNG")
        self._say(f"# {pictures[0].name} is a PNG of {plural(pictures[0].stat().st_size, 'byte')}")


def _shown(arguments: list[str]) -> str:
    return shlex.join(["dcmweb", *arguments])


def _environment() -> dict[str, str]:
    """Leave out options and credentials, which are for other servers."""
    return {n: value for n, value in os.environ.items() if not n.upper().startswith("DCMWEB_")}


def _check(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise DcmwebError(f"the demonstration failed: {otherwise}")
