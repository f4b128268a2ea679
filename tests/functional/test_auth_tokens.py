"""Tokens of variables, files and commands: when they are read, renewed and given up."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import (
    DCMWEB,
    Dcmweb,
    clean_environment,
    make_instance,
    write_files,
)
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.functional.token_servers import BEARER, Issuer
from tests.unit.http.auth.helpers import jwt

LONG = 20.0  # seconds in which a process that was interrupted should have ended
DELETED = Answer(204)


def paths(count: int) -> str:
    return "".join(f"studies/1.2.{number}\n" for number in range(1, count + 1))


def counting(tmp_path: Path, text: str) -> str:
    """A command that prints a text, and notes in a file that it was run."""
    code = "import sys; open(sys.argv[1], 'a').write('x'); print(sys.argv[2])"
    parts = [sys.executable, "-c", code, str(tmp_path / "runs"), text]
    return subprocess.list2cmdline(parts) if sys.platform == "win32" else shlex.join(parts)


def runs(tmp_path: Path) -> int:
    file = tmp_path / "runs"
    return len(file.read_text()) if file.exists() else 0


def from_file(path: Path) -> str:
    """A command that prints what is in a file, and a line on how it is."""
    return f"cat {shlex.quote(str(path))}"


@pytest.mark.parametrize(
    "printed",
    [
        "abc",
        "Bearer abc",
        json.dumps({"accessToken": "abc", "expiresOn": "2099-01-01 00:00:00.0"}),
        json.dumps({"token": "abc"}),
        json.dumps({"status": {"token": "abc", "expirationTimestamp": "2099-01-01T00:00:00Z"}}),
    ],
)
def test_a_command_prints_the_token_and_is_run_once(
    dcmweb: Dcmweb, tmp_path: Path, printed: str
) -> None:
    with serving(lambda _: DELETED) as origin:
        command = counting(tmp_path, printed)
        arguments = ("-j", "8", "--token-command", command, origin.url, "delete", "-", "--yes")
        result = dcmweb(*arguments, text=paths(40))
    assert result.code == 0
    assert {request.headers["authorization"] for request in origin.requests} == {"Bearer abc"}
    assert runs(tmp_path) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exit 3", "the command of --token-command ended with exit code 3; run it by hand"),
        ("true", "the command of --token-command printed nothing"),
        ("echo two words", "the command of --token-command does not hold a token"),
        ("echo '{\"id\": 1}'", "the command of --token-command holds JSON without an access_token"),
        ("no-such-command-here", "ended with exit code 127"),
    ],
)
def test_a_command_without_a_token_is_an_error_and_no_request(
    dcmweb: Dcmweb, command: str, words: str
) -> None:
    with serving(lambda _: DELETED) as origin:
        result = dcmweb("--token-command", command, origin.url, "search")
    assert result.code == 4
    assert words in result.last
    assert origin.requests == []


@pytest.mark.parametrize("workers", ["8", "32"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_runs_out_is_renewed_once_for_all_threads(
    dcmweb: Dcmweb, tmp_path: Path, workers: str, status: int
) -> None:
    issuer = Issuer(uses=25)
    token = tmp_path / "token"
    token.write_text(issuer.new_token())
    last = threading.Lock()

    def handle(request: Request) -> Answer:
        answer = guarded(request)
        if answer.status == status:
            with last:  # another program renews the token as soon as it is refused
                if request.headers["authorization"] == BEARER + token.read_text():
                    token.write_text(issuer.new_token())
        return answer

    guarded = issuer.guarding(lambda _: DELETED, status)
    with serving(handle) as origin:
        arguments = ("-j", workers, "--token-file", token, origin.url, "delete", "-", "--yes")
        result = dcmweb(*arguments, text=paths(100))
    assert (result.code, "deleted 100" in result.last) == (0, True)
    assert issuer.issued == 2


def test_a_token_is_renewed_ahead_of_its_expiry(dcmweb: Dcmweb, tmp_path: Path) -> None:
    """The server never refuses one: the client knows from the token when it ends."""
    token = tmp_path / "token"
    token.write_text(jwt(time.time() + 3600))
    expired, new = jwt(time.time() - 5), jwt(time.time() + 7200)
    seen: list[str] = []

    def handle(request: Request) -> Answer:
        seen.append(request.headers["authorization"])
        return DELETED

    with serving(handle) as origin:
        for value in (expired, new):
            token.write_text(value)
            assert dcmweb("--token-file", token, origin.url, "delete", "studies/1").code == 0
    assert seen == [BEARER + expired, BEARER + new]  # what is at hand is left to the server


def test_a_token_that_has_expired_is_named_when_it_is_refused(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    with serving(lambda _: Answer(401)) as origin:
        expired = {"DCMWEB_TOKEN": jwt(1_700_000_000)}
        result = dcmweb(origin.url, "search", env=expired)
        other = dcmweb(origin.url, "search", env={"DCMWEB_TOKEN": jwt(4_000_000_000)})
    assert result.code == other.code == 4
    assert "the token expired at 2023-11-1" in result.last
    assert "the token is wrong or has expired" in other.last


def test_many_items_that_are_forbidden_do_not_run_the_command_each(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    for token, most in ((jwt(4_000_000_000), 1), ("opaque", 2)):
        (tmp_path / "runs").unlink(missing_ok=True)
        with serving(lambda _: Answer(403)) as origin:
            command = counting(tmp_path, token)
            arguments = ("-j", "8", "--token-command", command, origin.url, "delete", "-", "--yes")
            result = dcmweb(*arguments, "--max", "500", text=paths(200))
        assert result.code == 1
        assert "failed 200" in result.last
        assert runs(tmp_path) == most


def test_an_upload_in_parallel_outlives_its_tokens(dcmweb: Dcmweb, tmp_path: Path) -> None:
    issuer = Issuer(uses=3)
    token = tmp_path / "token"
    archive = Archive()
    lock = threading.Lock()

    def issue() -> None:
        token.write_text(json.dumps({"access_token": issuer.new_token(), "expires_in": 900}))

    def handle(request: Request) -> Answer:
        answer = guarded(request)
        if answer.status == 401:
            with lock:
                if request.headers["authorization"] == f"Bearer T0KEN-{issuer.issued}":
                    issue()
        return answer

    guarded = issuer.guarding(archive)
    issue()
    files = [make_instance(instance=f"1.2.3.4.{n}", size=3_000_000) for n in range(1, 17)]
    write_files(tmp_path / "in", files)
    with serving(handle) as origin:
        command = f"cat {token}"
        result = dcmweb("-j", "8", "--token-command", command, origin.url, "store", "in")
    assert result.code == 0, result.err
    assert "stored 16, skipped 0, failed 0" in result.last
    assert sorted(archive.files.values()) == sorted(files)
    assert issuer.issued == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send on Windows")
@pytest.mark.parametrize("command", [["search"], ["-j", "2", "delete", "studies/1", "studies/2"]])
def test_a_slow_command_does_not_hold_up_an_interruption(
    tmp_path: Path, command: list[str]
) -> None:
    started = tmp_path / "started"
    slow = f"touch {started}; exec sleep 600"
    with serving(lambda _: DELETED) as origin:
        line = [*DCMWEB, "--token-command", slow, origin.url, *command]
        if "delete" in command:
            line.append("--yes")
        process = subprocess.Popen(
            line,
            cwd=tmp_path,
            env={**clean_environment(), "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            until = time.monotonic() + LONG
            while not started.exists() and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LONG)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert b"Traceback" not in err
