"""`serve FOLDER -- COMMAND`, the place of the index, and the log of requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree, write_files
from tests.functional.archives import (
    AS_STORED,
    GOOGLE,
    LONG,
    new_series,
    path_of,
    post,
    rows_of,
    running,
)

PYTHON = [sys.executable, "-c"]


@pytest.mark.parametrize("code", [0, 3, 200])
def test_a_command_finds_the_urls_and_its_exit_code_is_that_of_serve(
    dcmweb: Dcmweb, tmp_path: Path, code: int
) -> None:
    write_files(tmp_path / "in", make_series(2))
    script = (
        "import os, sys, urllib.request\n"
        "for name in ('DCMWEB_URL', 'DCMWEB_GOOGLE_URL'):\n"
        "    url = os.environ[name] + '/instances'\n"
        "    print(url, urllib.request.urlopen(url).status)\n"
        f"sys.exit({code})"
    )
    result = dcmweb("serve", "in", "--port", "0", "--", *PYTHON, script, "--port", "x")
    assert result.code == code
    standard, google = result.out.splitlines()
    assert standard.startswith("http://127.0.0.1:")
    assert standard.endswith("/dicomweb/instances 200")
    assert google.endswith("/dicomWeb/instances 200")
    assert "Serving 2 instances" in result.err


def test_the_script_of_the_readme_begins_from_nothing(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write_files(tmp_path / "in", make_series(3))
    client = " ".join(DCMWEB)
    script = (
        f'{client} "$DCMWEB_URL" store in && {client} "$DCMWEB_GOOGLE_URL" search instances --count'
    )
    result = dcmweb("serve", "folder", "--port", "0", "--", "sh", "-c", script)
    assert (result.code, result.out.strip()) == (0, "3")


def test_a_command_that_a_signal_ends(dcmweb: Dcmweb, tmp_path: Path) -> None:
    result = dcmweb("serve", ".", "--port", "0", "--", "sh", "-c", "kill -9 $$")
    assert result.code == 137


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_ends_the_command_too(tmp_path: Path, number: int, code: int) -> None:
    script = "import os, time, pathlib\npathlib.Path('new').write_text(str(os.getpid()))\n"
    script += "os.rename('new', 'pid')\ntime.sleep(60)"
    (tmp_path / "in").mkdir()
    process = subprocess.Popen(
        [*DCMWEB, "serve", "in", "--port", "0", "--", *PYTHON, script],
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + LONG
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        process.send_signal(number)
        assert process.wait(LONG) == code
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        process.kill()
        process.wait()


# The index elsewhere.


def test_the_index_may_lie_elsewhere(tmp_path: Path) -> None:
    put, stored = new_series(), new_series()
    folder, index = tmp_path / "folder", tmp_path / "index"
    write_files(folder, put)
    for _ in range(2):
        with running(folder, "--index", str(index)) as server:
            assert post(server, stored).status_code == 200
            for data in put + stored:
                assert server.get(path_of(data), AS_STORED).content == data
        assert not (folder / ".dcmweb").exists()
        assert (index / "index.sqlite3").exists()
        assert sorted(tree(folder).values()) == sorted(put + stored)
    with running(folder, "--index", str(index)) as server:
        assert server("DELETE", f"dicomweb/{path_of(stored[0])}").status_code == 204
        assert server("DELETE", f"dicomweb/{path_of(put[0])}").status_code == 204
    assert list(tree(folder).values()) == put
    with running(folder, "--index", str(index)) as server:
        assert rows_of(server.get("studies")) == []


def test_the_folder_stays_when_its_last_instance_is_deleted(tmp_path: Path) -> None:
    (data,) = new_series()
    with running(tmp_path / "folder", "--index", str(tmp_path / "index")) as server:
        assert post(server, [data]).status_code == 200
        assert server("DELETE", f"dicomweb/{path_of(data)}").status_code == 204
        assert (tmp_path / "folder").is_dir()
        assert post(server, [data]).status_code == 200


def test_an_index_within_the_folder_is_not_taken_for_images(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write_files(folder, new_series())
    for _ in range(2):
        with running(folder, "--index", str(folder / "index")) as server:
            assert len(rows_of(server.get("instances"))) == 1
    assert "not served" not in (tmp_path / "folder.log").read_text()


def test_an_index_belongs_to_one_folder(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "a", "--index", str(tmp_path / "index")):
        pass
    result = dcmweb("serve", "b", "--port", "0", "--index", tmp_path / "index")
    assert (result.code, result.out) == (7, "")
    assert "another folder" in result.err


# The log of requests.


def test_the_log_names_requests_without_the_values_of_their_queries(tmp_path: Path) -> None:
    with running(tmp_path / "folder", "-v") as server:
        server.get("studies", params={"PatientName": "Secret^Jane", "limit": "1"})
        server.get("studies/1.2.3", params="PatientID=4711")
        server("GET", f"{GOOGLE}/studies?access_token=t0ken")
    log = (tmp_path / "folder.log").read_text()
    assert "GET /dicomweb/studies?PatientName,limit 204 " in log
    assert "GET /dicomweb/studies/1.2.3?PatientID 404 " in log
    assert not any(secret in log for secret in ("Secret", "Jane", "4711", "t0ken"))
    with running(tmp_path / "quiet") as server:
        server.get("studies")
    assert "GET" not in (tmp_path / "quiet.log").read_text()
