"""What `store` keeps a record of, so that a run can go on and scripts can read on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, write_files
from tests.functional.archive import Archive, sent_parts
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import posts, taking, uids


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_same_command_line_does_only_what_is_not_done(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = make_series(5)
    paths = write_files(tmp_path / "in", files[:4])
    archive = Archive()
    with serving(archive) as origin:
        arguments = (origin.url, "store", "in", "--manifest", "done.ndjson")
        assert dcmweb(*arguments).code == 0
        (tmp_path / "in" / "5.dcm").write_bytes(files[4])
        os.utime(paths[1], (1, 1))
        result = dcmweb(*arguments)
    assert result.code == 0
    assert "stored 2, done before 3, skipped 0, failed 0;" in result.last
    assert [uids(request) for request in posts(origin)][1:] == [["1.2.3.4.2", "1.2.3.4.5"]]


def test_what_failed_is_done_again(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    with serving(taking(archive, lambda _: Answer(400))) as origin:
        first = dcmweb(origin.url, "store", "in", "--manifest", "m", "--failed-to", "bad")
        origin.handler = archive
        again = dcmweb(origin.url, "store", "--files-from", "bad", "--manifest", "m")
        last = dcmweb(origin.url, "store", "in", "--manifest", "m")
    assert (first.code, again.code, last.code) == (1, 0, 0)
    assert (tmp_path / "bad").read_text() == "in/1.dcm\nin/2.dcm\nin/3.dcm\n"
    assert "stored 3, skipped 0, failed 0;" in again.last
    assert "stored 0, done before 3," in last.last


def test_a_manifest_tells_what_became_of_each_item(dcmweb: Dcmweb, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", make_series(2))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    with serving(Archive()) as origin:
        dcmweb(origin.url, "store", "in", "--manifest", "m")
    header, *items, end = events((tmp_path / "m").read_text())
    assert header == {
        "type": "manifest",
        "version": 1,
        "base_url": origin.url,
        "command": "store",
    }
    by_name = {Path(item["item"]).name: item for item in items}
    assert by_name["1.dcm"] == {
        "type": "stored",
        "item": str(paths[0]),
        "size": paths[0].stat().st_size,
        "mtime_ns": str(paths[0].stat().st_mtime_ns),
        "study": "1.2.3",
        "series": "1.2.3.4",
        "instance": "1.2.3.4.1",
        "place": f"{origin.url}/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1",
        "attempts": 1,
        "time": by_name["1.dcm"]["time"],
        "run": end["run"],
    }
    assert end["started"] <= by_name["1.dcm"]["time"] <= end["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", end["time"])
    assert by_name["notes.txt"]["type"] == "skipped"
    assert len(items) == 3


def test_a_manifest_of_another_server_is_refused(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(Archive()) as one, serving(Archive()) as other:
        dcmweb(one.url, "store", "in", "--manifest", "m")
        result = dcmweb(other.url, "store", "in", "--manifest", "m")
    assert result.code == 2
    assert one.url in result.err
    assert not other.requests


def test_a_file_that_is_no_manifest_is_left_alone(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path / "in", make_series(1))
    before = path.read_bytes()
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "--manifest", path)
    assert result.code == 2
    assert path.read_bytes() == before


def test_events_are_all_that_is_on_stdout_and_end_with_a_summary(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "nope.dcm", "--json")
    assert result.code == 1
    *items, summary = events(result.out)
    assert [item["type"] for item in items] == ["stored", "stored", "failed"]
    assert summary["type"] == "summary"
    assert (summary["stored"], summary["failed"], summary["workers"]) == (2, 1, 1)


@pytest.mark.parametrize("null", [False, True])
def test_paths_come_from_stdin_and_mean_themselves(
    dcmweb: Dcmweb, tmp_path: Path, null: bool
) -> None:
    files = make_series(3)
    names = ["in/[1].dcm", "in/a b.dcm", "in/two\nlines.dcm" if null else "in/c*.dcm"]
    (tmp_path / "in").mkdir()
    for name, data in zip(names, files, strict=True):
        (tmp_path / name).write_bytes(data)
    archive, end = Archive(), "\0" if null else "\r\n"
    options = ["-0"] * null
    with serving(archive) as origin:
        text = end.join(["", *names, "gone.dcm"])
        result = dcmweb(origin.url, "store", "--files-from", "-", *options, text=text)
    assert result.code == 1
    assert "gone.dcm failed: No such file or directory" in result.err
    assert sorted(archive.files.values()) == sorted(files)


def test_what_is_no_file_is_no_manifest(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "--manifest", os.devnull)
    assert result.code == 2
    assert "is not a manifest" in result.err


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = make_series(40)
    write_files(tmp_path / "in", files)
    archive = Archive()
    process: subprocess.Popen[bytes]
    sent: list[str] = []

    def store(request: Request) -> Answer:
        if len(sent) == 12:
            process.send_signal(signal.SIGKILL)
        if len(sent_parts(request)) > 4:
            return Answer(413)
        sent.extend(uids(request))
        return archive(request)

    with serving(taking(archive, store)) as origin:
        arguments = (origin.url, "store", "in", "--manifest", "m")
        process = subprocess.Popen([*DCMWEB, *arguments], cwd=tmp_path, env=clean_environment())
        assert process.wait(60) == -signal.SIGKILL
        known = {e["instance"] for e in events((tmp_path / "m").read_text()) if "instance" in e}
        before = len(sent)
        result = dcmweb(*arguments)
    assert result.code == 0
    assert known
    assert not known & set(sent[before:])
    assert sorted(archive.files.values()) == sorted(files)
