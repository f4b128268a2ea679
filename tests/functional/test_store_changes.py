"""`store` of files that change, vanish or cannot be read between being looked at and sent."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, sent_parts
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import (
    became,
    first,
    listening,
    outcomes,
    posts,
    read_body,
    read_head,
    taking,
)

UPLOADED, FAILED = "uploaded", "failed"
LARGE = make_series(1)[0] + b"\0" * 8_000_000  # more than a server takes that does not read
DAY = 24 * 3600


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "grows": (lambda path: path.write_bytes(path.read_bytes() + b"more"), "changed"),
    "shrinks": (lambda path: os.truncate(path, 500), "changed"),
    "is emptied": (lambda path: os.truncate(path, 0), "changed"),
    "is written anew": (lambda path: os.utime(path, (DAY, DAY)), "changed"),
    "vanishes": (os.unlink, "No such file"),
    "turns into a folder": (make_a_folder, "the file changed"),
    "turns into a pipe": (make_a_pipe, "changed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changes_before_it_is_sent_is_failed_and_the_others_are_stored(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    change, words = CHANGES[name]
    one, two = make_series(2)
    # The second has the UID of the first, and is looked at before the first is sent.
    paths = write_files(tmp_path / "in", [one, one, two])
    archive = Archive()

    def store(request: Request) -> Answer:
        if not archive.files:
            change(paths[1])
        return archive.store(request)

    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": FAILED, "3.dcm": UPLOADED}
    assert words in outcomes(result)["2.dcm"][1]
    assert [sent_parts(request) for request in posts(origin)] == [[one], [two]]
    assert "stored 2, skipped 0, failed 1;" in result.last


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changes_between_two_attempts_is_failed(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    change, words = CHANGES[name]
    paths = write_files(tmp_path / "in", make_series(2))
    archive = Archive()

    def busy(request: Request) -> Answer:
        change(paths[0])
        return Answer(503)

    with serving(taking(archive, first([busy], archive.store))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": FAILED, "2.dcm": UPLOADED})
    assert words in outcomes(result)["1.dcm"][1]
    assert [path[2] for path in archive.files] == ["1.2.3.4.2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grows", "shrinks", "is written anew"])
def test_a_file_that_changes_while_it_is_sent_does_not_arrive_whole(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    (path,) = write_files(tmp_path / "in", [LARGE])
    came: list[tuple[int, int]] = []

    def take(connection: socket.socket) -> None:
        head = read_head(connection)
        CHANGES[name][0](path)
        came.append((len(read_body(connection, head)), int(head["Content-Length"])))

    with listening(take, buffer=4096) as url:
        result = dcmweb(url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": FAILED})
    assert outcomes(result)["1.dcm"][1] == "the file changed while it was being sent"
    assert all(received < announced for received, announced in came)


def test_what_may_not_be_read_is_failed_and_the_rest_is_stored(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    paths = write_files(tmp_path / "in", make_series(3))
    paths[1].chmod(0)
    if os.access(paths[1], os.R_OK):
        pytest.skip("root may read everything")
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert outcomes(result)["2.dcm"] == (FAILED, "Permission denied")
    assert "stored 2, skipped 0, failed 1;" in result.last
