"""`--on local`: worker processes of this machine, which are killed and interrupted as well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from dcmweb.transfer.unit import FIRST_ITEMS
from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.functional.starting import Start
from tests.functional.workers import (
    COUNT,
    LONG,
    Holding,
    counts,
    events,
    is_running,
    named_once,
    until,
    workers_of,
)

PLUGINS = Path(__file__).parents[1] / "plugins"
has_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")


def test_all_is_stored_recorded_and_verified(dcmweb: Dcmweb, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    archive = Archive()
    options = ("--on", "local:2", "--json", "--manifest", "m.ndjson", "--verify")
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in", *options)
        assert result.code == 0, result.err
        assert counts(result.out) == {"stored": COUNT, "skipped": 1}
        assert f"lists {COUNT} of {COUNT} instances" in result.err
        assert "2 workers" in result.last
        again = dcmweb(origin.url, "store", "in", *options)
    assert counts(again.out) == {"done_before": COUNT, "skipped": 1}
    assert sorted(archive.files.values()) == sorted(path.read_bytes() for path in paths)
    stored = {event["item"] for event in events(result.out) if event["type"] == "stored"}
    assert stored == {str(path.relative_to(tmp_path)) for path in paths}


def test_files_that_are_named_and_those_in_archives(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    (tmp_path / "notes.txt").write_text("not DICOM")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for number, data in enumerate(make_series(3, series="1.2.3.9")):
            packed.writestr(f"a/{number}.dcm", data)
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(
            origin.url, "store", "in", "in.zip", "notes.txt", "none", "--on", "local:1", "--json"
        )
    assert result.code == 1
    assert counts(result.out) == {"stored": 6, "failed": 2}
    failed = {event["item"] for event in events(result.out) if event["type"] == "failed"}
    assert failed == {"notes.txt", "none"}
    assert len(archive.files) == 6


def test_retrieved_files_are_those_of_one_process(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive()
    with serving(archive) as origin:
        for number, count in enumerate((3, 300, 1)):
            series = make_series(count, f"1.2.{number % 2}", f"1.2.{number % 2}.{number}")
            write_files(tmp_path / f"in{number}", series)
        assert dcmweb(origin.url, "store", "in0", "in1", "in2", "-q").code == 0
        options = ("--manifest", "m.ndjson", "--json")
        result = dcmweb(origin.url, "retrieve", "-o", "out", "--on", "local:2", *options)
        assert result.code == 0, result.err
        assert dcmweb(origin.url, "retrieve", "-o", "plain", "-q").code == 0
        again = dcmweb(origin.url, "retrieve", "-o", "out", "--on", "local:2", *options)
        missing = dcmweb(origin.url, "retrieve", "studies/8.8", "-o", "o", "--on", "local:1")
        parts = ("studies/1.2.0/metadata", "studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.7")
        some = dcmweb(origin.url, "retrieve", *parts, "-o", "some", "--on", "local:2", "--json")
    assert counts(result.out) == {"retrieved": 304}
    assert tree(tmp_path / "out") == tree(tmp_path / "plain")
    assert counts(again.out) == {"done_before": 304}
    assert missing.code == 3
    assert some.code == 0, some.err
    assert "1.2.1.1.7.dcm" in "".join(tree(tmp_path / "some"))


@has_proc
def test_a_worker_that_is_killed_costs_nothing(start: Start, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    holding = Holding(archive)
    with serving(holding) as origin:
        process = start(
            origin.url, "store", tmp_path / "in", "--on", "local:2", "--json", "--if-exists", "fail"
        )
        until(lambda: len(holding.held) == 2)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        holding.let_go.set()
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert named_once(out.decode(), paths)
    assert set(counts(out.decode())) <= {"stored", "exists"}
    assert len(archive.files) == COUNT


@has_proc
def test_workers_end_with_the_process_that_began_them(start: Start, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(COUNT))
    holding = Holding(Archive())
    with serving(holding) as origin:
        process = start(origin.url, "store", tmp_path / "in", "--on", "local:2")
        until(lambda: len(holding.held) == 2)
        workers = workers_of(process)
        process.kill()
        process.wait()
        until(lambda: not any(map(is_running, workers)))
        holding.let_go.set()


@has_proc
def test_an_interrupted_run_ends_its_workers_and_goes_on_later(
    start: Start, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    holding = Holding(archive)
    options = ("--manifest", tmp_path / "m.ndjson", "--json")
    with serving(holding) as origin:
        process = start(origin.url, "store", tmp_path / "in", "--on", "local:2", *options)
        until(lambda: len(holding.held) == 2)
        workers = workers_of(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
        assert process.returncode == 130, err
        assert set(counts(out.decode())) <= {"unknown", "failed"}
        assert b"Traceback" not in err
        until(lambda: not any(map(is_running, workers)))
        holding.let_go.set()
        result = dcmweb(origin.url, "store", tmp_path / "in", *options)
        assert result.code == 0, result.err
    assert named_once(result.out, paths)
    assert len(archive.files) == COUNT


@pytest.mark.parametrize(("option", "most"), [("-j2", 2), ("-j1", 1), ("-q", 3)])
def test_the_number_of_requests_is_that_of_all_workers(
    dcmweb: Dcmweb, tmp_path: Path, option: str, most: int
) -> None:
    write_files(tmp_path / "in", make_series(5 * FIRST_ITEMS))
    archive, lock, running, seen = Archive(), threading.Lock(), 0, 0

    def handle(request: Request) -> Answer:
        nonlocal running, seen
        if request.method != "POST":
            return archive(request)
        with lock:
            running += 1
            seen = max(seen, running)
        time.sleep(0.3)
        try:
            return archive(request)
        finally:
            with lock:
                running -= 1

    with serving(handle) as origin:
        result = dcmweb(origin.url, option, "store", "in", "--on", "local:3")
    assert result.code == 0, result.err
    assert 1 <= seen <= most
    assert len(archive.files) == 5 * FIRST_ITEMS


def test_a_password_is_handed_to_workers_through_their_pipe(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()

    def handle(request: Request) -> Answer:
        is_known = request.headers.get("authorization") == "Basic bWU6aHVudGVyMg=="
        return archive(request) if is_known else Answer(401)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "store", "in", "--on", "local:1", "--user", "me:hunter2")
        refused = dcmweb(origin.url, "store", "in", "--on", "local:1", "--user", "me:hunter3")
    assert result.code == 0, result.err
    assert refused.code == 4
    assert "worker " in refused.err
    assert "hunter" not in result.err + refused.err


def test_a_server_that_workers_cannot_reach_is_found_out_first(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(3))
    result = dcmweb("http://127.0.0.1:9/x", "store", "in", "--on", "local:1")
    assert result.code == 6
    assert "Error: worker " in result.err
    assert "uploaded" not in result.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--on", "nowhere"), "is not a place to run on"),
        (("--on", "local:0"), "local:0"),
        (("--on", "local:x"), "is not a place to run on"),
        (("--on", "ray://head:10001"), "there is no executor 'ray'"),
        (("--on", "local", "--metadata", "m.json"), "--metadata"),
    ],
)
def test_what_cannot_be_run_on_is_a_usage_error(
    dcmweb: Dcmweb, tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    write_files(tmp_path / "in", make_series(1))
    (tmp_path / "m.json").write_text("{}")
    result = dcmweb("http://127.0.0.1:9/x", "store", "in", *args)
    assert result.code == 2
    assert words in result.err


def test_output_to_stdout_has_no_workers(dcmweb: Dcmweb) -> None:
    for output in (("-o", "-"), ()):
        target = "studies/1/metadata"
        result = dcmweb("http://127.0.0.1:9/x", "retrieve", target, *output, "--on", "local")
        assert result.code == 2
        assert "stdout" in result.err


def test_the_extra_is_named_where_dask_is_not_installed(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "distributed.py").write_text(
        "raise ModuleNotFoundError('no module', name='distributed')"
    )
    result = dcmweb(
        *("http://127.0.0.1:9/x", "store", "in", "--on", "tcp://127.0.0.1:9"),
        env={"PYTHONPATH": str(tmp_path / "absent")},
    )
    assert result.code == 2
    assert "[dask]" in result.err
    assert "Traceback" not in result.err


def test_a_dry_run_checks_the_workers_and_sends_nothing(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in", "--on", "local:1", "--dry-run", "--json")
    assert counts(result.out) == {"planned": 3}
    assert not archive.files


def test_an_executor_of_another_package(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(
            *(origin.url, "store", "in", "--on", "example://two", "--json"),
            env={"PYTHONPATH": str(PLUGINS)},
        )
        secret = dcmweb(
            *(origin.url, "store", "in", "--on", "example://two", "--user", "me:hunter2"),
            env={"PYTHONPATH": str(PLUGINS)},
        )
        broken = dcmweb(
            *(origin.url, "store", "in", "--on", "example://broken"),
            env={"PYTHONPATH": str(PLUGINS)},
        )
    assert result.code == 0, result.err
    assert counts(result.out) == {"stored": 3}
    assert secret.code == 2
    assert "in clear" in secret.err
    assert broken.code == 2
    assert "dcmweb-example-executor" in broken.err


def test_starting_costs_no_more(tmp_path: Path) -> None:
    code = (
        "import sys, dcmweb.cli.store, dcmweb.cli.retrieve, dcmweb.library.client;"
        "print([n for n in sys.modules if 'dcmweb.executors' in n or n == 'distributed'"
        " or n == 'concurrent.futures'])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "dcmweb" not in printed
    assert "distributed" not in printed
