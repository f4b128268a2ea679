"""Runs that are stopped: by a signal in the middle of a transfer, or as nobody reads on."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import (
    Result,
    make_instance,
    make_series,
    tree,
    write_files,
)
from tests.functional.archive import LEVELS, Archive, json_answer, multipart_answer
from tests.functional.origin import Answer, Request, serving
from tests.functional.starting import Process, Start
from tests.functional.storing import became, listening, posts, read_head, taking

UPLOADED, UNKNOWN = "uploaded", "unknown"
LONG = 20.0  # seconds in which anything here should have happened
LARGE = make_series(1)[0] + b"\0" * 8_000_000  # more than a server takes that does not read


def end_of(process: Process) -> Result:
    out, err = process.communicate(timeout=LONG)
    assert b"Traceback" not in err
    return Result(process.returncode, out.decode(), err.decode())


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting_in(pipe: IO[bytes] | None) -> int:
    """How many bytes have been written to a pipe and not been read."""
    assert pipe
    count = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


def is_stuck(pipe: IO[bytes] | None) -> bool:
    """Whether a pipe that nobody reads from is full, and who writes to it waits."""
    before = waiting_in(pipe)
    time.sleep(0.5)
    return 50_000 < before == waiting_in(pipe)


SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)


# In a store.


@pytest.mark.slow
@SIGNALS
@pytest.mark.parametrize(("mode", "count"), [((), 1), (("-j", "3"), 3)], ids=["one", "three"])
def test_what_was_being_sent_to_a_server_that_reads_no_more_is_unknown(
    start: Start,
    tmp_path: Path,
    number: int,
    code: int,
    mode: tuple[str, ...],
    count: int,
) -> None:
    reached = threading.Semaphore(0)

    def stall(connection: socket.socket) -> None:
        read_head(connection)
        reached.release()

    write_files(tmp_path / "in", [LARGE] * 5)
    with listening(stall, buffer=4096) as url:
        process = start(*mode, url, "store", "in")
        for _ in range(count):
            assert reached.acquire(timeout=LONG)
        process.send_signal(number)
        result = end_of(process)
    assert (result.code, result.out) == (code, "")
    assert became(result) == {f"{n}.dcm": UNKNOWN for n in range(1, count + 1)}
    assert result.err.count("unknown: interrupted before the server answered") == count
    assert f"stored 0, skipped 0, failed 0, unknown {count};" in result.last
    assert result.last.endswith("interrupted")


@SIGNALS
def test_what_was_stored_before_a_signal_is_named_as_well(
    start: Start, tmp_path: Path, number: int, code: int
) -> None:
    archive = Archive()
    silent = Answer(200, b"{}", stall=0)
    sent = threading.Event()

    def store(request: Request) -> Answer:
        if not archive.files:
            return archive.store(request)
        sent.set()
        return silent

    one, two = make_series(2)
    write_files(tmp_path / "in", [one, one, two, one])  # those of one UID do not travel together
    with serving(taking(archive, store)) as origin:
        process = start(origin.url, "store", "in")
        assert sent.wait(LONG)
        process.send_signal(number)
        result = end_of(process)
    assert result.code == code
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": UNKNOWN, "3.dcm": UNKNOWN}
    assert "stored 1, skipped 0, failed 0, unknown 2;" in result.last
    assert len(posts(origin)) == 2


@SIGNALS
def test_nobody_waits_for_a_retry_after_a_signal(
    start: Start, tmp_path: Path, number: int, code: int
) -> None:
    asked = threading.Event()

    def busy(_: Request) -> Answer:
        asked.set()
        return Answer(503, headers={"Retry-After": "200"})

    write_files(tmp_path / "in", make_series(1))
    with serving(busy) as origin:
        process = start(origin.url, "store", "in")
        assert asked.wait(LONG)
        time.sleep(0.2)  # it sleeps by now, most likely; either way the end is the same
        process.send_signal(number)
        result = end_of(process)
    assert result.code == code
    assert became(result) == {"1.dcm": UNKNOWN}
    assert result.last.endswith("interrupted")
    assert len(origin.requests) == 1


@pytest.mark.slow
@SIGNALS
def test_a_second_signal_ends_a_run_that_the_first_could_not(
    start: Start, tmp_path: Path, number: int, code: int
) -> None:
    names = [f"{n:04}-{'x' * 100}" for n in range(2000)]  # more lines than a pipe holds
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).write_text("junk")
    with serving(Archive()) as origin:
        process = start(origin.url, "store", "in")
        wait_for(lambda: is_stuck(process.stderr))
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(number)
        assert process.wait(LONG) == code


def test_a_signal_that_is_ignored_as_by_nohup_stays_so(start: Start, tmp_path: Path) -> None:
    archive = Archive()
    process: Process

    def store(request: Request) -> Answer:
        process.send_signal(signal.SIGINT)
        return archive.store(request)

    write_files(tmp_path / "in", make_series(1))
    with serving(taking(archive, store)) as origin:
        ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
        process = start(origin.url, "store", "in", before=ignoring)
        result = end_of(process)
    assert (result.code, became(result)) == (0, {"1.dcm": UPLOADED})


# In a retrieval.


@SIGNALS
@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["serial", "parallel"])
def test_a_retrieval_that_is_stopped_leaves_whole_files_only(
    start: Start, tmp_path: Path, number: int, code: int, mode: tuple[str, ...]
) -> None:
    # Large, as what comes is written in pieces.
    files = [make_instance(instance=f"1.2.3.4.{n}", size=2_000_000) for n in (1, 2)]
    archive = Archive(*files)
    stalling = multipart_answer(files, stall=3_500_000)

    def handle(request: Request) -> Answer:
        return archive(request) if request.path.endswith(LEVELS) else stalling

    out = tmp_path / "out"
    with serving(handle) as origin:
        process = start(*mode, origin.url, "retrieve", "studies/1.2.3", "-o", "out")
        first = out / "1.2.3" / "1.2.3.4" / "1.2.3.4.1.dcm"
        wait_for(lambda: first.exists() and len(tree(out)) == 2)  # the second is being written
        process.send_signal(number)
        result = end_of(process)
    assert (result.code, result.out) == (code, "")
    assert tree(out) == {"1.2.3/1.2.3.4/1.2.3.4.1.dcm": files[0]}
    assert "retrieved 1, " in result.last
    assert result.last.endswith("interrupted")


@SIGNALS
def test_a_search_that_is_stopped_prints_no_part_of_its_results(
    start: Start, number: int, code: int
) -> None:
    asked = threading.Event()

    def stall(_: Request) -> Answer:
        asked.set()
        return Answer(200, b"[{}]", {"Content-Type": "application/dicom+json"}, stall=2)

    with serving(stall) as origin:
        process = start(origin.url, "search")
        assert asked.wait(LONG)
        process.send_signal(number)
        result = end_of(process)
    assert (result.code, result.out) == (code, "")
    assert len(result.err.splitlines()) == 1
    assert result.last.endswith("Error: interrupted")


# Nobody reads on.


@pytest.mark.parametrize(("count", "reads"), [(2000, 1), (2000, 0), (1, 0)])
def test_a_reader_that_has_had_enough_is_no_failure(start: Start, count: int, reads: int) -> None:
    row = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
    rows = json_answer([row] * count)  # 2000 are more than a pipe holds
    with serving(lambda r: Answer(204) if "offset" in r.query else rows) as origin:
        process = start(origin.url, "search")
        assert process.stdout
        assert os.read(process.stdout.fileno(), reads) == b"["[:reads]
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
        assert process.wait(LONG) == 0


def test_a_log_that_nobody_reads_does_not_stop_a_store(start: Start, tmp_path: Path) -> None:
    archive = Archive()
    files = make_series(3)
    write_files(tmp_path / "in", files)
    with serving(archive) as origin:
        process = start(origin.url, "store", "in")
        assert process.stderr
        process.stderr.close()
        assert process.wait(LONG) == 0
    assert sorted(archive.files.values()) == sorted(files)
