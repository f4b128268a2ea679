"""`retrieve` that goes on where an earlier run stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree
from tests.functional.archive import LEVELS, Archive
from tests.functional.archives import make_image
from tests.functional.origin import Answer, Origin, Request, serving

STUDY = "studies/1.2.3"
WAYS = [("--skip-existing",), ("--manifest", "m")]


def fetched(origin: Origin) -> list[str]:
    """The paths of what was retrieved, not searched for."""
    paths = [request.path.removeprefix("/dicomweb/") for request in origin.requests]
    return [path for path in paths if not path.endswith(LEVELS)]


@pytest.mark.parametrize("options", WAYS, ids=["skip-existing", "manifest"])
@pytest.mark.parametrize("path", ["", STUDY, f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.1"])
def test_what_is_there_is_not_fetched_again(
    dcmweb: Dcmweb, tmp_path: Path, options: tuple[str, ...], path: str
) -> None:
    archive = Archive(*make_series(3))
    with serving(archive) as origin:
        named = [path] if path else []
        arguments = (origin.url, "retrieve", *named, "-o", "out", *options)
        assert dcmweb(*arguments).code == 0
        first = fetched(origin)
        result = dcmweb(*arguments)
    assert result.code == 0
    assert fetched(origin) == first
    words = "done before" if "--manifest" in options else "already there"
    count = 1 if "instances" in path else 3
    assert "retrieved 0, " in result.last
    assert f"{words} {count}, skipped 0, failed 0;" in result.last
    assert tree(tmp_path / "out") == archive.tree(path)


@pytest.mark.parametrize("options", WAYS, ids=["skip-existing", "manifest"])
def test_the_few_that_are_missing_are_fetched_one_by_one(
    dcmweb: Dcmweb, tmp_path: Path, options: tuple[str, ...]
) -> None:
    archive = Archive(*make_series(20))
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", STUDY, "-o", "out", *options)
        dcmweb(*arguments)
        before = len(fetched(origin))
        for number in (3, 17):
            (tmp_path / "out" / "1.2.3" / "1.2.3.4" / f"1.2.3.4.{number}.dcm").unlink()
        result = dcmweb(*arguments)
    assert result.code == 0
    assert sorted(fetched(origin)[before:]) == [
        f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.{number}" for number in (17, 3)
    ]
    assert tree(tmp_path / "out") == archive.tree()


def test_where_much_is_missing_it_comes_in_one_stream(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*make_series(30))
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", STUDY, "-o", "out", "--skip-existing")
        dcmweb(*arguments)
        for number in range(5, 31):
            (tmp_path / "out" / "1.2.3" / "1.2.3.4" / f"1.2.3.4.{number}.dcm").unlink()
        result = dcmweb(*arguments)
    assert result.code == 0
    assert fetched(origin) == [STUDY, STUDY]
    assert tree(tmp_path / "out") == archive.tree()


def test_by_a_manifest_a_file_that_was_changed_is_fetched_again(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*make_series(3))
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", STUDY, "-o", "out", "--manifest", "m")
        dcmweb(*arguments)
        changed = tmp_path / "out" / "1.2.3" / "1.2.3.4" / "1.2.3.4.2.dcm"
        changed.write_bytes(b"scribble")
        result = dcmweb(*arguments)
    assert result.code == 0
    assert "retrieved 1, " in result.last
    assert tree(tmp_path / "out") == archive.tree()


def test_frames_that_are_there_are_passed_over(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive(make_image(10))) as origin:
        arguments = (origin.url, "retrieve", "--type", "image/png", "-o", "out")
        assert dcmweb(*arguments).code == 0
        whole = tree(tmp_path / "out")
        next((tmp_path / "out").rglob("*_frame_2.png")).unlink()
        before = len(origin.requests)
        result = dcmweb(*arguments, "--skip-existing")
    assert result.code == 0
    assert "retrieved 1, " in result.last
    assert "already there 9" in result.last
    assert tree(tmp_path / "out") == whole
    assert sum("rendered" in r.path for r in origin.requests[before:]) == 1


def test_a_retrieval_that_is_killed_goes_on_where_it_was(dcmweb: Dcmweb, tmp_path: Path) -> None:
    studies = [make_series(3, f"1.2.{n}", f"1.2.{n}.1") for n in range(8)]
    archive = Archive(*[data for files in studies for data in files])
    process: subprocess.Popen[bytes]
    asked: list[str] = []

    def handle(request: Request) -> Answer:
        if not request.path.endswith(LEVELS):
            asked.append(request.path)
            if len(asked) == 5:
                process.send_signal(signal.SIGKILL)
        return archive(request)

    with serving(handle) as origin:
        arguments = (origin.url, "retrieve", "-o", "out", "--manifest", "m")
        process = subprocess.Popen([*DCMWEB, *arguments], cwd=tmp_path, env=clean_environment())
        assert process.wait(60) == -signal.SIGKILL
        left = tree(tmp_path / "out")
        result = dcmweb(*arguments)
    whole = {name: data for name, data in left.items() if name.endswith(".dcm")}
    assert whole.items() <= archive.tree().items()
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()
    known = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert known[-1]["end"] == "complete"
    assert {event["instance"] for event in known[1:-1]} == {uid for _, _, uid in archive.files}
    assert all(os.path.exists(tmp_path / event["place"]) for event in known[1:-1])
