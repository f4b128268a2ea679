"""What is shown of a run while it goes on: in terminals of any width, and in logs."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Handler, Request, serving
from tests.functional.storing import posts, taking
from tests.functional.terminals import Terminal, in_terminal

LEFT = re.compile(r"\b(\S+) (s|min) left")


def slow(archive: Handler, seconds: float = 0.3) -> Handler:
    """The archive, with a wait before each answer."""

    def handle(request: Request) -> Answer:
        time.sleep(seconds)
        return archive(request)

    return handle


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with ten files, each of which is sent by itself with `ONE_BY_ONE`."""
    write_files(tmp_path / "in", make_series(10))
    return tmp_path / "in"


ONE_BY_ONE = ("--batch-count", "1")


def widest(terminal: Terminal) -> int:
    return max(map(len, terminal.drawn))


# In a terminal.


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_one_bar_in_any_width(tmp_path: Path, files: Path, columns: int) -> None:
    with (
        serving(slow(Archive())) as origin,
        in_terminal(
            origin.url, "--brief", "store", files, *ONE_BY_ONE, cwd=tmp_path, columns=columns
        ) as run,
    ):
        assert run.end() == 0
    terminal = run.terminal
    counts = [found for bar in terminal.drawn if (found := re.search(r"(\d+)(/| of )10\b", bar))]
    assert len({found[1] for found in counts}) > 2  # it moved
    assert re.match(r"(Storing )?( \d\d|100)% ", terminal.drawn[-1])
    assert widest(terminal) < columns
    assert ("█" in terminal.text) == (columns >= 60)
    assert any("/s" in bar for bar in terminal.drawn) == (columns > 20)
    assert any(" left" in bar for bar in terminal.drawn) == (columns > 20)
    assert "\x1b" not in terminal.text
    assert len(terminal.lines) == 1  # the summary alone is left
    assert "stored 10, " in terminal.lines[0]
    assert run.out == b""


@pytest.mark.slow
def test_a_terminal_that_is_made_narrower_gets_a_narrower_bar(tmp_path: Path, files: Path) -> None:
    may_end = threading.Event()
    archive = Archive()

    def handle(request: Request) -> Answer:
        if len(archive.files) > 3:
            may_end.wait(30)
        return archive(request)

    with (
        serving(slow(handle)) as origin,
        in_terminal(
            origin.url, "--brief", "store", files, *ONE_BY_ONE, cwd=tmp_path, columns=100
        ) as run,
    ):
        terminal = run.terminal
        terminal.wait_for(lambda: terminal.drawn and widest(terminal) > 60)
        wide = len(terminal.drawn)
        terminal.resize(30)
        terminal.wait_for(lambda: len(terminal.drawn) > wide + 5)
        may_end.set()
        assert run.end() == 0
    assert max(map(len, terminal.drawn[wide + 2 :])) < 30


@pytest.mark.slow
def test_lines_and_the_bar_do_not_meet(tmp_path: Path, files: Path) -> None:
    with (
        serving(slow(Archive(), 0.2)) as origin,
        in_terminal(origin.url, "store", files, *ONE_BY_ONE, cwd=tmp_path) as run,
    ):
        assert run.end() == 0
    lines = run.terminal.lines
    assert len(lines) == 11
    for line in lines[:-1]:
        assert re.fullmatch(r"[-0-9]+ [:0-9]+,\d+ -- \S+\.dcm uploaded as \S+", line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "has_bar"),
    [({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, True), ({"LC_ALL": "C"}, True)],
    ids=["dumb", "no-color", "ascii"],
)
def test_what_the_environment_wants(
    tmp_path: Path, files: Path, env: dict[str, str], has_bar: bool
) -> None:
    with (
        serving(slow(Archive())) as origin,
        in_terminal(
            origin.url, "--brief", "store", files, *ONE_BY_ONE, cwd=tmp_path, env=env
        ) as run,
    ):
        assert run.end() == 0
    text = run.terminal.text
    assert bool(run.terminal.drawn) == has_bar
    assert ("Storing " in text) != has_bar  # then a line says what is done
    assert "\x1b" not in text
    assert ("\r" in text.replace("\r\n", "\n")) == has_bar


@pytest.mark.slow
def test_who_wants_quiet_sees_no_bar(tmp_path: Path, files: Path) -> None:
    with (
        serving(slow(Archive(), 0.1)) as origin,
        in_terminal(origin.url, "-q", "store", files, *ONE_BY_ONE, cwd=tmp_path) as run,
    ):
        assert run.end() == 0
    assert run.terminal.text == ""


# What keeps a run waiting.


@pytest.mark.slow
def test_a_busy_server_is_shown_with_the_time_it_asks_for(tmp_path: Path, files: Path) -> None:
    archive = Archive()
    busy = iter([Answer(503, headers={"Retry-After": "3"})])

    def store(request: Request) -> Answer:
        return next(busy, None) or archive.store(request)

    with (
        serving(taking(archive, store)) as origin,
        in_terminal(origin.url, "--brief", "store", files, cwd=tmp_path) as run,
    ):
        assert run.end() == 0
    waits = [bar for bar in run.terminal.drawn if "waiting" in bar]
    assert re.search(r"waiting [23] s: server busy \(503\)", waits[0])
    assert re.search(r"waiting 1 s: server busy \(503\)", waits[-1])
    assert "1 retry" in run.terminal.lines[-1]


@pytest.mark.slow
def test_a_server_that_stalls_is_shown(tmp_path: Path, files: Path) -> None:
    stalled = Answer(200, b"{}", stall=0)
    with (
        serving(taking(Archive(), lambda _: stalled)) as origin,
        in_terminal(
            *(origin.url, "--brief", "--timeout", "8", "--retries", "0", "store", files / "01.dcm"),
            cwd=tmp_path,
        ) as run,
    ):
        assert run.end() == 1
    silent = [bar for bar in run.terminal.drawn if "no data for" in bar]
    assert "no data for 5 s" in silent[0]
    assert "no data for 7 s" in " ".join(silent)
    assert not any("left" in bar for bar in silent)


@pytest.mark.slow
def test_verifying_is_announced_and_then_shown(tmp_path: Path, files: Path) -> None:
    archive = slow(Archive(), 0.4)
    asked = 0

    def handle(request: Request) -> Answer:
        nonlocal asked
        if request.method == "GET":
            asked += 1
            time.sleep(1)
        return archive(request)

    with (
        serving(handle) as origin,
        in_terminal(
            *(origin.url, "--brief", "store", files, *ONE_BY_ONE, "--verify"),
            cwd=tmp_path,
            columns=120,
        ) as run,
    ):
        assert run.end() == 0
    drawn = run.terminal.drawn
    verifying = [bar for bar in drawn if bar.startswith("Verifying")]
    storing = [bar for bar in drawn if bar.startswith("Storing") and "%" in bar]
    assert asked
    assert storing
    assert verifying
    assert all("then verifying" in bar for bar in storing)
    assert all(" of 10 instances" in bar and "then" not in bar for bar in verifying)
    assert not [bar for bar in drawn if (left := LEFT.search(bar)) and left[1] == "0"]


# Each command.


def row(number: int) -> dict[str, object]:
    return {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}}


def pages(size: int, most: int, seconds: float) -> Handler:
    """A search that gives pages of so many rows, slowly."""

    def handle(request: Request) -> Answer:
        time.sleep(seconds)
        found = re.search(r"offset=(\d+)", request.query)
        start = int(found[1]) if found else 0
        rows = [row(number) for number in range(start, min(most, start + size))]
        return json_answer(rows) if rows else Answer(204)

    return handle


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [["--count"], ["--all", "--format", "uids"], []])
def test_a_search_shows_the_rows_so_far(tmp_path: Path, wanted: list[str]) -> None:
    with (
        serving(pages(20, 100, 0.3)) as origin,
        in_terminal(origin.url, "search", *wanted, cwd=tmp_path) as run,
    ):
        assert run.end() == 0
    assert len({bar for bar in run.terminal.drawn if re.fullmatch(r"\d+ results", bar)}) > 2
    assert run.terminal.lines == []
    assert (run.out == b"100\n") == (wanted == ["--count"])


@pytest.mark.slow
def test_rows_on_the_same_terminal_are_not_drawn_over(tmp_path: Path) -> None:
    with (
        serving(pages(20, 100, 0.3)) as origin,
        in_terminal(
            origin.url, "search", "--all", "--format", "uids", cwd=tmp_path, data_too=True
        ) as run,
    ):
        assert run.end() == 0
    assert run.terminal.drawn
    assert run.terminal.lines == [f"studies/1.2.{number}" for number in range(100)]


@pytest.mark.slow
def test_json_is_not_drawn_over_in_the_middle_of_a_row(tmp_path: Path, dcmweb: Dcmweb) -> None:
    with serving(pages(20, 100, 0.3)) as origin:
        with in_terminal(origin.url, "search", "--all", cwd=tmp_path, data_too=True) as run:
            assert run.end() == 0
        expected = dcmweb(origin.url, "search", "--all").out
    assert run.terminal.lines == expected.splitlines()


@pytest.mark.slow
def test_a_retrieval_shows_how_many_the_server_has(tmp_path: Path) -> None:
    archive = Archive(*make_series(10))

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if "/instances/" in request.path:
            time.sleep(0.3)
            return answer
        return Answer(400) if request.path.endswith("studies/1.2.3") else answer

    with (
        serving(handle) as origin,
        in_terminal(origin.url, "retrieve", "studies/1.2.3", "-o", "out", cwd=tmp_path) as run,
    ):
        run.end()
    assert [bar for bar in run.terminal.drawn if " of 10 files" in bar]


@pytest.mark.slow
def test_what_is_deleted_is_counted_without_bytes(tmp_path: Path) -> None:
    with (
        serving(slow(lambda _: Answer(204), 0.6)) as origin,
        in_terminal(
            *(origin.url, "delete", "--yes", "studies/1.2", "studies/1.3", "studies/1.4"),
            cwd=tmp_path,
        ) as run,
    ):
        assert run.end() == 0
    bars = [bar for bar in run.terminal.drawn if " 1 of 3 resources" in bar]
    assert bars
    assert all(re.match(r" 33% \|.*\| 1 of 3 resources(, \d s left)?$", bar) for bar in bars)


# Without a terminal.


def test_a_log_begins_with_what_is_to_be_done(dcmweb: Dcmweb, files: Path) -> None:
    with serving(Archive()) as origin:
        result = dcmweb("--brief", origin.url, "store", "in", "--verify")
        first, verified, last = result.err.splitlines()
        assert first.endswith(f" -- Storing in to {origin.url}, then verifying")
        assert " -- Verified: the server lists 10 of 10 instances" in verified
        assert "stored 10, " in last
        url = origin.url.replace("://", "://me:secret@")
        others = {
            ("copy", "studies/1.2.3", url): f"Copying studies/1.2.3 from {origin.url} to ",
            ("check", "in", "--one-way"): f"Comparing {origin.url} with in",
            ("check", url): f"Comparing {origin.url} with {origin.url}",
            ("retrieve", "-o", "out"): f"Retrieving the whole store from {origin.url}",
            ("delete", "studies/1.9"): f"Deleting studies/1.9 on {origin.url}",
            ("wait", "projects/1", "projects/2"): "Waiting for projects/1, projects/2",
        }
        for arguments, words in others.items():
            result = dcmweb(origin.url, *arguments)
            assert words in result.err or "same server" in result.err, result.err
            assert "secret" not in result.err
            assert "\r" not in result.err
        assert dcmweb(origin.url, "wait", "projects/1").err.count("Waiting for ") == 1


def test_brief_leaves_out_the_lines_of_what_went_well(dcmweb: Dcmweb, files: Path) -> None:
    (files / "junk.dcm").write_text("junk")
    (files / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with serving(Archive()) as origin:
        usual = dcmweb(origin.url, "store", "in", "--dry-run")
        result = dcmweb(origin.url, "store", "in", "--brief")
    assert usual.err.count(" would be stored") == 10
    assert result.code == 1
    lines = [line.partition(" -- ")[2] for line in result.err.splitlines()]
    assert lines[0].startswith("Storing in to ")
    assert lines[1].startswith("in/broken.dcm failed: ")
    assert lines[2].startswith("failed 1: ")
    assert lines[3].startswith("Transferred ")
    assert len(lines) == 4


@pytest.mark.parametrize("other", ["-v", "--debug", "--brief"])
def test_quiet_excludes_what_prints_more(dcmweb: Dcmweb, other: str) -> None:
    result = dcmweb("-q", other, "http://127.0.0.1:1/", "search")
    assert (result.code, len(result.err.splitlines())) == (2, 1)


# Interrupted.


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with more files than are named one by one."""
    write_files(tmp_path / "in", make_series(40))
    return tmp_path / "in"


@pytest.fixture
def stalling() -> tuple[Handler, threading.Event]:
    """A server that has taken a request and does not answer, and a flag that it has."""
    asked = threading.Event()

    def store(_: Request) -> Answer:
        asked.set()
        return Answer(200, b"{}", stall=0)

    return taking(Archive(), store), asked


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_interruption_is_one_group_and_says_how_to_go_on(
    tmp_path: Path, many: Path, stalling: tuple[Handler, threading.Event], is_kept: bool
) -> None:
    handler, asked = stalling
    records = ("--manifest", "m.ndjson", "--failed-to", "failed.txt") if is_kept else ()
    with (
        serving(handler) as origin,
        in_terminal(origin.url, "store", many, *records, cwd=tmp_path, columns=200) as run,
    ):
        assert asked.wait(20)
        run.terminal.wait_for(lambda: any(" of 40 files" in bar for bar in run.terminal.drawn))
        run.interrupt()
        assert run.end() == 130
    error, group, last = (line.partition(" -- ")[2] for line in run.terminal.lines)
    hint = (
        "run the same command again to go on: m.ndjson knows what is done"
        if is_kept
        else "run it with --manifest FILE, and it can go on where it was stopped"
    )
    assert error == f"Error: interrupted with 40 of 40 files left; {hint}"
    assert group.startswith("unknown 40: interrupted before the server answered: ")
    assert group.endswith(" and 37 others")
    assert last.endswith("; interrupted")
    if is_kept:  # what is not on the terminal is in the records
        assert len((tmp_path / "failed.txt").read_text().splitlines()) == 40
        assert (tmp_path / "m.ndjson").read_text().count('"type": "unknown"') == 40


def test_a_run_that_stops_names_what_it_leaves_as_one_group(dcmweb: Dcmweb, many: Path) -> None:
    with serving(lambda _: Answer(401)) as origin:
        result = dcmweb(origin.url, "store", "in")
        assert len(posts(origin)) == 1
    assert result.code == 4
    _, error, group, last = result.err.splitlines()
    assert " -- Error: " in error
    assert " -- failed 40: " in group
    assert "failed 40; " in last


def test_few_that_are_left_are_named_one_by_one(dcmweb: Dcmweb, files: Path) -> None:
    with serving(lambda _: Answer(401)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert len(re.findall(r" -- in/\d+\.dcm failed: ", result.err)) == 10
