"""Lines of the log: their form, what is written when, and disks that are full for a while."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmweb.cli.activity import Activity
from dcmweb.cli.command_line import without_keys
from dcmweb.cli.log_file import LogFile
from dcmweb.cli.progress import Heartbeat
from dcmweb.cli.run_log import RunLog
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.summary import Progress


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def file(tmp_path: Path, reported: list[str]) -> Iterator[LogFile]:
    log = LogFile(str(tmp_path / "log"), reported.append)
    yield log
    log.close()


def text(file: LogFile) -> str:
    return Path(file.path).read_text(encoding="utf-8")


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has no tzset")
@pytest.mark.parametrize(
    ("zone", "offset"),
    [("UTC", "+00:00"), ("XST-5:45", "+05:45"), ("XST3:30", "-03:30")],
)
def test_the_time_has_the_offset_of_the_zone(
    file: LogFile, monkeypatch: pytest.MonkeyPatch, zone: str, offset: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        RunLog(file, "0123", is_verbose=False).line("hello")
    finally:
        monkeypatch.undo()
        time.tzset()
    pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}{re.escape(offset)} INFO    0123 hello\n"
    assert re.fullmatch(pattern, text(file))


def test_what_is_written_of_outcomes(file: LogFile) -> None:
    log = RunLog(file, "0123", is_verbose=False)
    log.outcome(Outcome(Status.STORED, "a"), "a uploaded")
    log.outcome(Outcome(Status.STORED, "b", reason="coerced"), "b uploaded, but: coerced")
    log.outcome(Outcome(Status.EXISTS, "c", reason="there"), "c already there")
    log.outcome(Outcome(Status.UNKNOWN, "d", reason="no answer"), "")
    log.outcome(Outcome(Status.MISSING, "e"), "")
    found = [line.split(maxsplit=3)[1::2] for line in text(file).splitlines()]
    assert found == [
        ["WARNING", "b uploaded, but: coerced"],
        ["ERROR", "d unknown: no answer"],
        ["ERROR", "e missing"],
    ]


def test_names_and_texts_of_servers_cannot_add_lines(file: LogFile) -> None:
    reason = "x\n2026-01-01T00:00:00.000+00:00 INFO    0123 all is well\x1b[2J\u202e\u2028"
    log = RunLog(file, "0123", is_verbose=False)
    log.outcome(Outcome(Status.FAILED, "a\r\nb\udcff", reason=reason), "")
    assert len(text(file).splitlines()) == 1
    assert r"a\x0d\x0ab\xff failed: x\x0a2026" in text(file)


def test_how_far_the_run_is_from_time_to_time(file: LogFile) -> None:
    log = RunLog(file, "0123", is_verbose=False)
    now = 0.0
    heart = Heartbeat(log.line, Activity("Storing", "file"), lambda: now)
    counts = {Status.STORED: 9, Status.FAILED: 1}
    for second in (1, 29, 31, 32, 60, 62):
        now = float(second)
        heart.show(Progress(counts=counts, bytes=2048, expected=50, retries=3))
    found = text(file).splitlines()
    assert len(found) == 2
    assert " INFO    0123 So far: 20% 10 of 50 files, 2.0 KiB, 1 failed, 3 retries" in found[0]


def test_lines_that_were_lost_are_counted(
    file: LogFile, reported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write("0", "first")
    real_write = os.write

    def partly(descriptor: int, data: bytes) -> int:
        if len(data) > 4:
            return real_write(descriptor, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", partly)
    for _ in range(3):
        file.write("1", "lost")
    monkeypatch.setattr(os, "write", real_write)
    file.write("2", "last")
    assert text(file).splitlines()[0] == "0 first"
    assert text(file).splitlines()[-2:] == [
        "2 3 lines before this one could not be written",
        "2 last",
    ]
    assert len(reported) == 1
    assert "No space left" in reported[0]


def test_a_file_that_cannot_be_opened_again_is_kept(
    tmp_path: Path, file: LogFile, reported: list[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = LogFile(str(folder / "log"), reported.append)
    folder.rename(tmp_path / "moved")
    log.reopen_soon()
    log.write("1", "still here")
    log.close()
    assert (tmp_path / "moved" / "log").read_text() == "1 still here\n"
    assert len(reported) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_without_a_reader_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Exception, match="cannot be opened"):
        LogFile(str(tmp_path / "pipe"), print)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("studies", "studies"),
        ("PatientName=Doe^Jane Smith", "PatientName=..."),
        ("limit=1&PatientID=1;2", "limit=1&PatientID=..."),
        ("studies?00100010=x&StudyInstanceUID=1.2", "studies?00100010=...&StudyInstanceUID=1.2"),
        ("?PatientName=a=b", "?PatientName=..."),
    ],
)
def test_values_of_searches_are_hidden(given: str, shown: str) -> None:
    assert without_keys(given) == shown
