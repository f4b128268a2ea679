"""Two runs at a time that write into one folder: neither takes what is the other's."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dcmweb.local.partial_files import make_folder
from tests.conftest import DCMWEB, clean_environment, make_instance, make_series, tree
from tests.functional.archive import BOUNDARY, LEVELS, Archive, multipart_answer
from tests.functional.origin import Answer, Handler, Origin, Request, serving

PATIENCE = 60


def begin(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DCMWEB, *arguments],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(*runs: subprocess.Popen[str]) -> None:
    for run in runs:
        _, err = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, err


def wait_for(together: threading.Barrier) -> None:
    together.wait(PATIENCE)


def send_slowly(origin: Origin, before: Callable[[int], None]) -> None:
    """Have instances sent one by one, and something done before each."""
    send, delimiter = origin._send, f"--{BOUNDARY}".encode()

    def send_by_parts(connection: socket.socket, answer: Answer) -> bool:
        if "multipart" not in str(answer.headers):
            return send(connection, answer)
        fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head = f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(answer.body)}\r\n\r\n"
        connection.sendall(head.encode() + delimiter)
        for number, part in enumerate(answer.body.split(delimiter)[1:-1]):
            before(number)
            connection.sendall(part + delimiter)
        connection.sendall(b"--\r\n")
        return True

    origin._send = send_by_parts  # type: ignore[method-assign]


def by_multipart(archive: Archive) -> Handler:
    """Answer with instances in the order of their names, under the boundary of tests."""
    files = archive.files

    def handle(request: Request) -> Answer:
        if request.path.endswith(LEVELS):
            return archive(request)
        wanted = request.path.split("/")[3]
        return multipart_answer(files[key] for key in sorted(files) if key[0] == wanted)

    return handle


@pytest.mark.parametrize("in_step", [False, True])
def test_instances_that_share_a_uid_all_have_a_place(tmp_path: Path, in_step: bool) -> None:
    studies = ["1.1", "1.2"]
    twins = [make_instance(study, f"{study}.1", f"5.{n}") for n in range(40) for study in studies]
    together = threading.Barrier(2 if in_step else 1)
    with serving(by_multipart(Archive(*twins))) as origin:
        send_slowly(origin, lambda _: wait_for(together))
        runs = []
        for study in studies:
            arguments = ("retrieve", f"studies/{study}", "-o", "out", "--layout", "{Modality}")
            runs.append(begin(tmp_path, origin.url, *arguments))
            if not in_step:
                finish(runs[-1])
        finish(*runs)
    assert sorted(tree(tmp_path / "out").values()) == sorted(twins)


def test_the_same_study_twice_at_once_is_there_once(tmp_path: Path) -> None:
    archive = Archive(*make_series(40))
    together = threading.Barrier(2)
    with serving(by_multipart(archive)) as origin:
        send_slowly(origin, lambda _: wait_for(together))
        arguments = (origin.url, "retrieve", "studies/1.2.3", "-o", "out")
        finish(*[begin(tmp_path, *arguments, "--layout", "{PatientID}") for _ in range(2)])
    found = {Path(name).name: data for name, data in tree(tmp_path / "out").items()}
    assert found == {Path(name).name: data for name, data in archive.tree().items()}
    assert len(tree(tmp_path / "out")) == 40


def test_runs_that_begin_take_no_file_of_one_that_is_at_work(tmp_path: Path) -> None:
    archive = Archive(*make_series(400))
    ended = threading.Event()
    begun = 0
    with serving(archive) as origin:
        run = begin(tmp_path, origin.url, "retrieve", "-o", "out")

        def begin_others() -> None:
            nonlocal begun
            while not ended.is_set():
                make_folder(str(tmp_path / "out"))  # as each run does
                begun += 1

        others = threading.Thread(target=begin_others)
        others.start()
        try:
            finish(run)
        finally:
            ended.set()
            others.join()
    assert begun
    assert tree(tmp_path / "out") == archive.tree()


def test_a_run_that_waits_for_its_server_loses_nothing_to_one_that_begins(tmp_path: Path) -> None:
    archive = Archive(*make_series(3))
    is_waiting, may_go_on = threading.Event(), threading.Event()

    def wait_before_the_last(number: int) -> None:
        if number == 2 and not is_waiting.is_set():
            is_waiting.set()
            may_go_on.wait(PATIENCE)

    with serving(by_multipart(archive)) as origin:
        send_slowly(origin, wait_before_the_last)
        arguments = (origin.url, "retrieve", "studies/1.2.3", "-o", "out")
        slow = begin(tmp_path, *arguments)
        assert is_waiting.wait(PATIENCE)
        finish(begin(tmp_path, *arguments))
        may_go_on.set()
        finish(slow)
    assert tree(tmp_path / "out") == archive.tree()
