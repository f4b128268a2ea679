"""Commands that the tests run as forks do what `python -m dcmweb` does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import forks
from tests.conftest import DCMWEB, clean_environment
from tests.functional.origin import Answer, serving

NOBODY = "http://127.0.0.1:1/dicomweb"

pytestmark = pytest.mark.skipif(not forks.is_possible({}), reason="commands are not run as forks")


def without_times(text: bytes) -> str:
    lines = re.sub(r"^[\d-]+ [\d:,]+ --", "TIME --", text.decode(), flags=re.MULTILINE)
    return re.sub(r"; [\d.]+ s, ", "; SECONDS, ", lines)


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        (["--version"], b""),
        (["serach"], b""),
        ([], b""),
        (["--retries", "0", NOBODY, "search"], b""),
        (["--retries", "0", NOBODY, "store", "--files-from", "-"], b"gone.dcm\nin/junk\n"),
        ([NOBODY, "store", "--dry-run", "in"], b"x" * 1_000_000),
    ],
    ids=["version", "usage", "help", "network", "stdin", "unread stdin"],
)
def test_a_fork_leaves_what_a_new_process_leaves(
    fork_server: forks.ForkServer, tmp_path: Path, args: list[str], stdin: bytes
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "junk").write_text("junk")
    environment = {**clean_environment(), "HOME": str(tmp_path)}
    done = subprocess.run(
        [*DCMWEB, *args],
        cwd=tmp_path,
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
    )
    code, out, err = fork_server.run(args, tmp_path, environment, stdin, 60)
    assert (code, out) == (done.returncode, done.stdout)
    assert without_times(err) == without_times(done.stderr)


def test_forks_have_environments_of_their_own(
    fork_server: forks.ForkServer, tmp_path: Path
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        for token in ("one", "two"):
            environment = {**clean_environment(), "HOME": str(tmp_path), "DCMWEB_TOKEN": token}
            arguments = ["--auth", "bearer", origin.url, "search"]
            assert fork_server.run(arguments, tmp_path, environment, b"", 60)[0] == 0
    tokens = [request.headers["authorization"] for request in origin.requests]
    assert tokens == ["Bearer one", "Bearer two"]


def test_a_command_that_takes_too_long_is_ended(
    fork_server: forks.ForkServer, tmp_path: Path
) -> None:
    with serving(lambda _: Answer(200, b"[]", stall=0)) as origin:
        with pytest.raises(subprocess.TimeoutExpired):
            fork_server.run([origin.url, "search"], tmp_path, clean_environment(), b"", 0.5)
        assert fork_server.run(["--version"], tmp_path, clean_environment(), b"", 60)[0] == 0


@pytest.mark.parametrize("name", ["PYTHONIOENCODING", "LC_ALL", "TZ"])
def test_what_is_read_at_the_start_needs_a_new_process(name: str) -> None:
    assert not forks.is_possible({name: "C"})
