"""Files in jobs and batches; answers that are about other requests; names in records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.dicom.part10 import Identity, LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.local import masks
from dcmweb.local.archive_names import INSIDE, split_member
from dcmweb.local.masks import find
from dcmweb.settings import Settings
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.store import matching, response_module
from dcmweb.transactions.store.file_jobs import HELD, UNSEEN, FileJobs, Files, batches
from dcmweb.transactions.store.finding import record_name
from dcmweb.transactions.store.matching import Sent
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.response_module import NotStored, Stored, StoreResponse
from dcmweb.transfer.outcomes import Outcome, Status, nothing_is_done
from tests.conftest import make_instance

BYTES, COUNT = 10_000, 8


class Batches:
    """Stands in for a sender, and keeps the batches."""

    batch_bytes, batch_count = BYTES, COUNT

    def __init__(self) -> None:
        self.sent: list[Batch] = []

    def deliver(self, batch: Batch) -> Iterator[Outcome]:
        self.sent.append(batch)
        for one in batch:
            yield Outcome(Status.STORED, one.path)


def run(folder: Path, is_done: Any) -> tuple[list[Outcome], list[Batch]]:
    sender: Any = Batches()
    context: Any = RunContextStandIn()
    files = Files([str(folder)], (), OnError.OUTCOME)
    jobs = FileJobs(context, files, is_done, sender, identifies_all=False)
    return [outcome for job in jobs for outcome in job()], sender.sent


class RunContextStandIn:
    settings = Settings(base_url="http://server.example/", batch_count=COUNT, batch_bytes=BYTES)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from([0, 3, 400, 2000, BYTES // 2, BYTES, 3 * BYTES]), max_size=40))
def test_files_are_in_batches_by_their_true_sizes(tmp_path: Path, sizes: list[int]) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    for number, size in enumerate([400, *sizes]):
        path = tmp_path / f"{number:03d}.dcm"
        is_dicom = size >= 400
        data = make_instance("1.2", "1.2.3", f"1.2.3.{number + 1000}", 64)
        path.write_bytes(data.ljust(size, b"\0") if is_dicom else b"x" * size)
    outcomes, sent = run(tmp_path, nothing_is_done)
    again, looked_at = run(tmp_path, lambda _path, _size, _mtime_ns: False)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    assert sorted(outcome.item for outcome in outcomes) == paths
    assert sorted(outcome.item for outcome in again) == paths
    for batch in (*sent, *looked_at):
        assert len(batch) <= COUNT
        assert len(batch) == 1 or sum(one.size for one in batch) <= BYTES
    assert {(o.item, o.status) for o in outcomes} == {(o.item, o.status) for o in again}


def test_of_files_that_are_new_few_are_looked_at_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(64):
        (tmp_path / f"{number:03d}.dcm").write_bytes(make_instance("1", "2", f"3.{number}", 64))
    looked: list[str] = []
    stamp = LocalFile.stamp

    def noted(self: LocalFile) -> Any:
        looked.append(self.path)
        return stamp(self)

    monkeypatch.setattr(LocalFile, "stamp", noted)
    run(tmp_path, nothing_is_done)
    assert len(looked) == 64 // (UNSEEN + 1)
    looked.clear()
    run(tmp_path, lambda _path, _size, _mtime_ns: False)
    assert len(looked) == 64


def test_a_file_is_opened_no_earlier_than_its_batch(tmp_path: Path) -> None:
    for number in range(2 * COUNT):
        (tmp_path / f"{number:03d}.dcm").write_bytes(make_instance("1", "2", f"3.{number}", 64))
    large = tmp_path / "999.dcm"
    large.write_bytes(make_instance("1", "2", "3.999", 64).ljust(3 * BYTES, b"\0"))
    sender: Any = Batches()
    context: Any = RunContextStandIn()
    begun: list[str] = []
    files = Files([str(tmp_path)], (), OnError.OUTCOME)
    jobs = FileJobs(
        context, files, nothing_is_done, sender, identifies_all=False, on_begun=begun.append
    )
    first = next(iter(jobs))
    assert begun == []
    next(iter(first()))
    assert len(begun) <= COUNT + 1


@pytest.mark.parametrize(("size", "most"), [(0, COUNT), (BYTES // 2, 2)])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_job_has_no_more_files_than_a_request(
    tmp_path: Path, size: int, most: int, is_known: bool
) -> None:
    for number in range(3 * COUNT):
        (tmp_path / str(number)).write_bytes(b"x" * size)
    sender: Any = Batches()
    context: Any = RunContextStandIn()
    files = Files([str(tmp_path)], (), OnError.OUTCOME)
    jobs = FileJobs(context, files, lambda *_: is_known, sender, identifies_all=False)
    counts = [len(list(job())) for job in jobs]
    assert sum(counts) == 3 * COUNT
    assert max(counts) == (COUNT if is_known else most)


def test_the_bytes_that_are_held_have_a_bound() -> None:
    sender: Any = Batches()
    context: Any = RunContextStandIn()
    jobs = FileJobs(context, Files([], (), OnError.OUTCOME), nothing_is_done, sender,
                    identifies_all=False)  # fmt: skip
    assert jobs._held * COUNT * context.settings.workers <= HELD
    assert jobs._in_memory * context.settings.workers <= HELD


def test_what_an_answer_could_not_tell_apart_is_not_in_one_request() -> None:
    sender: Any = Batches()
    one, other, third = batch_of("1", "2", "3")
    same_path = LocalInstance(one.path, 1, 1, other.identity)
    same_uid = LocalInstance("elsewhere", 1, 1, one.identity)
    for twin in (same_path, same_uid):
        assert list(batches([one, twin, third], sender)) == [[one], [twin, third]]


# Answers of other requests.


def batch_of(*uids: str) -> Batch:
    return [LocalInstance(uid, 1, 1, Identity("1", Resource("1", "2", uid), uid)) for uid in uids]


def answer(*stored: str, failed: tuple[str, ...] = ()) -> StoreResponse:
    return StoreResponse(
        {uid: Stored(uid) for uid in stored}, {uid: NotStored(uid) for uid in failed}
    )


def test_what_an_answer_says_of_other_requests_is_left_out() -> None:
    sent = Sent()
    sent.note(batch_of("1", "2"))
    mine = batch_of("3", "4")
    sent.note(mine)
    assert sent.only_own(mine, answer("3", "4")) == answer("3", "4")
    assert sent.only_own(mine, answer("3", "9")) == answer("3", "9")  # a new UID
    assert sent.only_own(mine, answer("3", "1", failed=("2",))) == answer("3")
    assert sent.only_own(mine, answer("1", failed=("2",))) is None
    assert sent.only_own(mine, answer("003", "1")) == answer("003")


def test_the_requests_that_are_remembered_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "REMEMBERED", 5)
    sent = Sent()
    for number in range(20):
        sent.note(batch_of(str(number), str(number + 100)))
        sent.note(batch_of("again"))
    mine = batch_of("19", "119")
    assert sent.only_own(mine, answer("again")) is None
    assert sent.only_own(mine, answer("5")) == answer("5")
    assert len(sent._last) <= 5
    assert sum(map(len, sent._requests)) <= 7
    assert sent.only_own(mine, answer("118", "19")) == answer("19")


def test_what_was_sent_twice_is_remembered_as_long_as_the_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "REMEMBERED", 2)
    sent = Sent()
    mine = batch_of("mine")
    for uid in ("again", "again", "1"):
        sent.note(batch_of(uid))
    assert sent.only_own(mine, answer("again")) is None
    for uid in ("2", "3", "4"):
        sent.note(batch_of(uid))
    assert sent.only_own(mine, answer("again")) == answer("again")


# Items of an answer.

VALUES = st.sampled_from(["1.2.3", " 1.2\0", "", 5, 2.5, None, ["x"], "http://s/studies/1"])
ITEMS = st.dictionaries(
    st.sampled_from(["00081150", "00081155", "00081190", "00081196", "00000902"]),
    st.one_of(
        st.fixed_dictionaries({"vr": st.just("UI"), "Value": st.lists(VALUES, max_size=2)}),
        st.sampled_from([None, {}, {"Value": "1.2"}, {"vr": "UI"}]),
    ),
)


@given(ITEMS)
def test_usual_items_of_an_answer_say_what_all_others_would(item: dict[str, Any]) -> None:
    everything = response_module._OF_STORED
    response_module._OF_STORED = frozenset(["nothing but this"])
    try:
        slowly = response_module._stored({**item, "00000000": {"vr": "UL"}})
    finally:
        response_module._OF_STORED = everything
    assert response_module._stored(item) == slowly


# Names and order of files.


@pytest.mark.skipif(os.name == "nt", reason="there, dots at the end of a name are dropped")
@given(st.text("/.a!z", max_size=12))
def test_a_name_in_records_is_absolute_and_written_in_one_way(path: str) -> None:
    archive, member = split_member(path)
    expected = f"{os.path.abspath(archive)}{INSIDE}{member}" if member else os.path.abspath(path)
    assert record_name(path) == expected
    assert record_name(f"/x{path}") == record_name(record_name(f"/x{path}"))


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_files_that_are_only_counted_are_the_same_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(masks, "NAMES_AT_ONCE", at_once)
    for name in ("a", "b/c", "b/d/e", "b/f", ".dcmweb-x.part", "g.dcm", "h/.dcmweb/i"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for mask in (str(tmp_path), f"{tmp_path}/**", f"{tmp_path}/b/*", f"{tmp_path}/none/*"):
        in_order = [one.path for one in find([mask])]
        assert sorted(one.path for one in find([mask], in_order=False)) == sorted(in_order)
