"""How far a run has come, and how much there is to do, as programs can ask."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from dcmweb import Client, Progress, Status
from dcmweb.transfer.meter import Phase
from tests.conftest import make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Handler, Request, serving

LONG = 20.0  # seconds in which anything here should have happened


def waiting(archive: Handler, may_go_on: threading.Event, method: str, part: str = "") -> Handler:
    """The archive, which does not answer such requests before it may."""

    def handle(request: Request) -> Answer:
        if request.method == method and part in request.target:
            may_go_on.wait(LONG)
        return archive(request)

    return handle


def until_counted(run: object) -> Progress:
    """Wait until a run knows how much there is, or cannot know."""
    deadline = time.monotonic() + LONG
    progress: Progress = run.progress  # type: ignore[attr-defined]
    while progress.is_counting or (progress.expected is None and progress.seconds < 1):
        assert time.monotonic() < deadline
        time.sleep(0.01)
        progress = run.progress  # type: ignore[attr-defined]
    return progress


@pytest.mark.parametrize(
    ("listed", "shard", "expected"),
    [(False, "", 7), (True, "", 7), (False, "1/1", 7), (None, "", None)],
    ids=["masks", "list", "shard", "once"],
)
def test_files_are_counted_while_they_are_stored(
    tmp_path: Path, listed: bool | None, shard: str, expected: int | None
) -> None:
    paths = write_files(tmp_path / "in", make_series(7))
    size = sum(path.stat().st_size for path in paths)
    go_on = threading.Event()
    with (
        serving(waiting(Archive(), go_on, "POST")) as origin,
        Client(origin.url) as client,
    ):
        if listed is None:
            run = client.store((), listed=iter(paths), shard=shard)
        else:
            run = client.store(
                () if listed else tmp_path / "in", listed=paths if listed else (), shard=shard
            )
        run.count_ahead()  # not begun, nothing happens
        thread = threading.Thread(target=run.wait)
        thread.start()
        while not origin.requests and not run.progress.bytes:
            time.sleep(0.01)
        assert run.progress.expected is None
        run.count_ahead()
        progress = until_counted(run)
        go_on.set()
        thread.join(LONG)
    assert progress.expected == expected
    assert progress.expected_bytes == (size if expected else None)
    assert run.progress.done_bytes == size
    assert run.summary.counts == {Status.STORED: 7}


def test_what_is_in_archives_is_not_counted(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for number, data in enumerate(make_series(3)):
            file.writestr(f"{number}.dcm", data)
    go_on = threading.Event()
    with serving(waiting(Archive(), go_on, "POST")) as origin, Client(origin.url) as client:
        run = client.store(tmp_path / "a.zip")
        thread = threading.Thread(target=run.wait)
        thread.start()
        while not run.progress.bytes:
            time.sleep(0.01)
        run.count_ahead()
        progress = until_counted(run)
        go_on.set()
        thread.join(LONG)
    assert (progress.expected, progress.expected_bytes) == (None, None)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["studies/1.2"], 3),
        (["studies/1.2/series/1.2.1", "studies/1.3"], 5),
        (["studies/1.2", "studies/1.2/rendered"], None),
        (None, 5),
        (iter(["studies/1.2"]), None),
    ],
    ids=["study", "several", "rendered", "all", "iterator"],
)
def test_the_server_is_asked_how_many_instances_there_are(
    tmp_path: Path, paths: list[str] | None, expected: int | None
) -> None:
    archive = Archive(*make_series(3, "1.2", "1.2.1"), *make_series(2, "1.3", "1.3.1"))
    go_on = threading.Event()

    def handle(request: Request) -> Answer:
        is_search = request.path.endswith(("studies", "series", "instances"))
        return archive(request) if is_search else waiting(archive, go_on, "GET")(request)

    with serving(handle) as origin, Client(origin.url) as client:
        run = client.retrieve(paths, tmp_path)
        thread = threading.Thread(target=run.wait)
        thread.start()
        while not origin.requests:
            time.sleep(0.01)
        run.count_ahead()
        progress = until_counted(run)
        go_on.set()
        thread.join(LONG)
    assert progress.expected == expected


def test_the_expected_items_of_all_targets_are_known_once_all_are_listed(tmp_path: Path) -> None:
    archive = Archive(*make_series(3, "1.2", "1.2.1"), *make_series(2, "1.3", "1.3.1"))
    with serving(archive) as origin, Client(origin.url, workers=4) as client:
        run = client.retrieve(["studies/1.2", "studies/1.3"], tmp_path)
        run.wait()
        assert run.progress.expected == 5
        one = client.retrieve("studies/1.2/series/1.2.1", tmp_path)
        one.wait()
        assert one.progress.expected is None  # nobody asked


def test_a_run_that_verifies_says_so_before_and_while_it_does(tmp_path: Path) -> None:
    write_files(tmp_path, make_series(3))
    seen: list[tuple[str, Phase | None]] = []
    archive = Archive()

    def handle(request: Request) -> Answer:
        seen.append((run.progress.later, run.progress.phase))
        return archive(request)

    with serving(handle) as origin, Client(origin.url) as client:
        run = client.store(tmp_path, verify=True)
        run.wait()
    assert seen[0] == ("verifying", None)
    assert seen[-1] == ("", Phase("verifying", "instance", 0, 3)) or seen[-1][1] is not None
    assert run.progress.phase == Phase("verifying", "instance", 3, 3)


def test_rows_are_counted_as_they_come() -> None:
    with serving(Archive(*make_series(3))) as origin, Client(origin.url) as client:
        rows = client.search("instances")
        assert rows.progress.phase == Phase("", "")
        next(rows)
        assert rows.progress.phase == Phase("", "", 1)
        assert len(list(rows)) == 2
        found = client.search("instances", limit=2)
        list(found)
        assert found.progress.phase == Phase("", "", 2, 2)
        metadata = client.metadata("studies/1.2.3")
        list(metadata)
        assert metadata.progress.phase == Phase("", "", 3)


def test_what_a_run_waits_for_can_be_asked(tmp_path: Path) -> None:
    write_files(tmp_path, make_series(1))
    busy = iter([Answer(503, headers={"Retry-After": "1"})])
    archive = Archive()
    seen: list[Progress] = []
    with (
        serving(lambda request: next(busy, None) or archive(request)) as origin,
        Client(origin.url, on_progress=seen.append) as client,
    ):
        run = client.store(tmp_path)
        run.wait()
    pauses = [one.pause for one in seen if one.pause]
    assert pauses
    assert {pause.reason for pause in pauses} == {"server busy (503)"}
    assert all(0 <= pause.seconds <= 1.6 for pause in pauses)
    assert run.progress.pause is None
