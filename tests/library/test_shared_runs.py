"""Clients and runs that threads and processes share, and programs that end in the middle."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcmweb import Client, Interrupted, ItemsFailed, NothingMatched, Progress, UsageError
from tests.conftest import make_series
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Origin, Request, serving

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive(*make_series(30))) as server:
        yield server


def test_threads_may_take_the_results_of_one_run(origin: Origin, tmp_path: Path) -> None:
    with Client(origin.url, workers=2) as client:
        run = client.retrieve(output=tmp_path)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: [outcome.item for outcome in run], range(4)))
        items = [item for one in found for item in one]
        assert (len(items), len(set(items))) == (30, 30)
        assert run.summary.check().items == 30


@pytest.mark.parametrize(
    "begin",
    [
        lambda client, folder: client.retrieve(output=folder),
        lambda client, _: client.search(),
        lambda client, _: client.metadata("studies/1.2.3"),
    ],
)
def test_a_thread_may_close_the_run_that_another_waits_for(
    begin: Callable[[Client, Path], Any], tmp_path: Path
) -> None:
    """The one that waits learns of it at once, and not from the end of the loop."""
    held, go = threading.Event(), threading.Event()

    def hold(_: Request) -> Answer:
        held.set()
        assert go.wait(20)
        return Answer(404)

    with serving(hold) as origin, Client(origin.url, workers=2) as client:
        run = begin(client, tmp_path)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: list(run))
            assert held.wait(20)
            run.close()
            with pytest.raises(Interrupted):
                waiting.result(20)
            go.set()


def test_a_callback_may_close_its_run_but_not_ask_it_for_more(
    origin: Origin, tmp_path: Path
) -> None:
    errors: list[UsageError] = []

    def look(_: Progress) -> None:
        with pytest.raises(UsageError, match="waits for a result") as caught:
            run.wait()
        errors.append(caught.value)
        run.close()

    with Client(origin.url, on_progress=look) as client:
        run = client.retrieve(output=tmp_path)
        with pytest.raises(Interrupted):
            run.wait()
        assert errors
        with pytest.raises(ItemsFailed):
            run.summary.check()


def test_an_error_that_is_raised_again_does_not_grow(origin: Origin, tmp_path: Path) -> None:
    def depth(error: BaseException) -> int:
        trace, count = error.__traceback__, 0
        while trace is not None:
            trace, count = trace.tb_next, count + 1
        return count

    with Client(origin.url) as client:
        run = client.retrieve("studies/9", tmp_path, on_error="raise")
        depths = []
        for _ in range(5):
            with pytest.raises(NothingMatched) as caught:
                next(run)
            depths.append(depth(caught.value))
        assert depths[1] == depths[-1]


@pytest.mark.parametrize("do", [pickle.dumps, copy.copy])
def test_clients_and_runs_are_not_values(do: Callable[[object], object]) -> None:
    """A password would be in the pickle."""
    with Client("http://localhost:9/x", user="u", password="SECRET") as client:
        with pytest.raises(TypeError, match="settings"):
            do(client)
        run = client.search()
        with pytest.raises(TypeError, match="Work"):
            do(run)
        run.close()


def run_program(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


FORKED = """
import os, sys
from dcmweb import Client
with Client(sys.argv[1]) as client:
    list(client.search())
    child = os.fork()
    found = {len(list(client.search("instances"))) for _ in range(20)}
    assert found == {30}, found
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""

FORKED_IN_A_LOOP = """
import os, sys
from dcmweb import Client, UsageError
with Client(sys.argv[1], workers=2, retries=0) as client:
    run = client.retrieve(output=sys.argv[2])
    next(run)
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        assert run.wait().check().items == 30
        assert run.summary.retries == 0
        sys.exit()
    try:
        next(run)
    except UsageError as error:
        assert "another process" in str(error)
        run.close()
    else:
        os._exit(3)
    del run
"""


@NEEDS_FORK
def test_a_client_can_be_used_in_a_forked_process_as_well(origin: Origin) -> None:
    """Parent and child do not read each other's answers."""
    run_program(FORKED, origin.url)


@NEEDS_FORK
def test_a_forked_process_does_not_end_the_run_of_its_parent(
    origin: Origin, tmp_path: Path
) -> None:
    run_program(FORKED_IN_A_LOOP, origin.url, str(tmp_path))


LEFT_OPEN = """
import pathlib, sys, time
from dcmweb import Client
client = Client(sys.argv[1], workers=2)
run = client.retrieve(["studies/1.2.3", "studies/1.9"], sys.argv[2])
next(run)
while not list(pathlib.Path(sys.argv[2]).glob("*.part")):
    time.sleep(0.01)
"""


def test_a_program_that_ends_with_an_open_run_leaves_nothing_half_written(tmp_path: Path) -> None:
    archive = Archive(*make_series(2), *make_series(2, "1.9", "1.9.1", size=4_000_000))

    def stall(request: Request) -> Answer:
        answer = archive(request)
        is_late = "/1.9" in request.path and "multipart" in request.headers["accept"]
        return replace(answer, stall=len(answer.body) // 4) if is_late else answer

    with serving(stall) as origin:
        run_program(LEFT_OPEN, origin.url, str(tmp_path))
    assert list(tmp_path.rglob("*.part")) == []
