"""Runs on a Dask cluster whose workers, nannies and scheduler are killed, and whose client is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmweb.transfer.unit import FIRST_ITEMS
from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.functional.starting import Start, starting
from tests.functional.workers import (
    COUNT,
    Holding,
    counts,
    events,
    named_once,
    until,
    workers_of,
)
from tests.live.conftest import Servers
from tests.live.servers.dask import Cluster, running_dask, tls_environment
from tests.live.servers.tls import Authority

pytestmark = [pytest.mark.live, pytest.mark.slow]
TIME = 180  # seconds for a command on a busy machine

StartCluster = Callable[..., Cluster]


@pytest.fixture
def start_dask(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartCluster]:
    from contextlib import ExitStack

    from tests.live.servers.process import NotInstalled

    with ExitStack() as stack:

        def start(*args: Any, **options: Any) -> Cluster:
            folder = tmp_path_factory.mktemp("dask")
            try:
                return stack.enter_context(running_dask(folder, *args, **options))
            except NotInstalled as missing:
                if os.environ.get("DCMWEB_REQUIRE_LIVE"):
                    pytest.fail(str(missing))
                pytest.skip(str(missing))

        yield start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path, to_files=True) as start:
        yield start


def kill_holder(cluster: Cluster, number: int = 0) -> None:
    """Kill a worker with all of its processes."""
    os.killpg(cluster.workers[number].pid, signal.SIGKILL)


def test_all_is_stored_and_retrieved(
    start_dask: StartCluster, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    cluster = start_dask(2)
    with serving(archive) as origin:
        store = (origin.url, "store", tmp_path / "in", "--json", "--verify")
        result = dcmweb(*store, "--on", cluster.address, timeout=TIME)
        assert result.code == 0, result.err
        assert named_once(result.out, paths)
        into = (origin.url, "retrieve", "-o", "out", "--json")
        result = dcmweb(*into, "--on", str(cluster.file), timeout=TIME)
        assert result.code == 0, result.err
        assert counts(result.out) == {"retrieved": COUNT}
    assert sorted(tree(tmp_path / "out").values()) == sorted(archive.files.values())


@pytest.mark.parametrize("nanny", [False, True])
def test_a_worker_that_is_killed_costs_nothing(
    start_dask: StartCluster, start: Start, tmp_path: Path, nanny: bool
) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    holding = Holding(archive)
    cluster = start_dask(2, nanny=nanny)
    options = ("--json", "--if-exists", "fail")
    with serving(holding) as origin:
        process = start(origin.url, "store", tmp_path / "in", "--on", cluster.address, *options)
        until(lambda: len(holding.held) == 2)
        if nanny:  # which starts another one
            for pid in workers_of(cluster.workers[0]):
                os.kill(pid, signal.SIGKILL)
        else:
            kill_holder(cluster)
        time.sleep(1)
        holding.let_go.set()
        process.wait(TIME)
    out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert process.returncode == 0, err
    assert named_once(out, paths)
    assert set(counts(out)) <= {"stored", "exists"}
    assert len(archive.files) == COUNT


def test_the_death_of_the_scheduler_ends_the_run_in_order(
    start_dask: StartCluster, start: Start, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT + 4 * FIRST_ITEMS))
    archive = Archive()
    holding = Holding(archive)
    cluster = start_dask(2)
    with serving(holding) as origin:
        store = (origin.url, "store", tmp_path / "in", "--json", "--manifest", tmp_path / "m")
        process = start(*store, "--on", cluster.address)
        until(lambda: len(holding.held) == 2)
        cluster.scheduler.kill()
        process.wait(TIME)
        out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
        assert process.returncode == 6, err
        assert "is gone" in err or "does not answer" in err
        assert "Traceback" not in err
        assert set(counts(out)) == {"unknown"}
        assert len({event["item"] for event in events(out)}) == len(events(out))
        last = json.loads((tmp_path / "m").read_text().splitlines()[-1])
        assert (last["type"], last["exit_code"]) == ("end", 6)
        holding.let_go.set()
        result = dcmweb(*store, timeout=TIME)
        assert result.code == 0, result.err
    assert named_once(result.out, paths)
    assert len(archive.files) == len(paths)


def test_a_client_that_is_killed_is_followed_by_a_plain_run(
    start_dask: StartCluster, start: Start, dcmweb: Dcmweb, tmp_path: Path
) -> None:
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    holding = Holding(archive)
    cluster = start_dask(2)
    with serving(holding) as origin:
        store = (origin.url, "store", tmp_path / "in", "--json", "--manifest", tmp_path / "m")
        process = start(*store, "--on", cluster.address)
        until(lambda: len(holding.held) == 2)
        process.kill()
        process.wait()
        holding.let_go.set()
        result = dcmweb(*store, timeout=TIME)
        assert result.code == 0, result.err
        assert named_once(result.out, paths)
        assert len(archive.files) == COUNT


def test_workers_that_come_and_go(start_dask: StartCluster, start: Start, tmp_path: Path) -> None:
    """One joins and another one of another version is left out; then the first one is killed."""
    paths = write_files(tmp_path / "in", make_series(COUNT))
    archive = Archive()
    holding = Holding(archive)
    cluster = start_dask(1)
    with serving(holding) as origin:
        process = start(origin.url, "store", tmp_path / "in", "--on", cluster.address, "--json")
        until(lambda: len(holding.held) == 1)
        cluster.add_worker(preload="import dcmweb\ndcmweb.__version__ = '1.9'\n")
        cluster.add_worker()
        until(lambda: "not used: worker w1" in (tmp_path / "err").read_text())
        until(lambda: len(holding.held) == 2)  # that of the new one
        kill_holder(cluster)
        time.sleep(1)
        holding.let_go.set()
        process.wait(TIME)
    out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert process.returncode == 0, err
    assert named_once(out, paths)
    assert len(archive.files) == COUNT


@pytest.mark.parametrize(
    ("preload", "code", "words"),
    [
        ("import dcmweb\ndcmweb.__version__ = '1.9'\n", 2, "it has dcmweb 1.9"),
        (
            "import os, posix, dcmweb.library.worker\nplain = posix.stat\n"
            "def stat(path, **more):\n"
            "    if str(path).endswith('.dcm'):\n"
            "        raise FileNotFoundError(2, 'No such file or directory')\n"
            "    return plain(path, **more)\n"
            "os.stat = stat\n",
            7,
            "it does not see",
        ),
        ("import sys\nsys.modules['dcmweb.library.worker'] = None\n", 2, "another dcmweb"),
    ],
    ids=["version", "folder", "absent"],
)
def test_a_worker_that_cannot_work_is_found_out_before_anything_is_sent(
    start_dask: StartCluster, dcmweb: Dcmweb, tmp_path: Path, preload: str, code: int, words: str
) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    cluster = start_dask(1)
    cluster.add_worker(preload=preload)
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in", "--on", cluster.address, timeout=TIME)
    assert result.code == code, result.err
    assert "worker w1 at tcp://" in result.err or "worker tcp://" in result.err
    assert words in result.err
    assert not archive.files


def test_a_scheduler_that_is_not_there(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    url = "http://127.0.0.1:9/x"
    result = dcmweb(url, "store", "in", "--on", "tcp://127.0.0.1:9", timeout=TIME)
    assert result.code == 6
    assert "cannot be reached" in result.err
    result = dcmweb(url, "store", "in", "--on", "absent.json", timeout=TIME)
    assert result.code == 7
    assert "the scheduler file absent.json cannot be read" in result.err


def test_secrets_go_over_tls_or_by_reference(
    start_dask: StartCluster, dcmweb: Dcmweb, tmp_path: Path, authority: Authority
) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    (tmp_path / "password").write_text("hunter2")

    def handle(request: Request) -> Answer:
        is_known = request.headers.get("authorization") == "Basic bWU6aHVudGVyMg=="
        return archive(request) if is_known else Answer(401)

    tls = tls_environment(authority.bundle, authority.issue("dask", "127.0.0.1", "localhost"))
    plain, secure = start_dask(1), start_dask(1, tls=tls)
    with serving(handle) as origin:
        store = (origin.url, "store", "in", "--json", "--on")
        clear = dcmweb(*store, plain.address, "--user", "me:hunter2", timeout=TIME)
        file = dcmweb(
            *(*store, plain.address, "--user", "me", "--password-file", "password"), timeout=TIME
        )
        absent = dcmweb(
            *(*store, plain.address, "--user", "me"),
            env={"DCMWEB_PASSWORD": "hunter2"},
            timeout=TIME,
        )
        over = dcmweb(
            *(*store, secure.address, "--user", "me"),
            env={**tls, "DCMWEB_PASSWORD": "hunter2"},
            timeout=TIME,
        )
        unknown = dcmweb(*store, secure.address, timeout=TIME)
    assert clear.code == 2
    assert "would go to the workers in clear" in clear.err
    assert file.code == 0, file.err
    assert absent.code in (2, 4)  # the worker has no such variable
    assert "worker " in absent.err
    assert over.code == 0, over.err
    assert unknown.code in (2, 6)
    assert "Traceback" not in unknown.err
    logs = "".join(path.read_text() for c in (plain, secure) for path in c.folder.glob("*.log"))
    assert "hunter2" not in logs
    assert "hunter2" not in clear.err + file.err + absent.err + over.err
