"""`copy` between servers that fail: nothing is lost, nothing claimed, nothing broken is sent."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_instance, make_series
from tests.functional.archive import (
    Archive,
    Scripted,
    json_answer,
    sent_parts,
    store_response,
)
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.storing import first, posts, taking
from tests.functional.test_check_sides import PEAK
from tests.functional.test_copy import ALL, statuses

FIVE = make_series(5)
ITEM = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4."
LONG = 20.0


def item(number: int) -> str:
    return f"{ITEM}{number}"


def is_stream(request: Request) -> bool:
    return bool(re.search(r"/(studies|series)/[0-9.]+$", request.path))


def is_instance(request: Request, number: int) -> bool:
    return request.path.endswith(f"/instances/1.2.3.4.{number}")


def all_sent(origin: Origin) -> list[bytes]:
    return [part for request in posts(origin) for part in sent_parts(request)]


# The source.


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_a_stream_that_is_cut_anywhere_is_made_good(dcmweb: Dcmweb, mode: list[str]) -> None:
    whole = Scripted(*FIVE)
    size = len(whole.retrieve("studies/1.2.3").body)
    for cut in sorted({*range(0, size, 397), size - 2, size - 1}):
        source, there = Scripted(*FIVE), Archive()
        left = iter([cut])

        def handle(request: Request, source: Scripted = source, left: object = left) -> Answer:
            answer = source(request)
            at = next(left, None) if is_stream(request) else None  # type: ignore[call-overload]
            return answer if at is None else Answer(200, answer.body, answer.headers, cut=at)

        with serving(handle) as old, serving(there) as new:
            result = dcmweb(*mode, old.url, "copy", "studies/1.2.3", new.url)
        assert (cut, result.code, there.files == source.files) == (cut, 0, True)
        assert set(all_sent(new)) <= set(FIVE)
        assert "stored 5," in result.last


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_what_never_comes_whole_is_failed_by_name_and_never_sent(
    dcmweb: Dcmweb, mode: list[str]
) -> None:
    source, there = Scripted(*FIVE), Archive()
    bad = FIVE[2][:-100]
    source.files["1.2.3", "1.2.3.4", "1.2.3.4.3"] = bad

    def handle(request: Request) -> Answer:
        answer = source(request)
        if is_instance(request, 3):  # its end is not sure, and its structure shows that it is cut
            return Answer(
                200, bad, {"Content-Type": "application/dicom"}, length=len(bad) + 100, cut=len(bad)
            )
        if is_stream(request):
            return Answer(200, answer.body, answer.headers, cut=answer.body.index(bad) + 500)
        return answer

    with serving(handle) as old, serving(there) as new:
        result = dcmweb(
            *mode, old.url, "copy", "studies/1.2.3", new.url, "--json", "--retries", "0"
        )
    named = statuses(result)
    assert result.code == 1
    assert named == {item(n): "failed" if n == 3 else "stored" for n in range(1, 6)}
    assert bad not in all_sent(new)
    assert "not retrieved: " in result.err
    assert len(there.files) == 4


def test_a_stranger_in_a_stream_is_not_sent(dcmweb: Dcmweb) -> None:
    stranger = make_instance("1.66", "1.66.1", "1.66.1.1")
    source, there = Scripted(*FIVE), Archive()
    source.files["1.2.3", "1.2.3.4", "1.66.1.1"] = stranger
    with serving(source) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", "studies/1.2.3", new.url, "--json")
    assert result.code == 1
    assert sorted(statuses(result).values()) == ["failed", *["stored"] * 5]
    assert stranger not in all_sent(new)


def test_a_source_that_goes_away_ends_the_run_and_what_came_is_sent(dcmweb: Dcmweb) -> None:
    source, there = Scripted(*FIVE), Archive()

    def handle(request: Request) -> Answer:
        answer = source(request)
        if is_stream(request):
            third = answer.body.index(FIVE[2])
            handle_later.append(True)
            return Answer(200, answer.body, answer.headers, cut=third + 10)
        return Answer(cut=-1) if handle_later else answer

    handle_later: list[bool] = []
    with serving(handle) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", "studies/1.2.3", new.url, "--retries", "0")
    assert result.code != 0
    assert {key[2] for key in there.files} == {"1.2.3.4.1", "1.2.3.4.2"}
    assert "stored 2," in result.last


# The destination.


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_what_is_refused_is_failed_with_the_reason(dcmweb: Dcmweb, mode: list[str]) -> None:
    there = Scripted()

    def store(request: Request) -> Answer:
        parts = sent_parts(request)
        good = [there.add(part) for part in parts if part != FIVE[1]]
        classes = "1.2.840.10008.5.1.4.1.1.2"
        bad = [(classes, "1.2.3.4.2", 0x0122)] if FIVE[1] in parts else []
        return json_answer(store_response(good, bad), 202)

    with serving(Archive(*FIVE)) as old, serving(taking(there, store)) as new:
        result = dcmweb(*mode, old.url, "copy", new.url, "--json")
    named = statuses(result)
    assert result.code == 1
    assert named == {item(n): "failed" if n == 2 else "stored" for n in range(1, 6)}
    assert "SOP Class not supported" in result.out


def test_a_store_without_an_answer_is_asked_about(dcmweb: Dcmweb) -> None:
    there = Archive()

    def lost(request: Request) -> Answer:
        there.store(request)
        return Answer(cut=-1)

    with serving(Archive(*FIVE)) as old, serving(taking(there, lost)) as new:
        result = dcmweb(old.url, "copy", new.url, "--retries", "0")
    assert (result.code, len(there.files)) == (0, 5)
    assert "stored 5," in result.last


def test_what_nobody_can_be_asked_about_is_unknown(dcmweb: Dcmweb) -> None:
    """Where no answer says that it was stored, nothing is said to be."""

    def silent(request: Request) -> Answer:
        return Answer(200, b"ok", {"Content-Type": "text/plain"})

    def handle(request: Request) -> Answer:
        return silent(request) if request.method == "POST" else Answer(501)

    with serving(Archive(*FIVE)) as old, serving(handle) as new:
        result = dcmweb(old.url, "copy", new.url, "--json")
        verified = dcmweb(old.url, "copy", new.url, "--verify")
    assert (result.code, verified.code) == (1, 1)
    assert set(statuses(result).values()) == {"unknown"}
    assert "stored 0, " in verified.last


def test_an_instance_that_is_confirmed_and_not_kept_fails_the_verification(
    dcmweb: Dcmweb,
) -> None:
    there = Scripted()

    def forgetful(request: Request) -> Answer:
        answer = there.store(request)
        there.files.pop(("1.2.3", "1.2.3.4", "1.2.3.4.2"), None)
        return answer

    with serving(Archive(*FIVE)) as old, serving(taking(there, forgetful)) as new:
        result = dcmweb(old.url, "copy", new.url, "--verify")
    assert result.code == 1
    assert f"{item(2)} failed: the server does not list it" in result.err


def test_a_request_that_is_too_large_is_made_smaller(dcmweb: Dcmweb) -> None:
    there = Archive()

    def small(request: Request) -> Answer:
        return Answer(413) if len(request.body) > 3000 else there.store(request)

    with serving(Archive(*FIVE)) as old, serving(taking(there, small)) as new:
        result = dcmweb(old.url, "copy", new.url)
    assert (result.code, len(there.files)) == (0, 5)
    # Nothing is retrieved again: what is sent again was kept.
    assert sum(map(is_stream, old.requests)) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_busy_server_is_waited_for(dcmweb: Dcmweb, status: int, side: str) -> None:
    there, source = Archive(), Archive(*ALL)
    busy = Answer(status, headers={"Retry-After": "0"})
    ways = [lambda _: busy] * 2
    old_handler = first(ways, source) if side == "source" else source
    new_handler = taking(there, first(ways, there.store)) if side == "destination" else there
    with serving(old_handler) as old, serving(new_handler) as new:
        result = dcmweb("-m", old.url, "copy", new.url)
    assert (result.code, there.files == source.files) == (0, True)
    # The count of what there is may have met one of the answers, if the run was not over by then.
    assert ", 2 retries" in result.last or (side == "source" and ", 1 retry" in result.last)


@pytest.mark.parametrize("many", [False, True])
def test_credentials_that_are_refused_end_the_run_and_the_side_is_named(
    dcmweb: Dcmweb, many: bool
) -> None:
    refusing = lambda _: Answer(401, headers={"WWW-Authenticate": "Basic"})  # noqa: E731
    paths = ["studies/1.2", "studies/1.3"] if many else []
    with serving(Archive(*ALL)) as good, serving(refusing) as bad:
        source = dcmweb(bad.url, "copy", *paths, good.url, "--json")
        destination = dcmweb(good.url, "copy", *paths, bad.url, "--json")
    assert (source.code, destination.code) == (4, 4)
    assert "the source: " in source.err
    assert "the destination: " in destination.err
    assert "--to-user" in destination.err
    assert "--to-" not in source.err
    assert set(statuses(destination).values()) <= {"failed"}
    assert not posts(good)


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_a_destination_that_is_full_ends_the_run(dcmweb: Dcmweb, mode: list[str]) -> None:
    there = Archive()
    with serving(Archive(*ALL)) as old, serving(taking(there, lambda _: Answer(507))) as new:
        result = dcmweb(*mode, old.url, "copy", new.url, "--json", "--retries", "0")
    assert result.code == 5
    assert set(statuses(result).values()) <= {"failed", "unknown"}  # those that were on their way
    assert "the destination: " in result.err


def test_a_destination_that_is_not_there_ends_the_run(dcmweb: Dcmweb) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/dicomweb"
    with serving(Archive(*FIVE)) as old:
        result = dcmweb(old.url, "copy", url, "--retries", "0", "--connect-timeout", "2")
    assert result.code == 6
    assert "the destination: " in result.err


# Stops.


def begin(tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DCMWEB, *args],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("mode", [(), ("-j", "3")])
def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_state(
    dcmweb: Dcmweb, tmp_path: Path, how: signal.Signals, mode: tuple[str, ...]
) -> None:
    source, there = Archive(*ALL), Archive()
    stalls = threading.Event()

    def store(request: Request) -> Answer:
        if len(there.files) >= 3:
            stalls.set()
            return Answer(200, b"{}", stall=0)
        return there.store(request)

    with serving(source) as old, serving(taking(there, store)) as new:
        run = begin(tmp_path, *mode, old.url, "copy", new.url, "--manifest", "m")
        assert stalls.wait(LONG)
        time.sleep(0.2)  # until what was stored is written down
        run.send_signal(how)
        _, err = run.communicate(timeout=LONG)
        assert run.returncode == (-9 if how is signal.SIGKILL else 128 + how)
        if how is not signal.SIGKILL:
            assert re.search(r"unknown( \d+)?: interrupted before the server answered", err)
        new.handler = there
        again = dcmweb(*mode, old.url, "copy", new.url, "--manifest", "m", "--verify")
    assert again.code == 0
    assert there.files == source.files
    assert "the server lists 15 of 15 instances" in again.err


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_two_copies_at_once_end_in_the_same_state(tmp_path: Path, mode: tuple[str, ...]) -> None:
    source, there = Archive(*ALL), Archive()
    with serving(source) as old, serving(there) as new:
        runs = [
            begin(tmp_path, *mode, old.url, "copy", new.url, "--manifest", f"m{n}")
            for n in range(2)
        ]
        codes = []
        for run in runs:
            run.communicate(timeout=60)
            codes.append(run.returncode)
    assert codes == [0, 0]
    assert there.files == source.files


# Memory.


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts memory there")
def test_a_large_instance_is_not_held_in_memory(tmp_path: Path) -> None:
    peaks = []
    for size in (1_000_000, 120_000_000):
        source = Scripted(make_instance(size=size))
        with serving(source) as old, serving(lambda _: Answer(204)) as new:
            there = Scripted()
            new.handler = there
            command = [DCMWEB[0], "-c", PEAK, old.url, "copy", "studies/1.2.3", new.url, "-q"]
            done = subprocess.run(
                command, env=clean_environment(), capture_output=True, text=True, check=True
            )
        code, peak = done.stderr.split()
        assert code == "0"
        assert there.files == source.files
        peaks.append(int(peak))
    assert peaks[1] < peaks[0] + 24_000


def test_many_workers_share_the_memory(tmp_path: Path) -> None:
    files = [make_instance(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", 3_000_000) for n in range(1, 30)]
    source, there = Scripted(*files), Scripted()
    with serving(source) as old, serving(there) as new:
        command = [DCMWEB[0], "-c", PEAK, "-j", "20", old.url, "copy", new.url, "-q"]
        done = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, check=True
        )
    code, peak = done.stderr.split()
    assert (code, there.files == source.files) == ("0", True)
    assert int(peak) < 128_000


def test_a_folder_for_temporary_files_that_cannot_be_used_is_said(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    there = Scripted()
    with serving(Scripted(make_instance(size=10_000_000))) as old, serving(there) as new:
        env = {"TMPDIR": str(tmp_path / "missing"), "TMP": "/nowhere", "TEMP": "/nowhere"}
        (tmp_path / "missing").touch()
        result = dcmweb(old.url, "copy", new.url, "-q", env=env)
    assert result.code in (0, 7)  # Python tries other folders, where there are any
    assert bool(there.files) is (result.code == 0)
