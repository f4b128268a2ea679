"""`store --if-exists replace` where something goes wrong in between: nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, write_files
from tests.functional.origin import Answer, Request, serving
from tests.functional.servers import Google, Kind, Orthanc

API = ("--orthanc-api", "auto")
REPLACE = ("--if-exists", "replace")
INSTANCE = "1.2.3.4.1"


class Faulty(Orthanc):
    """An Orthanc that answers some requests otherwise, by a function; None is as usual."""

    def __init__(self, *files: bytes) -> None:
        super().__init__(*files)
        self.fault: Callable[[Request], Answer | None] = lambda _: None

    def __call__(self, request: Request) -> Answer:
        if (answer := self.fault(request)) is not None:
            self.requests.append(request)
            return answer
        return super().__call__(request)

    @property
    def was_deleted(self) -> bool:
        """Whether the old instance was deleted."""
        return any(request.method == "DELETE" for request in self.requests)


def copies() -> list[Path]:
    """The copies that were kept."""
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    return list(folder.glob("dcmweb-replaced-*/*/*.dcm"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder for temporary files of its own, as environment."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return {"TMPDIR": str(folder)}


def replaced(
    dcmweb: Dcmweb, server: Kind, new: bytes, tmp_path: Path, env: dict[str, str]
) -> tuple[int, str]:
    write_files(tmp_path / "in", [new])
    with serving(server) as origin:
        url = server.url(origin.port)
        result = dcmweb("--retries", "1", url, "store", "in", *REPLACE, *API, env=env)
    return result.code, result.err


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Answer(400, b'{"Message": "Bad file format"}'), "Bad file format"),
        (Answer(500, b"oops"), "answered 500"),
        (Answer(507), "answered 507"),
        (Answer(cut=-1), "broke"),
        (Answer(200, b"{}"), "answered 200 without a word"),
    ],
)
def test_the_old_one_is_put_back_if_the_new_one_is_not_accepted(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str], refusal: Answer, words: str
) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)
    server.fault = lambda request: (
        refusal if request.method == "POST" and server.was_deleted and new in request.body else None
    )
    code, err = replaced(dcmweb, server, new, tmp_path, temporary)
    assert code == 1
    assert words in err
    assert "the old one was put back" in err
    assert server.was_deleted
    assert list(server.files.values()) == [old]
    assert copies() == []


def test_the_copy_stays_where_the_old_one_cannot_be_put_back(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str]
) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)
    server.fault = lambda request: (
        Answer(500) if request.path.endswith("/studies") and server.was_deleted else None
    )
    code, err = replaced(dcmweb, server, new, tmp_path, temporary)
    assert code == 1
    assert server.files == {}
    kept = re.search(r"the old one was deleted, and its copy is (\S+\.dcm)", err)
    assert kept
    assert Path(kept[1]).read_bytes() == old
    again = dcmweb  # a later run stores the new one
    server.fault = lambda _: None
    with serving(server) as origin:
        result = again(server.url(origin.port), "store", "in", *REPLACE, *API, env=temporary)
    assert (result.code, list(server.files.values())) == (0, [new])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_cannot_be_fetched_or_deleted_is_kept(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str], method: str
) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)
    server.fault = lambda request: (
        Answer(500)
        if request.method == method and "/instances" in request.path and "?" not in request.target
        else None
    )
    code, err = replaced(dcmweb, server, new, tmp_path, temporary)
    assert (code, list(server.files.values())) == (1, [old])
    assert "not replaced" in err
    assert copies() == []


def test_a_deletion_whose_answer_got_lost_is_looked_at(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str]
) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)

    def fault(request: Request) -> Answer | None:
        if request.method != "DELETE":
            return None
        server.outside(request)
        return Answer(cut=-1)

    server.fault = fault
    code, err = replaced(dcmweb, server, new, tmp_path, temporary)
    assert (code, list(server.files.values())) == (0, [new])
    assert "it replaces other bytes" in err


def test_a_damaged_old_copy_stops_the_replacement(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str]
) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)

    def fault(request: Request) -> Answer | None:
        if request.method == "GET" and request.path.endswith(f"/instances/{INSTANCE}"):
            return Answer(200, old, {"Content-Type": "application/dicom"}, cut=len(old) // 2)
        return None

    server.fault = fault
    code, _ = replaced(dcmweb, server, new, tmp_path, temporary)
    assert (code, list(server.files.values())) == (1, [old])
    assert not server.was_deleted


def test_a_server_that_cannot_be_asked_is_sent_nothing(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str]
) -> None:
    server = Faulty()
    server.fault = lambda request: Answer(501) if request.method == "GET" else None
    code, err = replaced(dcmweb, server, make_series(1)[0], tmp_path, temporary)
    assert (code, server.files) == (1, {})
    assert "the server cannot be asked whether it has it" in err


def test_a_conflict_that_no_search_showed_is_replaced_as_well(
    dcmweb: Dcmweb, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """Google's searches may lag, and name an instance only as it is refused."""
    old, new = make_series(1)[0], make_series(1)[0]

    class Lagging(Google):
        def __call__(self, request: Request) -> Answer:
            if request.method == "GET" and "SOPInstanceUID" in request.query:
                return Answer(204)
            return super().__call__(request)

    server = Lagging(old)
    write_files(tmp_path / "in", [new])
    with serving(server) as origin:
        url = server.url(origin.port)
        failing = dcmweb(url, "store", "in", "--if-exists", "fail")
        assert (failing.code, list(server.files.values())) == (1, [old])
        result = dcmweb(url, "store", "in", *REPLACE, env=temporary)
    assert (result.code, list(server.files.values())) == (0, [new])


@pytest.mark.slow
def test_an_interrupt_in_the_middle_leaves_the_new_one_or_the_old_one(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    old, new = make_series(3), make_series(3)
    server = Faulty(*old)
    is_deleted, goes_on = threading.Event(), threading.Event()

    def fault(request: Request) -> Answer | None:
        if request.method == "POST" and server.was_deleted and not goes_on.is_set():
            is_deleted.set()
            goes_on.wait(20)
        return None

    server.fault = fault
    write_files(tmp_path / "in", new)
    with serving(server) as origin:
        command = [*DCMWEB, server.url(origin.port), "store", "in", *REPLACE, *API]
        environment = {**clean_environment(), **temporary}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert is_deleted.wait(20)
            process.send_signal(signal.SIGINT)
            threading.Timer(2.5, goes_on.set).start()  # longer than others have to leave
            _, err = process.communicate(timeout=40)
        assert process.returncode == 130
        assert "in/1.dcm uploaded as" in err
        for name in ("2", "3"):
            assert f"in/{name}.dcm failed: interrupted before it was sent" in err
        assert sorted(server.files.values()) == sorted([new[0], *old[1:]])
        assert copies() == []
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert (done.returncode, sorted(server.files.values())) == (0, sorted(new))


@pytest.mark.slow
def test_a_killed_run_leaves_the_copy(tmp_path: Path, temporary: dict[str, str]) -> None:
    old, new = make_series(1)[0], make_series(1)[0]
    server = Faulty(old)
    is_deleted = threading.Event()

    def fault(request: Request) -> Answer | None:
        if request.method == "POST" and server.was_deleted:
            is_deleted.set()
            return Answer(200, b"{}", stall=0)
        return None

    server.fault = fault
    write_files(tmp_path / "in", [new])
    with serving(server) as origin:
        command = [*DCMWEB, server.url(origin.port), "store", "in", *REPLACE, *API]
        environment = {**clean_environment(), **temporary}
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
            assert is_deleted.wait(20)
            process.kill()
    assert [path.read_bytes() for path in copies()] == [old]
