"""`--requests-per-second` and `--rate-limit`: how much of a line and a server a run takes.

How long a run takes at least is what a limit means; how long at most is not looked at.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving


class Timed:
    """An archive that notes when requests came."""

    def __init__(self, *files: bytes) -> None:
        self.archive = Archive(*files)
        self.times: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self.times.append(time.monotonic())
        return self.archive(request)

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["-j", "4"]])
def test_all_workers_together_keep_to_the_number_of_requests(
    dcmweb: Dcmweb, tmp_path: Path, workers: list[str]
) -> None:
    write_files(tmp_path / "in", make_series(8))
    server = Timed()
    with serving(server) as origin:
        how = (*workers, "--requests-per-second", "8", "--batch-count", "1")
        result = dcmweb(origin.url, "store", "in", *how)
    assert (result.code, len(server.times)) == (0, 8)
    assert server.seconds > 0.7


@pytest.mark.slow
def test_bytes_are_limited_in_both_directions(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = make_series(3, size=50_000)
    write_files(tmp_path / "in", files)
    server = Timed()
    with serving(server) as origin:
        for command in (["store", "in"], ["retrieve", "studies/1.2.3", "-o", "out"]):
            began = time.monotonic()
            assert dcmweb(origin.url, *command, "--rate-limit", "150K/s").code == 0
            assert time.monotonic() - began > 0.8
    assert sorted(tree(tmp_path / "out").values()) == sorted(files)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["store", "in"], ["retrieve", "studies/1.2.3", "-o", "out"]])
def test_a_wait_ends_with_the_run(tmp_path: Path, command: list[str]) -> None:
    files = make_series(3, size=400_000)
    write_files(tmp_path / "in", files)
    server = Timed(*(files if command[0] == "retrieve" else []))
    with serving(server) as origin:
        args = [*DCMWEB, origin.url, *command, "--rate-limit", "1000"]
        process = subprocess.Popen(args, cwd=tmp_path, env=clean_environment())
        while not origin.requests and command[0] == "retrieve":
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_limits_are_keys_of_a_profile(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    config = tmp_path / "config.toml"
    server = Timed()
    with serving(server) as origin:
        config.write_text(
            f'[slow]\nurl = "{origin.url}"\nrequests-per-second = 4.5\nrate-limit = "10M"\n'
            'batch-count = 1\nbatch-size = "1Mi"\nserver = "other"\nif-exists = "fail"\n'
        )
        environment = {"DCMWEB_CONFIG": str(config)}
        assert dcmweb("@slow", "store", "in", env=environment).code == 0
        assert len([r for r in origin.requests if r.method == "POST"]) == 2
        again = dcmweb("@slow", "store", "in", env=environment)
        assert again.code == 1
        config.write_text(f'[slow]\nurl = "{origin.url}"\nrate-limit = "much"\n')
        wrong = dcmweb("@slow", "search", "studies", env=environment)
    assert wrong.code == 2
    assert "line 3: rate-limit is 'much'; give a number of bytes" in wrong.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rate-limit", "fast"], "500K (500,000) or 8Mi (8 MiB)"),
        (["--rate-limit", "5"], "at least 1000"),
        (["--requests-per-second", "0"], "--requests-per-second"),
        (["--page-size", "0"], "--page-size"),
        (["--server", "pacs"], "orthanc"),
    ],
)
def test_what_cannot_be_a_limit_is_a_usage_error(
    dcmweb: Dcmweb, options: list[str], words: str
) -> None:
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "search", "studies", *options)
    assert (result.code, words in result.err, origin.requests) == (2, True, [])
