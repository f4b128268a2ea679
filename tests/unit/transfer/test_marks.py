"""The time and the run in events, and numbers that other programs would round."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from dcmweb.transfer.manifest import Manifest, read_events
from dcmweb.transfer.marks import Marks
from dcmweb.transfer.outcomes import Outcome, Status, as_event, exact

URL = "http://x/dicomweb"
MTIME = 1_795_444_642_612_996_795


def test_times_are_utc_with_milliseconds_and_never_run_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = Marks("0123")
    found = []
    for now in (0.0, 0.9996, 1.0, 1_795_708_800.25):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        found.append(marks.now())
    assert found == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "2026-11-26T16:00:00.250Z",
    ]


def test_each_run_has_an_id_of_its_own() -> None:
    ids = {Marks().run for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch("[0-9a-f]{12}", one) for one in ids)


def test_numbers_that_would_be_rounded_are_text() -> None:
    event = as_event(Outcome(Status.STORED, "a", size=2**53 + 1, mtime_ns=MTIME))
    assert (event["size"], event["mtime_ns"]) == (str(2**53 + 1), str(MTIME))
    assert as_event(Outcome(Status.STORED, "a", size=2**53))["size"] == 2**53
    assert as_event(Outcome(Status.STORED, "a", mtime_ns=5))["mtime_ns"] == "5"
    assert [exact(2**53), exact(2**53 + 1)] == [2**53, str(2**53 + 1)]


@pytest.mark.parametrize("mtime", [MTIME, str(MTIME)])
def test_manifests_with_numbers_as_they_were_are_read(tmp_path: Path, mtime: object) -> None:
    header = {"type": "manifest", "version": 1, "base_url": URL, "command": "store"}
    event = {"type": "stored", "item": "a", "size": 7, "mtime_ns": mtime}
    end = {"type": "end", "end": "complete", "time": "2026-11-26T14:00:00.000+00:00"}
    path = tmp_path / "m"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in (header, event, end)))
    manifest = Manifest(str(path), URL, "store")
    assert manifest.is_done("a", 7, MTIME)
    assert not manifest.is_done("a", 7, MTIME + 5)
    manifest.close()


@pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq")
def test_a_manifest_that_jq_has_filtered_still_knows_what_is_done(tmp_path: Path) -> None:
    path, filtered = tmp_path / "m", tmp_path / "filtered"
    manifest = Manifest(str(path), URL, "store")
    manifest.record(Outcome(Status.STORED, "a", 7, mtime_ns=MTIME))
    manifest.record(Outcome(Status.FAILED, "b", 7, mtime_ns=MTIME))
    manifest.end("complete", 1)
    manifest.close()
    with filtered.open("wb") as out:
        subprocess.run(["jq", "-c", 'select(.type != "failed")', path], stdout=out, check=True)
    manifest = Manifest(str(filtered), URL, "store")
    assert manifest.is_done("a", 7, MTIME)
    manifest.close()


def test_every_line_of_a_manifest_has_the_run(tmp_path: Path) -> None:
    path = tmp_path / "m"
    manifest = Manifest(str(path), URL, "store", run_id="0123456789ab")
    manifest.record(Outcome(Status.STORED, "a", 7, mtime_ns=MTIME))
    manifest.end("complete", 0)
    manifest.close()
    _, stored, end = read_events(str(path))
    assert stored["run"] == end["run"] == "0123456789ab"
    assert end["started"] <= stored["time"] <= end["time"]
    assert end["exit_code"] == 0
