"""The client on Windows: on Windows itself, or started under wine by tests that run here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from dcmweb.local.windows import IS_WINDOWS
from tests.conftest import DCMWEB as ON_THIS_SYSTEM
from tests.conftest import clean_environment, make_series, tree, write_files
from tests.functional.archive import LEVELS, Archive
from tests.functional.origin import Answer, Handler, Request, serving

UNDER_WINE = os.environ.get("DCMWEB_WINDOWS_PYTHON", "")
DCMWEB = ["wine", UNDER_WINE, "-m", "dcmweb"] if UNDER_WINE else ON_THIS_SYSTEM
PATIENCE = 120

pytestmark = pytest.mark.skipif(
    not (UNDER_WINE or IS_WINDOWS), reason="no Python for Windows: python tests/windows/run.py"
)


def windows(path: Path) -> str:
    return str(path) if IS_WINDOWS else "Z:" + str(path).replace("/", "\\")


def begin(cwd: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*DCMWEB, *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-Break goes to the whole group of a process.
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def end(process: subprocess.Popen[bytes], text: bytes = b"") -> tuple[int, bytes, str]:
    out, err = process.communicate(text, timeout=PATIENCE)
    words = err.decode("utf-8", "replace")
    assert "Traceback" not in words
    return process.returncode, out, words


def run(cwd: Path, *arguments: str, text: bytes = b"") -> tuple[int, bytes, str]:
    return end(begin(cwd, *arguments), text)


@pytest.mark.parametrize("mask", [r"{top}\in\*.dcm", r".\**.DCM", r"in\1.dcm"])
def test_files_are_found_by_paths_of_windows(tmp_path: Path, mask: str) -> None:
    files = make_series(3)
    write_files(tmp_path / "in", files)
    archive = Archive()
    with serving(archive) as origin:
        code, _, err = run(tmp_path, origin.url, "store", mask.format(top=windows(tmp_path)))
    assert code == 0, err
    assert set(archive.files.values()) == set(files[:1] if mask.endswith("1.dcm") else files)
    assert r"\1.dcm uploaded as" in err


def test_a_list_with_line_ends_of_windows_comes_through_a_pipe(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", make_series(2))
    archive = Archive()
    text = "".join(windows(path) + "\r\n" for path in paths).encode()
    with serving(archive) as origin:
        code, _, err = run(tmp_path, origin.url, "store", "--files-from", "-", text=text)
    assert code == 0, err
    assert len(archive.files) == 2


def test_names_of_all_scripts_reach_a_log_in_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "山.dcm").write_bytes(make_series(1)[0])
    with serving(Archive()) as origin:
        code, out, err = run(tmp_path, origin.url, "store", "--json", "*.dcm")
    assert code == 0, err
    assert b"\r" not in out


@pytest.mark.parametrize("depth", [0, 10])
def test_what_was_retrieved_is_not_retrieved_again(tmp_path: Path, depth: int) -> None:
    archive = Archive(*make_series(3))
    folder = "\\".join(["out", *["a" * 30] * depth])
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", "-o", folder, "--manifest", "m")
        code, _, err = run(tmp_path, *arguments)
        assert code == 0, err
        found = tmp_path / folder.replace("\\", "/")
        assert tree(found) == archive.tree()
        next(found.rglob("*.2.dcm")).unlink()
        code, _, err = run(tmp_path, *arguments)
    assert code == 0, err
    assert "retrieved 1, done before 2" in err
    assert tree(found) == archive.tree()


def test_instances_are_sorted_into_folders(tmp_path: Path) -> None:
    archive = Archive(*make_series(2))
    arguments = ("retrieve", "-o", "out", "--layout", r"{PatientID}\{Modality}")
    with serving(archive) as origin:
        code, _, err = run(tmp_path, origin.url, *arguments)
    assert code == 0, err
    assert sorted(tree(tmp_path / "out")) == [f"secret-id-17/CT/1.2.3.4.{n}.dcm" for n in (1, 2)]


def waiting(archive: Archive, reached: threading.Event, may_go_on: threading.Event) -> Handler:
    """The archive, which lets a retrieval wait."""

    def handle(request: Request) -> Answer:
        if not request.path.endswith(LEVELS):
            reached.set()
            may_go_on.wait(PATIENCE)
        return archive(request)

    return handle


def test_a_second_run_does_not_get_the_manifest_nor_the_files_of_the_first(tmp_path: Path) -> None:
    archive = Archive(*make_series(2))
    reached, may_go_on = threading.Event(), threading.Event()
    with serving(waiting(archive, reached, may_go_on)) as origin:
        arguments = (origin.url, "retrieve", "studies/1.2.3", "-o", "out", "--manifest", "m")
        first = begin(tmp_path, *arguments)
        assert reached.wait(PATIENCE)
        code, _, err = run(tmp_path, *arguments)
        may_go_on.set()
        assert end(first)[0] == 0
    assert code == 7
    assert "in use by another run" in err
    assert tree(tmp_path / "out") == archive.tree()


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    archive = Archive(*make_series(2, size=200_000))
    reached = threading.Event()

    def halting(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith(LEVELS) or reached.is_set():
            return answer
        reached.set()
        return Answer(answer.status, answer.body, answer.headers, stall=len(answer.body) // 3)

    with serving(halting) as origin:
        arguments = (origin.url, "retrieve", "studies/1.2.3", "-o", "out")
        first = begin(tmp_path, *arguments)
        while not list((tmp_path / "out").glob(".dcmweb-*.part")):
            assert first.poll() is None
        first.kill()
        first.communicate(timeout=PATIENCE)
        code, _, err = run(tmp_path, *arguments)
    assert code == 0, err
    assert tree(tmp_path / "out") == archive.tree()


# Under wine SIGINT makes Ctrl-C; Windows sends Ctrl-Break alone to one process.
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)


def test_ctrl_c_stops_a_run_in_good_order(tmp_path: Path) -> None:
    archive = Archive(*make_series(2))
    reached, may_go_on = threading.Event(), threading.Event()
    with serving(waiting(archive, reached, may_go_on)) as origin:
        process = begin(tmp_path, origin.url, "retrieve", "studies/1.2.3", "-o", "out")
        assert reached.wait(PATIENCE)
        process.send_signal(STOP)
        code, _, err = end(process)
        may_go_on.set()
    assert code == (143 if IS_WINDOWS else 130)
    assert "interrupted" in err
    assert tree(tmp_path / "out") == {}
