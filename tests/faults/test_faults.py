"""Some seeds, the same in each run: `python -m tests.faults` runs thousands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import forks
from tests.faults import disk
from tests.faults.runs import Hardship, Lab, Plan, archive_lab, orthanc_lab, run
from tests.live import orthanc

GROUP = 8  # seeds that run side by side, as they wait most of the time
pytestmark = pytest.mark.slow


def run_all(lab: Lab, seeds: Sequence[int], hardship: Hardship | None = None) -> None:
    with ThreadPoolExecutor(len(seeds)) as pool:
        for _ in pool.map(lambda seed: run(lab, Plan.of(seed), hardship=hardship), seeds):
            pass


@pytest.fixture(scope="module")
def archive(
    fork_server: forks.ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    with archive_lab(tmp_path_factory.mktemp("faults"), fork_server) as lab:
        yield lab


@pytest.mark.parametrize("first", range(1, 41, GROUP))
def test_what_is_said_is_true(archive: Lab, first: int) -> None:
    run_all(archive, range(first, first + GROUP))


@pytest.mark.parametrize("first", [301, 305])
def test_what_is_said_is_true_with_a_full_disk_and_a_clock_that_jumps(
    archive: Lab, first: int, tmp_path: Path
) -> None:
    if not disk.is_possible(tmp_path):
        pytest.skip("a disk of its own takes Linux with user namespaces")
    run_all(archive, range(first, first + GROUP // 2), Hardship(True, True))
    assert archive.faults["full disk"]


def test_what_is_said_is_true_with_a_clock_that_jumps(archive: Lab) -> None:
    run_all(archive, range(321, 321 + GROUP // 2), Hardship(jumps_clock=True))


@pytest.mark.live
@pytest.mark.parametrize("first", [101])
def test_what_is_said_of_orthanc_is_true(
    fork_server: forks.ForkServer, tmp_path_factory: pytest.TempPathFactory, first: int
) -> None:
    if words := orthanc.missing():
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(words)
        pytest.skip(words)
    with orthanc_lab(tmp_path_factory.mktemp("faults"), fork_server) as lab:
        run_all(lab, range(first, first + GROUP))
