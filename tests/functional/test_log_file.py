"""`--log-file`: what a run leaves for the person who looks the morning after."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import first, taking

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
    r"(INFO|WARNING|ERROR|DEBUG) +([0-9a-f]{12}) (.*)"
)


def lines(path: Path) -> list[tuple[str, str]]:
    """Read a log: level and message of each line; all lines have the form that is documented."""
    found = [LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(found)
    return [(one[1], one[3]) for one in found if one]


def run_ids(path: Path) -> set[str]:
    return {one[2] for line in path.read_text().splitlines() if (one := LINE.fullmatch(line))}


def test_a_log_has_all_that_matters_even_of_a_quiet_run(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    (tmp_path / "in" / "3.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with serving(first([lambda _: Answer(503)], Archive())) as origin:
        options = ("--log-file", "night.log", "--manifest", "m.ndjson", "--json")
        result = dcmweb("-q", origin.url, "store", "in", *options)
    assert result.code == 1
    assert len(result.err.splitlines()) == 2  # the failure, and the counts
    (started_level, started), *others, ended = lines(tmp_path / "night.log")
    assert (started_level, ended[0]) == ("INFO", "ERROR")
    assert started.startswith(f"Started: dcmweb {origin.url} store in --manifest m.ndjson")
    assert re.fullmatch(r"Ended with exit code 1 after \d+\.\d s", ended[1])
    failed = "in/3.dcm failed: it has no SOP Instance UID (0008,0018)"
    assert ("ERROR", failed) in others
    assert any(level == "INFO" and "/studies: answered 503" in text for level, text in others)
    assert "stored 2, skipped 0, failed 1;" in others[-1][1]
    text = (tmp_path / "night.log").read_text()
    assert "uploaded as" not in text
    assert " 503 after " not in text  # of each request, with -v
    events = [json.loads(line) for line in result.out.splitlines()]
    recorded = [json.loads(line) for line in (tmp_path / "m.ndjson").read_text().splitlines()]
    assert {one["run"] for one in [*events, *recorded[1:]]} == run_ids(tmp_path / "night.log")


def test_each_item_and_request_is_there_with_v(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(Archive()) as origin:
        for _ in range(2):
            assert dcmweb(origin.url, "-v", "store", "in", "--log-file", "a.log").code == 0
    text = (tmp_path / "a.log").read_text()
    assert text.count("in/1.dcm uploaded as ") == 2
    assert f" POST {origin.url}/studies, " in text
    assert len(run_ids(tmp_path / "a.log")) == 2
    assert text.count(" INFO ") == len(text.splitlines())


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_others_cannot_read_it(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive()) as origin:
        dcmweb(origin.url, "search", "--log-file", "a.log")
    assert (tmp_path / "a.log").stat().st_mode & 0o007 == 0


def test_neither_secrets_nor_patients_are_in_it(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive()) as origin:
        url = origin.url.replace("://", "://someone:hunter@2@")
        dcmweb(
            *("--header", "X-Key: swordfish", "--query", "key=swordfish", url, "search"),
            *("studies?PatientName=Test^Some One", "PatientID=secret-id-17", "Modality=CT"),
            *("--log-file", "a.log", "-v", "--proxy", "http://p:hunter@127.0.0.1:1"),
            env={"DCMWEB_AUTH_OPTION": "a=swordfish", "DCMWEB_RETRIES": "0"},
        )
    text = (tmp_path / "a.log").read_text()
    assert "search 'studies?PatientName=...' PatientID=... Modality=CT " in text
    assert "--header X-Key:... --query key=..." in text
    assert "Set by variables or the profile: " in text
    assert "--retries 0" in text
    assert "--auth-option a=..." in text
    for secret in ("hunter", "swordfish", "Some", "secret-id"):
        assert secret not in text


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("gone/a.log", 7, "the log file gone/a.log cannot be opened: No such file"),
        ("in", 7, "the log file in cannot be opened: Is a directory"),
        ("in/1.dcm", 2, "--log-file in/1.dcm is a file that this command uses already"),
        ("other.dcm", 2, "other.dcm exists, and is not a log"),
        ("m.ndjson", 2, "--log-file m.ndjson is a file that this command uses already"),
        ("old.ndjson", 2, "old.ndjson exists, and is not a log"),
        ("list.txt", 2, "--log-file list.txt is a file that this command uses already"),
    ],
)
def test_what_cannot_be_a_log_is_an_error_before_anything_starts(
    dcmweb: Dcmweb, tmp_path: Path, name: str, code: int, words: str
) -> None:
    (path,) = write_files(tmp_path / "in", make_series(1))
    (tmp_path / "other.dcm").write_bytes(path.read_bytes())
    (tmp_path / "old.ndjson").write_text('{"type": "manifest"}\n')
    (tmp_path / "list.txt").write_text("in/1.dcm\n")
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    with serving(Archive()) as origin:
        options = ("--files-from", "list.txt", "--manifest", "m.ndjson")
        result = dcmweb(origin.url, "store", "in/1.dcm", *options, "--log-file", name)
        assert not origin.requests
    assert (result.code, len(result.err.splitlines())) == (code, 1)
    assert words in result.err
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_does_not_end_the_run_and_is_said_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb("-q", origin.url, "store", "in", "--log-file", "/dev/full")
    assert (result.code, len(archive.files)) == (0, 3)
    (line,) = result.err.splitlines()
    assert "the log file /dev/full cannot be written: No space left on device" in line


def test_an_error_that_ends_the_run_is_there(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(lambda _: Answer(401)) as origin:
        result = dcmweb(origin.url, "search", env={"DCMWEB_LOG_FILE": "a.log"})
    assert result.code == 4
    *_, error, ended = lines(tmp_path / "a.log")
    assert error[0] == "ERROR"
    assert error[1].startswith("Error: ")
    assert ended[1].startswith("Ended with exit code 4 ")


def test_an_archive_writes_a_log(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = dcmweb("serve", "in", "--port", "0", "--log-file", "a.log", "--", "true")
    assert result.code == 0
    texts = [text for _, text in lines(tmp_path / "a.log")]
    assert texts[0].startswith("Started: dcmweb serve in --port 0 --log-file a.log")
    assert any(text.startswith("Serving 0 instances") for text in texts)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("before", [[], ["nohup"]])
def test_a_log_that_was_moved_is_opened_anew(tmp_path: Path, before: list[str]) -> None:
    write_files(tmp_path / "in", make_series(4))
    (tmp_path / "a.log").write_text("=== what a script wrote before\n")
    process: subprocess.Popen[bytes]
    posts: list[Request] = []

    def refuse(request: Request) -> Answer:
        posts.append(request)
        if len(posts) == 2:
            (tmp_path / "a.log").rename(tmp_path / "a.log.1")
            process.send_signal(signal.SIGHUP)
        return Answer(400)

    with serving(taking(Archive(), refuse)) as origin:
        process = subprocess.Popen(
            [*before, *DCMWEB, origin.url, "store", "in", "--log-file", "a.log", "--batch-count=1"],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.wait(60) == 1
    old, new = (tmp_path / "a.log.1").read_text(), (tmp_path / "a.log").read_text()
    assert old.startswith("=== what a script wrote before\n")
    assert "Started" in old
    assert "in/4.dcm failed: " in new
    assert "Ended with exit code 1" in new
    assert "Ended" not in old


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")
def test_a_terminal_that_is_closed_still_ends_the_run(tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    master, terminal = pty.openpty()

    def hang_up(_request: Request) -> Answer:
        os.close(master)
        process.send_signal(signal.SIGHUP)  # as the shell does
        return Answer(503)

    with serving(taking(Archive(), hang_up)) as origin:
        process = subprocess.Popen(
            [*DCMWEB, origin.url, "store", "in", "--log-file", "a.log"],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            # Where the tests themselves run below nohup, it would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
        )
        os.close(terminal)
        assert process.wait(60) == 128 + signal.SIGHUP
    assert "Ended with exit code 129 " in (tmp_path / "a.log").read_text()


def test_the_last_event_has_the_exit_code(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(Archive()) as origin:
        good = dcmweb(origin.url, "store", "in", "--json")
        (tmp_path / "m").write_text('{"type": "manifest", "version": 1, "base_url": "other"}\n')
        refused = dcmweb(origin.url, "store", "in", "--json", "--manifest", "m")
        origin.handler = lambda _: Answer(401)
        stopped = dcmweb(origin.url, "store", "in", "--json")
    for result, kind in ((good, "summary"), (stopped, "summary"), (refused, "end")):
        last = json.loads(result.out.splitlines()[-1])
        assert (last["exit_code"], last["type"]) == (result.code, kind), result.out
        assert last["time"].endswith("Z")
    assert (good.code, refused.code, stopped.code) == (0, 2, 4)
