"""The manifest: what it remembers, and what it makes of what a crash leaves."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmweb.errors import LocalError, UsageError
from dcmweb.locks import Locking
from dcmweb.transfer import manifest as module
from dcmweb.transfer.manifest import Manifest, is_manifest, last_events, read_events
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.transfer.recording import recorded
from dcmweb.transfer.stop import Stop

URL = "http://server.example/dicomweb"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.ndjson"


@contextmanager
def opened(path: Path, url: str = URL, command: str = "store") -> Iterator[Manifest]:
    manifest = Manifest(str(path), url, command)
    try:
        yield manifest
    finally:
        manifest.close()


def outcome(status: Status, item: str = "a", size: int = 7, mtime_ns: int = 5) -> Outcome:
    return Outcome(status, item, size, mtime_ns=mtime_ns)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DONE_BEFORE])
def test_what_is_final_is_done_in_the_next_run(path: Path, status: Status) -> None:
    with opened(path) as manifest:
        assert not manifest.is_done("a", 7, 5)
        manifest.record(outcome(status))
    with opened(path) as manifest:
        assert manifest.is_done("a", 7, 5) is status.is_final


@pytest.mark.parametrize(("item", "size", "mtime_ns"), [("b", 7, 5), ("a", 8, 5), ("a", 7, 6)])
def test_what_is_another_file_or_has_changed_is_not_done(
    path: Path, item: str, size: int, mtime_ns: int
) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    with opened(path) as manifest:
        assert not manifest.is_done(item, size, mtime_ns)


def test_of_several_lines_for_an_item_the_last_counts(path: Path) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
        manifest.record(outcome(Status.FAILED))
        manifest.record(outcome(Status.FAILED, "b"))
        manifest.record(outcome(Status.STORED, "b"))
    with opened(path) as manifest:
        assert not manifest.is_done("a", 7, 5)
        assert manifest.is_done("b", 7, 5)


def test_a_torn_line_is_cut_off_and_the_record_goes_on_behind_the_others(path: Path) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        with opened(path) as manifest:
            assert not manifest.is_done("a", 7, 5)
            manifest.record(outcome(Status.STORED, "b"))
        assert [line.get("item") for line in lines(path)] == [None, "b"]


@pytest.mark.parametrize("left", [b"", b'{"type": "mani'])
def test_a_manifest_whose_header_is_torn_is_begun_anew(path: Path, left: bytes) -> None:
    path.write_bytes(left)
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    assert [line["type"] for line in lines(path)] == ["manifest", "stored"]


@pytest.mark.parametrize(
    ("url", "command"), [("http://other.example/dicomweb", "store"), (URL, "retrieve")]
)
def test_a_manifest_of_another_server_or_command_is_refused(
    path: Path, url: str, command: str
) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="manifest"):
        Manifest(str(path), url, command)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("member", "other"),
    [("version", 2), ("destination", "http://other.example"), ("shard", "1/2"), ("type", "run")],
)
def test_a_manifest_of_something_else_is_refused(path: Path, member: str, other: object) -> None:
    with opened(path):
        pass
    path.write_text(json.dumps({**lines(path)[0], member: other}) + "\n")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="manifest"):
        Manifest(str(path), URL, "store")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b'{"type": "stored"}\n', b"[]\n", b"study,series\n1,2\n", b"one line without an end"],
)
def test_a_file_that_is_no_manifest_is_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a manifest"):
        Manifest(str(path), URL, "store")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        '{"type": ["stored"], "item": "x"}',
        '{"type": {}, "item": "x"}',
        '{"type": "stored", "item": "x", "size": {}}',
        '{"type": "stored", "item": "x", "size": 99999999999999999999}',
        '{"type": "stored", "item": "x", "size": "\\ud800"}',
        '{"type": "stored", "item": "x", "size": null}',
        '{"type": "stored", "item": "x", "mtime_ns": [1]}',
        '{"type": "stored", "item": "x", "mtime_ns": 1e400}',
        '{"type": "stored", "item": "x", "mtime_ns": NaN}',
        '{"type": "stored", "size": %s}' % ("9" * 5000),
        '{"type": "stored", "size": "%s"}' % ("9" * 5000),
        '{"type": "stored", "size": "²"}',
        "[" * 5000,
        '{"a":' * 5000,
        "\x00",
    ],
)
def test_a_line_that_is_no_event_is_named(path: Path, line: str) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    with path.open("a") as file:
        file.write(f"{line}\n")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not a manifest: see line 3"):
        Manifest(str(path), URL, "store")
    assert path.read_bytes() == before


def test_one_run_uses_a_manifest_at_a_time(path: Path) -> None:
    with opened(path), pytest.raises(LocalError, match="in use"):
        Manifest(str(path), URL, "store")


def test_a_file_system_without_locks_has_no_manifest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "try_lock", lambda _: Locking.UNSUPPORTED)
    with pytest.raises(LocalError, match="without locks"):
        Manifest(str(path), URL, "store")


def test_a_manifest_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot be used"):
        Manifest(str(tmp_path / "nowhere" / "x"), URL, "store")


class FullDisk(io.BytesIO):
    """A file that no more can be written to."""

    def write(self, _data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_record_that_cannot_be_written_ends_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path) as manifest:
        monkeypatch.setattr(manifest, "_file", FullDisk())
        with pytest.raises(LocalError, match="cannot write to the manifest") as recording:
            manifest.record(outcome(Status.STORED))
        with pytest.raises(LocalError, match="cannot write to the manifest") as ending:
            manifest.end("complete", 0)
        assert recording.value.fatal
        assert ending.value.fatal
        monkeypatch.undo()


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
def test_what_was_sent_is_named_though_it_cannot_be_recorded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arriving() -> Iterator[Outcome]:
        for item in ("a", "b", "c"):
            yield outcome(Status.STORED, item)
        stop.check()

    stop = Stop()
    with opened(path) as manifest:
        record = manifest.record

        def full(*those: Outcome) -> None:
            record(*those)
            if any(one.item == "b" for one in those):
                raise LocalError("no space", fatal=True)

        monkeypatch.setattr(manifest, "record", full)
        engine: Any = SimpleNamespace(waiting=(), stop=stop)
        arrived = recorded(arriving(), manifest, engine)
        seen = [(next(arrived).item, stop.is_set()) for _ in range(3)]
        with pytest.raises(LocalError, match="no space"):
            next(arrived)
    assert seen == [("a", False), ("b", True), ("c", True)]


def test_an_error_of_the_run_is_not_one_of_the_manifest(path: Path) -> None:
    def broken() -> Iterator[Outcome]:
        yield outcome(Status.STORED)
        raise UsageError("something else")

    engine: Any = SimpleNamespace(waiting=(), stop=Stop())
    with opened(path) as manifest, pytest.raises(UsageError, match="something else"):
        list(recorded(broken(), manifest, engine))


@pytest.mark.skipif(os.name == "nt", reason="there, names are no bytes")
def test_names_that_are_no_text_are_remembered(path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.dcm")
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED, name))
    with opened(path) as manifest:
        assert manifest.is_done(name, 7, 5)


def test_a_manifest_is_recognised_by_its_first_line(tmp_path: Path) -> None:
    texts = {
        '{"type": "manifest", "version": 1}\n': True,
        '{"type": "stored"}\n': False,
        "[]\n": False,
        "": False,
        '{"type": "manifest"': False,
        "{" + " " * 100_000: False,
        '{"type": "manifest"' + " " * 100_000 + "}\n": False,  # no more of it is read
    }
    for number, (text, expected) in enumerate(texts.items()):
        path = tmp_path / str(number)
        path.write_text(text)
        assert is_manifest(str(path)) is expected, text
    assert not is_manifest(str(tmp_path))
    assert not is_manifest(str(tmp_path / "none"))


def test_the_last_event_of_each_item_is_read() -> None:
    events: list[dict[str, object]] = [
        {"item": "b", "n": 1},
        {"item": "a", "n": 2},
        {"item": "b", "n": 3},
        {"item": "\udcff"},  # a byte that is not UTF-8
        {"type": "end"},
    ]
    found = sorted(last_events(iter(events)), key=lambda event: str(event["item"]))
    assert found == [events[1], events[2], events[3]]


@pytest.mark.parametrize(
    ("failed", "done", "is_resolved"),
    [
        ("studies/1.2", "studies/1.2", True),
        ("studies/1.2/series/3", "studies/1.2", True),
        ("studies/1.2/?", "studies/1.2", True),
        ("studies/1.2/series/3/?", "studies/1.2", True),
        ("studies/1.2/metadata", "studies/1.2/metadata", True),
        ("", "", True),
        ("?", "", True),
        ("studies/1.2", "", False),
        ("studies/1.2", "studies/1.2/series/3", False),
        ("studies/1.2", "studies/1.2/metadata", False),
        ("studies/1.2/metadata", "studies/1.2", False),
        ("studies/1.2/series/3/instances/4", "studies/1.2", False),
        ("studies/1.23", "studies/1.2", False),
        ("studies/1.20", "studies/1.2", False),
    ],
)
@pytest.mark.parametrize("status", [Status.FAILED, Status.UNKNOWN])
def test_a_failure_is_resolved_by_what_it_is_of(
    path: Path, failed: str, done: str, is_resolved: bool, status: Status
) -> None:
    with opened(path, command="copy") as manifest:
        manifest.record(outcome(status, failed))
    with opened(path, command="copy") as manifest:
        manifest.was_done(done)
        manifest.end("complete", 0)
    last = [(one["type"], one.get("item")) for one in lines(path)[2:]]
    assert last == [*([("resolved", failed)] if is_resolved else []), ("end", None)]
    assert bool(list(last_events(iter(lines(path)[1:])))) is not is_resolved
    with opened(path, command="copy") as manifest:
        assert not manifest.is_done(failed, 7, 5)


@pytest.mark.parametrize("again", ["before", "after"])
def test_a_failure_that_happens_again_is_not_resolved(path: Path, again: str) -> None:
    with opened(path, command="copy") as manifest:
        manifest.record(outcome(Status.FAILED, "studies/1"))
    with opened(path, command="copy") as manifest:
        if again == "before":
            manifest.record(outcome(Status.FAILED, "studies/1"))
        manifest.was_done("studies/1")
        if again == "after":
            manifest.record(outcome(Status.FAILED, "studies/1"))
        manifest.end("complete", 1)
    assert "resolved" not in path.read_text()


def test_a_failure_is_remembered_that_many_lines_came_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 1)  # so that each line is read by itself
    with opened(path, command="copy") as manifest:
        manifest.record(outcome(Status.FAILED, "studies/1"))
        manifest.record(outcome(Status.STORED, "studies/2"))
    with opened(path, command="copy") as manifest:
        manifest.was_done("studies/1")
        manifest.record(outcome(Status.FAILED, "studies/1"))
        manifest.end("complete", 1)
    assert "resolved" not in path.read_text()


@pytest.mark.parametrize("how", ["interrupted", "stopped early"])
def test_only_a_run_that_comes_to_its_end_resolves(path: Path, how: str) -> None:
    with opened(path, command="copy") as manifest:
        manifest.record(outcome(Status.FAILED, "studies/1"))
    with opened(path, command="copy") as manifest:
        manifest.was_done("studies/1")
        manifest.end(how, 1)
    assert "resolved" not in path.read_text()


ODD_LINES = [
    '{"type": "stored", "item": "a", "size": 7, "mtime_ns": 5}',
    '{"type": "failed", "item": "a", "reason": "no"}',
    '{"item": "b", "type": "stored", "size": "7", "mtime_ns": "5"}',
    '{"type":"stored","item":"c","size":7,"mtime_ns":5}',
    '{"type": "stored", "item": "\\u00e9", "size": 7, "mtime_ns": 5}',
    '{"type": "done", "item": "b", "size": 7, "mtime_ns": 5}',
    '{"type": "\\ud800", "item": "c"}',
    '{"type": "end", "end": "complete", "exit_code": 0}',
    '{"type": "resolved", "item": "b"}',
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ODD_LINES), max_size=12), st.integers(1, 400), st.booleans())
def test_lines_in_blocks_say_what_a_parser_says(
    path: Path, chosen: list[str], block: int, is_cut: bool
) -> None:
    path.unlink(missing_ok=True)
    with opened(path):
        pass
    with path.open("a") as file:
        file.write("\n".join(chosen) + "\n" * (bool(chosen) and not is_cut))
    last: dict[str, dict[str, Any]] = {}
    for event in map(json.loads, chosen[:-1] if is_cut else chosen):
        if event["type"] != "end":
            last[event["item"]] = event
    good = {status.name.lower() for status in Status if status.is_final}
    expected = {
        item
        for item, event in last.items()
        if event["type"] in good and (int(event["size"]), int(event["mtime_ns"])) == (7, 5)
    }
    module._BLOCK, kept = block, module._BLOCK
    try:
        with opened(path) as manifest:
            assert {
                item for item in ("a", "b", "c", "é") if manifest.is_done(item, 7, 5)
            } == expected
            assert manifest.knows_any == bool(last)
            manifest.end("complete", 0)
    finally:
        module._BLOCK = kept
    assert lines(path)[-1]["end"] == "complete"
    assert sum(event["type"] == "resolved" for event in lines(path)) == sum(
        json.loads(line)["type"] == "resolved" for line in (chosen[:-1] if is_cut else chosen)
    )


def test_a_line_that_is_none_is_named_by_its_number(path: Path) -> None:
    with opened(path) as manifest:
        for number in range(50):
            manifest.record(outcome(Status.STORED, str(number)))
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:30], "[]", *text[30:]]) + "\n")
    with pytest.raises(UsageError, match="see line 31"):
        Manifest(str(path), URL, "store")


@pytest.mark.parametrize("before", [0, 2])
def test_a_line_without_end_is_not_read_into_memory(
    path: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE", 10_000)
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    whole = b"".join(path.read_bytes().splitlines(keepends=True)[:before])
    path.write_bytes(whole + b"x" * 1_000_000)
    with pytest.raises(UsageError, match=f"not a manifest: see line {before + 1}"):
        Manifest(str(path), URL, "store")
    with pytest.raises(UsageError, match=f"not a manifest: see line {before + 1}"):
        list(read_events(str(path)))
    assert path.stat().st_size == len(whole) + 1_000_000


def test_outcomes_that_came_together_are_lines_of_their_own(path: Path) -> None:
    with opened(path) as manifest:
        assert not manifest.knows_any
        manifest.record(outcome(Status.STORED), outcome(Status.DONE_BEFORE, "b"))
        manifest.record()
        manifest.record(outcome(Status.DONE_BEFORE, "c"))
        manifest.record(outcome(Status.FAILED, "d"), outcome(Status.STORED, "e"))
        assert [event.get("item") for event in lines(path)[1:]] == ["a", "d", "e"]
    with opened(path) as manifest:
        assert manifest.knows_any
        assert [item for item in "abcde" if manifest.is_done(item, 7, 5)] == ["a", "e"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_not_a_file_is_no_manifest(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path):
        with pytest.raises(UsageError, match="not a manifest"):
            Manifest(str(place), URL, "store")
    descriptor = os.open(pipe, os.O_RDWR)  # so that a reader does not wait
    try:
        os.write(descriptor, b'{"type": "manifest"}\n')
        assert not is_manifest(str(pipe))
    finally:
        os.close(descriptor)


def test_a_run_that_writes_nothing_leaves_no_manifest(path: Path) -> None:
    manifest = Manifest(str(path), URL, "store", writes=False)
    manifest.record(outcome(Status.STORED))
    manifest.close()
    assert not path.exists()


def test_a_run_that_writes_nothing_knows_what_was_done(path: Path) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.STORED))
    before = path.read_bytes()
    manifest = Manifest(str(path), URL, "store", writes=False)
    assert manifest.is_done("a", 7, 5)
    manifest.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [b"", b'{"type": "man'])
def test_a_run_that_writes_nothing_leaves_a_torn_header_as_it_is(path: Path, left: bytes) -> None:
    path.write_bytes(left)
    manifest = Manifest(str(path), URL, "store", writes=False)
    assert not manifest.knows_any
    manifest.close()
    assert path.read_bytes() == left


def test_what_was_done_before_is_not_recorded_again(path: Path) -> None:
    with opened(path) as manifest:
        manifest.record(outcome(Status.DONE_BEFORE))
    assert len(lines(path)) == 1


def test_a_manifest_is_on_the_disk_when_it_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))
    with opened(path):
        pass
    assert synced == [path.stat().st_ino]


def test_events_are_read_of_manifests_only(path: Path) -> None:
    path.write_bytes(b'{"type": "stored", "item": "x"}\n')
    with pytest.raises(UsageError, match="not a manifest"):
        list(read_events(str(path)))
