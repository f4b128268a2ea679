"""The client as a program uses it, with errors and broken loops in the middle of the work."""

from __future__ import annotations

import gc
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcmweb import (
    AuthError,
    Client,
    ItemsFailed,
    NothingMatched,
    Outcome,
    Progress,
    ProtocolError,
    Refused,
    Status,
    UsageError,
)
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.http.multipart import Body
from dcmweb.library.runs import Transfer
from tests.conftest import make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Origin, Request, serving

STUDY, SERIES = "studies/1.2.3", "studies/1.2.3/series/1.2.3.4"


@pytest.fixture
def archive() -> Archive:
    return Archive(*make_series(6), *make_series(3, "1.9", "1.9.1"))


@pytest.fixture
def origin(archive: Archive) -> Iterator[Origin]:
    with serving(archive) as server:
        yield server


@pytest.fixture
def client(origin: Origin) -> Iterator[Client]:
    with Client(origin.url, retries=0) as made:
        yield made


def statuses(run: Transfer) -> list[Status]:
    return [outcome.status for outcome in run]


def test_a_day_of_work_with_errors_and_breaks_in_the_middle(tmp_path: Path) -> None:
    """None of what goes wrong on the way harms what comes after it."""
    write_files(tmp_path / "ct", make_series(6))
    with serving(Archive()) as origin, Client(origin.url + "/", retries=0) as client:
        assert client.store(tmp_path / "ct").wait().check().counts == {Status.STORED: 6}
        for _ in client.retrieve(STUDY, tmp_path / "some"):
            break
        with pytest.raises(NothingMatched):
            client.delete("studies/9.9.9", on_error="raise").wait()
        with pytest.raises(NothingMatched):
            client.store(tmp_path / "nothing*").wait()
        for _ in client.search("instances"):
            break
        assert len(list(client.search("instances", {"SOPInstanceUID": "1.2.3.4.2"}))) == 1
        again = client.store([tmp_path / "ct" / "1.dcm", tmp_path / "missing"]).wait()
        assert (again.counts, again.is_good) == ({Status.STORED: 1, Status.FAILED: 1}, False)
        assert client.retrieve(output=tmp_path / "all").wait().check().items == 6
        assert sorted(tree(tmp_path / "all").values()) == sorted(tree(tmp_path / "ct").values())
        assert client.delete(STUDY).wait().check().counts == {Status.DELETED: 1}
        assert list(client.search()) == []
        assert all("//studies" not in request.target for request in origin.requests)


@pytest.mark.parametrize("workers", [1, 4, "auto"])
def test_a_loop_that_is_broken_off_can_be_taken_up_again(
    workers: int, origin: Origin, tmp_path: Path
) -> None:
    with Client(origin.url, workers=workers) as client:
        run = client.retrieve(output=tmp_path)
        first = next(run)
        assert (run.summary.end, run.summary.is_good) == ("stopped early", False)
        rest = list(run)
        assert len({first.item, *(outcome.item for outcome in rest)}) == 9
        assert run.summary.is_good
        assert run.wait() == run.summary


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("dcmweb")}


def test_a_run_that_is_forgotten_ends_at_once_and_cuts_only_its_own(tmp_path: Path) -> None:
    """Its threads end, without the help of the garbage collector; another run goes on."""
    held, go = threading.Event(), threading.Event()
    archive = Archive(*make_series(2), *make_series(2, "1.9", "1.9.1"))

    def slow(request: Request) -> Answer:
        if "/1.9" in request.path and "multipart" in request.headers["accept"]:
            held.set()
            assert go.wait(20)
        return archive(request)

    with serving(slow) as origin, Client(origin.url, workers=2) as client:
        other = client.retrieve("studies/1.9", tmp_path / "other")
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(other.wait)
            assert held.wait(20)
            before = own_threads()
            gc.disable()
            try:
                for _ in client.retrieve(STUDY, tmp_path / "mine"):
                    break
                assert own_threads() <= before
            finally:
                gc.enable()
            go.set()
            assert done.result(20).check().items == 2


def test_runs_in_threads_do_each_other_no_harm(client: Client, tmp_path: Path) -> None:
    def work(number: int) -> int:
        if number % 3 == 0:
            with pytest.raises(NothingMatched):
                client.retrieve("studies/7.7", tmp_path / "x", on_error="raise").wait()
            return 6
        if number % 3 == 1:
            for _ in client.retrieve(STUDY, tmp_path / f"broken{number}"):
                break
            return 6
        return client.retrieve(STUDY, tmp_path / str(number)).wait().check().items

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(24))) == {6}


@pytest.mark.filterwarnings("ignore:store")
def test_what_was_called_and_never_consumed_does_not_pass_for_done(
    origin: Origin, tmp_path: Path
) -> None:
    (path,) = write_files(tmp_path, make_series(1))

    def forget() -> None:
        with Client(origin.url) as client:
            client.store(path)

    with pytest.raises(UsageError, match=r"store\(\) was called, but nothing was done"):
        forget()
    assert origin.requests == []


def test_a_run_that_is_never_consumed_is_warned_of(client: Client) -> None:
    with pytest.warns(RuntimeWarning, match=r"search\(\) was called, but nothing was done"):
        client.search().on_begun()  # as if it had been begun: the client is closed after it


@pytest.mark.filterwarnings("ignore:search")
def test_an_error_of_the_block_is_not_hidden_by_a_run_that_was_not_begun(origin: Origin) -> None:
    def fail() -> None:
        with Client(origin.url) as client:
            client.search()
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_a_run_that_is_closed_on_purpose_is_no_error(origin: Origin, tmp_path: Path) -> None:
    with Client(origin.url) as client:
        client.retrieve(output=tmp_path).close()
        with client.retrieve(output=tmp_path) as run:
            next(run)
        assert list(run) == []
        assert run.summary.end == "stopped early"
        with pytest.raises(ItemsFailed, match="stopped early"):
            run.summary.check()


def test_an_error_is_raised_again_by_whoever_goes_on(origin: Origin, tmp_path: Path) -> None:
    with Client(origin.url) as client:
        run = client.retrieve("studies/8.8", tmp_path, on_error="raise")
        for _ in range(3):
            with pytest.raises(NothingMatched):
                run.wait()


def test_a_closed_client_says_so(origin: Origin) -> None:
    client = Client(origin.url)
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.search()


class TestOnError:
    """The error of a target is its outcome, or raised, as the caller says; not by their number."""

    @pytest.mark.parametrize("paths", [["studies/8.8"], ["studies/8.8", STUDY]])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_outcome(self, paths: list[str], workers: int, origin: Origin, tmp_path: Path) -> None:
        with Client(origin.url, workers=workers) as client:
            found = client.retrieve(paths, tmp_path, on_error="outcome").wait()
            assert found.counts[Status.FAILED] == 1
            assert found.counts.get(Status.RETRIEVED, 0) == 6 * (len(paths) - 1)
            deleted = client.delete([*paths, "studies/1.9"]).wait()
            assert deleted.counts == {Status.FAILED: 1, Status.DELETED: len(paths)}

    @pytest.mark.parametrize("paths", [["studies/8.8"], ["studies/8.8", STUDY]])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_raise(self, paths: list[str], workers: int, origin: Origin, tmp_path: Path) -> None:
        with Client(origin.url, workers=workers) as client:
            with pytest.raises(NothingMatched):
                client.retrieve(paths, tmp_path, on_error="raise").wait()
            with pytest.raises(NothingMatched):
                client.delete(paths, on_error="raise").wait()

    def test_raise_of_a_store_is_about_what_was_named(self, client: Client, tmp_path: Path) -> None:
        (good,) = write_files(tmp_path / "in", make_series(1))
        (tmp_path / "in" / "notes.txt").write_text("not DICOM")
        with pytest.raises(NothingMatched):
            client.store([good, tmp_path / "none"], on_error="raise").wait()
        with pytest.raises(Exception, match="DICOM"):
            client.store([tmp_path / "in" / "notes.txt"], on_error="raise").wait()
        met = client.store(tmp_path / "in", on_error="raise").wait().check()
        assert met.counts == {Status.EXISTS: 1, Status.SKIPPED: 1}

    def test_what_fails_below_a_target_is_an_outcome_all_the_same(self, tmp_path: Path) -> None:
        archive = Archive(*make_series(3))

        def handle(request: Request) -> Answer:
            if request.path.endswith(STUDY) or request.path.endswith("/instances/1.2.3.4.2"):
                return Answer(500 if "instances" in request.path else 404)
            return archive(request)

        with serving(handle) as origin, Client(origin.url, retries=0) as client:
            found = client.retrieve(STUDY, tmp_path, on_error="raise").wait()
            assert found.counts == {Status.RETRIEVED: 2, Status.FAILED: 1}

    def test_metadata(self, client: Client) -> None:
        with pytest.raises(NothingMatched):
            list(client.metadata(["studies/8.8", STUDY]))
        run = client.metadata(["studies/8.8", f"{STUDY}/metadata"], on_error="outcome")
        assert len(list(run)) == 6
        assert [outcome.item for outcome in run.failures] == ["studies/8.8/metadata"]

    def test_an_error_that_no_target_can_escape_ends_the_run(self, tmp_path: Path) -> None:
        with serving(lambda _: Answer(401)) as origin, Client(origin.url) as client:
            run = client.retrieve([STUDY, "studies/1.9"], tmp_path, on_error="outcome")
            with pytest.raises(AuthError):
                run.wait()

    def test_another_word_is_a_usage_error(self, client: Client) -> None:
        with pytest.raises(UsageError, match="on_error is 'ignore'"):
            client.delete(STUDY, on_error="ignore")  # type: ignore[arg-type]


class TestArguments:
    """They are checked where they are given, before anything is sent."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"base_url": "localhost:8042"}, "http://"),
            ({"base_url": ""}, "http://"),
            ({"base_url": "http://h/x?y"}, r"\?"),
            ({"workers": 0}, "workers is 0"),
            ({"workers": 65}, "workers is 65"),
            ({"workers": "many"}, "workers is 'many'"),
            ({"workers": True}, "workers is True"),
            ({"retries": -1}, "retries is -1"),
            ({"connect_timeout": 0}, "connect_timeout is 0"),
            ({"idle_timeout": -1.5}, "idle_timeout is -1.5"),
            ({"idle_timeout": float("nan")}, "idle_timeout is nan"),
            ({"idle_timeout": float("inf")}, "idle_timeout is inf"),
            ({"idle_timeout": None}, "idle_timeout is None"),
            ({"auth": "kerberos"}, "there is no authentication 'kerberos'"),
            ({"auth": "basic"}, "user name"),
            ({"ca_bundle": "/none"}, "no certificates"),
        ],
    )
    def test_of_a_client(self, arguments: dict[str, object], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Client(**{"base_url": "http://127.0.0.1:1", **arguments})  # type: ignore[arg-type]

    def test_of_calls(self, client: Client, origin: Origin, tmp_path: Path) -> None:
        calls: list[Callable[[], object]] = [
            lambda: client.retrieve("studies/1.2/nonsense", tmp_path),
            lambda: client.retrieve("", tmp_path),
            lambda: client.retrieve([""], tmp_path),
            lambda: client.retrieve(STUDY, ""),
            lambda: client.retrieve(STUDY, tmp_path, media_type="nonsense"),
            lambda: client.retrieve(STUDY, tmp_path, layout="../{PatientID}"),
            lambda: client.retrieve(STUDY, tmp_path, viewport="wide"),
            lambda: client.retrieve(STUDY, tmp_path, quality=101),
            lambda: client.search("patients"),
            lambda: client.search("studies", {"PatientNam": "x"}),
            lambda: client.search("studies", {"": "x"}),
            lambda: client.search("studies", fields=["Nonsense"]),
            lambda: client.search("studies", limit=0),
            lambda: client.delete([]),
            lambda: client.delete(""),
            lambda: client.delete(f"{SERIES}/instances/1/frames/1"),
            lambda: client.store([]),
            lambda: client.store(""),
            lambda: client.metadata("studies/1.2/nonsense"),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call()
        assert origin.requests == []

    def test_a_user_in_the_url_is_a_credential(self) -> None:
        with Client("http://me:secret@127.0.0.1:1/x/") as client:
            assert client.base_url == "http://127.0.0.1:1/x"
            assert client.settings.credentials.password == "secret"
            assert "secret" not in repr(client.settings)


class TestSearch:
    """Rows are data sets of the DICOM JSON model."""

    def test_rows_come_as_dicts_however_the_server_pages(self) -> None:
        archive = Archive(*(one for n in range(25) for one in make_series(1, f"1.{n}", f"1.{n}.1")))
        archive.page = 10
        with serving(archive) as origin, Client(origin.url) as client:
            run = client.search()
            rows = list(run)
            assert len({row["0020000D"]["Value"][0] for row in rows}) == 25
            assert run.path_of(rows[0]).startswith("studies/1.")
            assert (run.found, run.has_more) == (25, False)
            assert len(list(client.search(limit=12))) == 12
            assert len(list(client.search("studies", "limit=3", complete=False))) == 3

    def test_pages_have_the_same_rows(self) -> None:
        archive = Archive(*(one for n in range(25) for one in make_series(1, f"1.{n}", f"1.{n}.1")))
        archive.page = 10
        with serving(archive) as origin, Client(origin.url) as client:
            rows = list(client.search())
            run = client.search()
            pages = list(run.pages())
            assert [row for page in pages for row in page] == rows
            assert len(pages) > 1
            assert (run.found, run.has_more) == (25, False)
            assert run.progress.phase
            assert run.progress.phase.done == 25
            run = client.search()
            next(run)
            with pytest.raises(UsageError, match="one by one"):
                run.pages()

    @pytest.mark.parametrize(
        "parameters",
        [
            {"PatientID": "secret-id-17", "StudyInstanceUID": "1.9"},
            [("PatientID", "secret-id-17"), ("StudyInstanceUID", "1.9")],
            "PatientID=secret-id-17&StudyInstanceUID=1.9",
        ],
    )
    def test_parameters_in_any_shape(self, parameters: dict[str, str], client: Client) -> None:
        (row,) = client.search("studies", parameters, fields=["PatientID", "00080061"])
        assert row["00100020"]["Value"] == ["secret-id-17"]
        assert row["00080061"]["Value"] == ["CT"]

    def test_a_server_that_keeps_rows_back_is_an_error(self) -> None:
        rows = [{"0020000D": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(50)]
        answer = Answer(200, json.dumps(rows).encode(), {"Content-Type": "application/dicom+json"})
        with serving(lambda _: answer) as origin, Client(origin.url) as client:
            run = client.search()
            with pytest.raises(ProtocolError, match="has more"):
                list(run)


def test_metadata_comes_as_data_sets_and_as_xml(client: Client) -> None:
    (one,) = client.metadata(f"{SERIES}/instances/1.2.3.4.1")
    assert one["00080018"]["Value"] == ["1.2.3.4.1"]
    documents = list(client.metadata_xml(STUDY))
    assert len(documents) == 6
    assert all(b"NativeDicomModel" in document for document in documents)


def test_metadata_of_data_sets_at_hand(client: Client, tmp_path: Path) -> None:
    dataset = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.66"]},
        "00080018": {"vr": "UI", "Value": ["1.7.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.7"]},
        "0020000E": {"vr": "UI", "Value": ["1.7.2"]},
    }
    assert client.store_metadata([dataset]).wait().check().counts == {Status.STORED: 1}
    path = tmp_path / "one.json"
    path.write_text(json.dumps([{**dataset, "00080018": {"vr": "UI", "Value": ["1.7.9"]}}]))
    assert client.store_metadata(path).wait().check().counts == {Status.STORED: 1}
    assert len(list(client.metadata("studies/1.7"))) == 2


def test_a_manifest_lets_a_run_go_on(origin: Origin, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", make_series(4, "1.5", "1.5.1"))
    record = tmp_path / "run.ndjson"
    with Client(origin.url) as client:
        assert client.store(paths[:2], manifest=record).wait().check().items == 2
        again = client.store(tmp_path / "in", manifest=record).wait().check()
        assert again.counts == {Status.DONE_BEFORE: 2, Status.STORED: 2}
        with pytest.raises(UsageError, match="manifest"):
            client.retrieve(output=tmp_path / "out", manifest=record).wait()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds == ["manifest", "stored", "stored", "end", "stored", "stored", "end"]


def test_progress_is_told_and_can_be_asked_for(origin: Origin, tmp_path: Path) -> None:
    seen: list[Progress] = []
    with Client(origin.url, on_progress=seen.append) as client:
        run = client.retrieve(output=tmp_path)
        assert (run.progress.items, run.progress.expected) == (0, None)
        run.wait()
        last = run.progress
    assert (last.items, last.failed, last.expected) == (9, 0, 9)
    assert last.bytes == run.summary.bytes == sum(map(len, tree(tmp_path).values()))
    assert seen
    assert all(earlier.items <= later.items for earlier, later in itertools.pairwise(seen))


def test_notes_are_told(tmp_path: Path) -> None:
    notes: list[str] = []
    (path,) = write_files(tmp_path, make_series(1))
    with serving(Archive()) as origin, Client(origin.url, on_note=notes.append) as client:
        client.store(path, verify=True).wait().check()
    assert notes == ["Verified: the server lists 1 of 1 instance"]


def test_dry_runs_do_nothing(client: Client, archive: Archive, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path / "in", make_series(1, "1.5", "1.5.1"))
    assert statuses(client.store(path, dry_run=True)) == [Status.PLANNED]
    assert statuses(client.retrieve(STUDY, tmp_path / "out", dry_run=True)) == [Status.PLANNED] * 6
    assert statuses(client.delete(STUDY, dry_run=True)) == [Status.PLANNED]
    assert len(archive.files) == 9
    assert not (tmp_path / "out").exists()


def test_paths_of_an_iterator_are_read_as_they_are_needed(client: Client, tmp_path: Path) -> None:
    taken: list[str] = []

    def paths() -> Iterator[str]:
        for path in (STUDY, "studies/1.9"):
            taken.append(path)
            yield path

    run = client.retrieve(paths(), tmp_path)
    assert taken == []
    assert run.wait().check().items == 9


def test_operations_are_waited_for(tmp_path: Path) -> None:
    polls = iter([False, True, True])

    def handle(request: Request) -> Answer:
        if request.method == "DELETE":
            return Answer(200, b'{"name": "projects/p/operations/1"}')
        return Answer(200, json.dumps({"name": "x", "done": next(polls)}).encode())

    with serving(handle) as origin, Client(origin.url) as client:
        (begun,) = client.delete(STUDY, waits=False)
        assert (begun.status, begun.place) == (Status.BEGUN, "projects/p/operations/1")
        assert client.wait(begun.place).wait().check().counts == {Status.FINISHED: 1}
        assert statuses(client.wait(iter([begun.place]))) == [Status.FINISHED]


def test_a_refusal_of_a_named_target_has_its_status(tmp_path: Path) -> None:
    with serving(lambda _: Answer(410)) as origin, Client(origin.url) as client:
        gone = client.metadata(STUDY)
        with pytest.raises(NothingMatched):
            list(gone)
    with serving(lambda _: Answer(422)) as origin, Client(origin.url) as client:
        refused = client.search()
        with pytest.raises(Refused) as caught:
            list(refused)
        assert caught.value.status == 422


def test_outcomes_name_the_instance(client: Client, tmp_path: Path) -> None:
    (outcome,) = client.retrieve(f"{SERIES}/instances/1.2.3.4.1", tmp_path)
    assert isinstance(outcome, Outcome)
    assert (outcome.study, outcome.series, outcome.instance) == ("1.2.3", "1.2.3.4", "1.2.3.4.1")
    assert Path(outcome.place).stat().st_size == outcome.size


def test_what_was_sent_is_let_go_of_at_once(tmp_path: Path) -> None:
    """Not when Python collects it: the bytes of small files are in memory until they are sent."""
    write_files(tmp_path / "ct", make_series(6))
    gc.collect()
    before = _being_sent()  # which other tests hold
    known = {id(one) for one in before}
    gc.disable()
    try:
        with serving(Archive()) as origin, Client(origin.url) as client:
            client.store(tmp_path / "ct").wait().check()
            left = [one for one in _being_sent() if id(one) not in known]
    finally:
        gc.enable()
    assert left == []


def _being_sent() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, (LocalInstance, Body))]
