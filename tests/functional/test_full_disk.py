"""A disk that is full: on a real one, small, that is mounted for a test alone."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving

pytestmark = pytest.mark.slow

Script = Callable[[str], "subprocess.CompletedProcess[str]"]
_FILL = "head -c 700K /dev/zero > disk/filler"
_COMMAND = shlex.join(DCMWEB)


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Script:
    """Run a shell script that has a disk of 1 MB in the folder `disk`."""
    (tmp_path / "disk").mkdir()
    mount = "mount -t tmpfs -o size=1m tmpfs disk"

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {script}"],
            cwd=tmp_path,
            env={**clean_environment(), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    try:
        if run("true").returncode == 0:
            return run
    except FileNotFoundError:
        pass
    pytest.skip("a disk for a test alone takes Linux with user namespaces")


def test_a_retrieval_stops_and_goes_on_when_there_is_space(
    on_a_small_disk: Script, tmp_path: Path
) -> None:
    files = make_series(8, size=80_000)
    archive = Archive(*files)

    def unannounced(request: Request) -> Answer:
        return replace(archive(request), chunk=70_000)

    with serving(unannounced) as origin:
        command = f"{_COMMAND} {origin.url} retrieve -o disk/out --skip-existing"
        result = on_a_small_disk(
            f"{_FILL}; {command}; echo $?; ls -A disk/out; "
            f"rm disk/filler; {command}; echo $?; cp -r disk/out .; ls -A out"
        )
    study = "1.2.3"
    assert result.stdout.splitlines() == ["7", study, "0", study]
    assert "No space left on device; free some space and start again" in result.stderr
    assert "Traceback" not in result.stderr
    out = [path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")]
    assert sorted(out) == sorted(files)


@pytest.mark.parametrize("option", ["--manifest", "--failed-to"])
def test_a_record_that_cannot_be_written_ends_the_run(
    on_a_small_disk: Script, tmp_path: Path, option: str
) -> None:
    write_files(tmp_path / "in", [*make_series(3), b"no DICOM"])
    (tmp_path / "in" / "0.dcm").write_bytes(b"DICM" * 100)
    fill = "cat /dev/zero > disk/filler 2> /dev/null"
    with serving(Archive()) as origin:
        command = f"{_COMMAND} {origin.url} store in/1.dcm gone.dcm in {option} disk/record"
        result = on_a_small_disk(f": > disk/record; {fill}; {command}; echo $?")
    assert result.stdout == "7\n", result.stderr
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path / "disk") == []


def test_a_manifest_on_a_full_disk_knows_all_that_it_says(
    on_a_small_disk: Script, tmp_path: Path
) -> None:
    files = make_series(300)
    write_files(tmp_path / "in", files)
    archive = Archive()
    with serving(archive) as origin:
        command = f"{_COMMAND} {origin.url} store in --manifest disk/m"
        fill = "head -c 1004K /dev/zero > disk/filler"  # room for some lines
        result = on_a_small_disk(
            f"{fill}; {command}; echo $?; rm disk/filler; {command}; echo $?; wc -l < disk/m"
        )
    assert result.stdout.split() == ["7", "0", "302"], result.stderr
    assert sorted(archive.files.values()) == sorted(files)
