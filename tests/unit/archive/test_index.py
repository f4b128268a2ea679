"""The index: durable, in one piece whatever fails, and never at odds with the files."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcmweb.archive.storage import folder as storage_folder
from dcmweb.archive.storage import index as storage_index
from dcmweb.archive.storage import index_place
from dcmweb.archive.storage.folder import Kept, Received, Storage
from dcmweb.archive.storage.index import SERVED
from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.resources import Resource
from dcmweb.errors import LocalError
from dcmweb.local.partial_files import OWN_FOLDER
from dcmweb.locks import Locking
from tests.conftest import make_instance, make_series, write_files
from tests.unit.archive.test_folder import (
    INSTANCE,
    STORE,
    content,
    keep,
    opened,
    read_only,
    served,
)

__all__ = ["read_only"]  # a fixture

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, names and modes of POSIX")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with opened(tmp_path / "folder") as storage:
        yield storage


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def received(storage: Storage, data: bytes) -> Received:
    partial = storage.new_file()
    partial.write(data)
    return storage.look_at(partial)


def partial_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_an_instance_is_on_disk_before_the_index_has_it(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(storage_folder, "sync_file", lambda _file: synced.append("file"))
    monkeypatch.setattr(
        storage_folder, "sync_folder", lambda path: synced.append(os.path.relpath(path, folder))
    )
    storage.index.connection().set_trace_callback(
        lambda sql: synced.append(sql) if sql == "COMMIT" else None
    )
    assert keep(storage, make_instance()) == [Kept.NEW]
    assert synced[0] == "file"
    assert set(synced[1:4]) == {".", "1.2.3", os.path.join("1.2.3", "1.2.3.4")}
    assert synced[4] == "COMMIT"


def test_every_connection_is_durable_and_trusts_nothing_that_came_with_the_folder(
    storage: Storage,
) -> None:
    found: list[Any] = []

    def ask() -> None:
        names = ("synchronous", "journal_mode", "trusted_schema", "busy_timeout")
        query = storage.index.connection().execute
        found.extend(query(f"PRAGMA {name}").fetchone()[0] for name in names)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [2, "wal", 0, 60_000]


def test_closing_closes_the_connections_of_all_threads(folder: Path) -> None:
    with opened(folder) as storage:
        found: list[sqlite3.Connection] = [storage.index.connection()]
        thread = threading.Thread(target=lambda: found.append(storage.index.connection()))
        thread.start()
        thread.join()
    for connection in found:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_change_that_fails_leaves_nothing_behind(storage: Storage) -> None:
    def fail() -> None:
        with storage.index.writing():
            storage.index.add_other("a", 1, 1, "no")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert storage.index.file("a") is None
    with storage.index.writing():
        storage.index.add_other("b", 1, 1, "no")
    assert storage.index.file("b")


def is_locked(storage: Storage) -> bool:
    """Return True if another thread would have to wait to change the index."""
    free: list[bool] = []

    def ask() -> None:
        lock = storage.index._lock
        free.append(lock.acquire(blocking=False))
        if free[0]:
            lock.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return not free[0]


def test_nothing_is_stored_while_files_are_removed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(storage, make_instance())
    locked: list[bool] = []
    remove = storage._remove

    def removing(path: str) -> bool:
        locked.append(is_locked(storage))
        return remove(path)

    monkeypatch.setattr(storage, "_remove", removing)
    storage.delete(INSTANCE)
    assert locked == [True]
    with storage.index.writing():
        assert is_locked(storage)
    assert not is_locked(storage)


def test_a_file_that_is_gone_is_deleted_all_the_same(storage: Storage, folder: Path) -> None:
    keep(storage, *make_series(2))
    (folder / "1.2.3/1.2.3.4/1.2.3.4.1.dcm").unlink()
    assert storage.delete(Resource("1.2.3")) == 2
    assert content(folder) == {}
    assert storage.index.file(os.path.join("1.2.3", "1.2.3.4", "1.2.3.4.1.dcm")) is None


def test_a_file_that_is_stored_again_while_it_is_being_deleted_stays(
    storage: Storage, folder: Path
) -> None:
    """Somebody has removed the file by hand, so that its name is free."""
    data = make_instance()
    keep(storage, data)
    with storage.index.writing():
        (gone,) = storage.index.mark_deleted(INSTANCE)
    (folder / gone.path).unlink()
    assert keep(storage, data) == [Kept.NEW]
    storage._unlink([gone.path])
    assert served(storage) == [gone.path]
    assert content(folder) == {Path(gone.path).as_posix(): data}


def test_of_what_is_there_already_no_copy_is_left(storage: Storage, folder: Path) -> None:
    data = make_instance()
    assert keep(storage, data, data, make_instance()) == [Kept.NEW, Kept.SAME, Kept.DIFFERENT]
    assert partial_files(folder) == []


def test_other_bytes_of_the_same_size_and_time_are_other_bytes(
    storage: Storage, folder: Path
) -> None:
    data = make_instance()
    keep(storage, data)
    (path,) = folder.rglob("*.dcm")
    other = received(storage, data[:-1] + bytes([data[-1] ^ 1]))
    status = path.stat()
    os.utime(other.partial.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert storage.keep([other]) == [Kept.DIFFERENT]


def test_a_replaced_file_of_somebody_else_stays(folder: Path) -> None:
    write_files(folder / "mine", [make_instance()])
    with opened(folder) as storage:
        assert storage.keep([received(storage, make_instance())], replace=True) == [Kept.NEW]
        assert served(storage) == [os.path.join("1.2.3", "1.2.3.4", "1.2.3.4.5.dcm")]
        assert storage.keep([received(storage, make_instance())], replace=True) == [Kept.NEW]
        assert len(content(folder)) == 2  # that of the archive itself has gone
    assert (folder / "mine" / "1.dcm").exists()


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_file_that_changed_is_read_again(folder: Path, change: str) -> None:
    (path,) = write_files(folder, [make_instance()])
    with opened(folder):
        pass
    before = path.stat()
    if change == "size":
        path.write_bytes(make_instance(instance="1.2.3.4.6", size=1024))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        path.write_bytes(make_instance(instance="1.2.3.4.6"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    with opened(folder) as storage:
        assert storage.index.find(INSTANCE) is None
        assert storage.index.find(Resource("1.2.3", "1.2.3.4", "1.2.3.4.6"))


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_of_three_copies_any_may_go(folder: Path, gone: int) -> None:
    paths = write_files(folder, [make_instance()] * 3)
    with opened(folder):
        pass
    paths[gone - 1].unlink()
    (folder / "notes.txt").write_text("no image")
    with opened(folder) as storage:
        assert len(served(storage)) == 1
        assert storage.delete(INSTANCE) == 1
    (folder / "notes.txt").unlink()
    with opened(folder) as storage:
        assert served(storage) == []


def test_an_index_that_is_damaged_inside_is_made_anew(folder: Path) -> None:
    write_files(folder, make_series(300))
    with opened(folder):
        pass
    path = folder / OWN_FOLDER / "index.sqlite3"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with opened(folder) as storage:
        assert len(served(storage)) == 300


def test_what_belonged_to_an_unusable_index_goes_with_it(folder: Path) -> None:
    own = folder / OWN_FOLDER
    with opened(folder):
        pass
    for suffix in storage_index._FILES:
        (own / f"index.sqlite3{suffix}").write_bytes(b"rubbish")
    with opened(folder) as storage:
        for suffix in storage_index._FILES[1:]:
            assert (own / f"index.sqlite3{suffix}").read_bytes() != b"rubbish"
        assert keep(storage, make_instance()) == [Kept.NEW]


def test_a_lock_that_is_refused_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for answer, words in (
        (Locking.TAKEN, "another archive"),
        (Locking.UNSUPPORTED, "has no locks"),
    ):

        def refused(file: object, answer: Locking = answer) -> Locking:
            asked.append(file)
            return answer

        monkeypatch.setattr(storage_folder, "try_lock", refused)
        with pytest.raises(LocalError, match=words):
            Storage(str(folder))
        assert asked[-1].closed


def test_only_what_the_archive_stored_is_removed_at_a_start(folder: Path) -> None:
    (path,) = write_files(folder, [make_instance()])
    with opened(folder) as storage, storage.index.writing():
        storage.index.mark_deleted(STORE)  # as if it had died then
    with opened(folder) as storage:
        assert served(storage) == []
    assert path.exists()


@POSIX
def test_what_cannot_be_read_is_named_and_the_rest_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(folder / "b", make_series(2))
    (folder / "a").mkdir()
    (folder / "loop.dcm").symlink_to("loop.dcm")
    lines: list[str] = []
    scan = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("a"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    def opened_regular(path: str, *how: Any) -> Any:
        if path.endswith("1.dcm"):
            raise OSError(5, "Input/output error", path)
        return open_regular(path, *how)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(storage_folder, "open_regular", opened_regular)
    with opened(folder, lines) as storage:
        assert served(storage) == ["b/2.dcm"]
    assert lines == [
        "a cannot be read: Permission denied",
        "b/1.dcm is not served: Input/output error",
        f"Serving 1 instance in {folder}",
    ]
    monkeypatch.undo()
    with opened(folder) as storage:  # it is tried again
        assert sorted(served(storage)) == ["b/1.dcm", "b/2.dcm"]


@POSIX
def test_pipes_and_partial_files_are_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.dcm")
    (folder / ".dcmweb-1-x.part").write_bytes(make_instance())
    lines: list[str] = []
    with opened(folder, lines) as storage:
        assert served(storage) == []
        # What became something else after it was found is not read either.
        (folder / "device.dcm").symlink_to(os.devnull)
        scan = storage_folder.Scan(storage, lines.append, lambda _done, _all: None)
        assert scan._note("device.dcm", 1, 1) != SERVED
    assert lines == [f"Serving 0 instances in {folder}"]


@POSIX
def test_only_what_links_reach_within_the_folder_is_served(folder: Path, tmp_path: Path) -> None:
    one, two, three = make_series(3)
    outside = tmp_path / "outside"
    write_files(outside, [one, two, three])
    (folder / "real").mkdir()
    (folder / "real" / "1.dcm").write_bytes(one)
    (folder / "out.dcm").symlink_to(outside / "2.dcm")
    (folder / "below").symlink_to(outside)
    (folder / "again").symlink_to(".")
    lines: list[str] = []
    with opened(folder, lines) as storage:
        (entry,) = storage.index.entries(STORE)
        path = folder / entry.path
        assert lines == [
            "2 links are not served: they lead out of the folder",
            f"Serving 1 instance in {folder}",
        ]
        assert storage.present([entry]) == [entry]
        path.unlink()
        os.mkfifo(folder / "pipe")
        for target, is_there in (("pipe", False), ("x.dcm", True)):
            (folder / "x.dcm").write_bytes(one)
            path.symlink_to(folder / target)
            assert storage.present([entry]) == ([entry] if is_there else [])
            path.unlink()
        os.mkfifo(path)
        assert storage.present([entry]) == []
        path.unlink()
        path.symlink_to(outside / "1.dcm")
        assert storage.present([entry]) == []
        path.unlink()
        path.parent.rmdir()
        path.parent.symlink_to(outside)
        assert storage.present([entry]) == []
        (folder / "1.2.3").symlink_to(outside)
        with pytest.raises(LocalError, match="leads out"):
            keep(storage, one)
    assert len(list(outside.iterdir())) == 3


@POSIX
def test_an_index_that_came_with_the_folder_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    own = folder / OWN_FOLDER
    own.mkdir()
    for suffix in storage_index._FILES:
        (own / f"index.sqlite3{suffix}").symlink_to(precious)
    with opened(folder) as storage:
        assert keep(storage, make_instance()) == [Kept.NEW]
        assert not [path for path in own.iterdir() if path.is_symlink()]
        assert stat.S_IMODE((own / "lock").stat().st_mode) == 0o600
    (own / "lock").unlink()
    (own / "lock").symlink_to(precious)
    with pytest.raises(LocalError):
        Storage(str(folder))
    (own / "lock").unlink()
    own.rename(tmp_path / "elsewhere")
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="the index is a symbolic link"):
        Storage(str(folder))
    assert precious.read_bytes() == b"precious"


@POSIX
def test_the_index_of_another_folder_is_not_used_by_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as storage:
        keep(storage, make_instance())
    index = tmp_path / "other" / OWN_FOLDER / "index.sqlite3"
    before = index.read_bytes()
    (folder / OWN_FOLDER).mkdir()
    (folder / OWN_FOLDER / "index.sqlite3").symlink_to(index)
    with opened(folder) as storage:
        assert served(storage) == []
    assert index.read_bytes() == before


def test_an_index_of_another_version_is_made_anew(folder: Path) -> None:
    """Its values may have another form, though its tables have not."""
    write_files(folder, [make_instance()])
    with opened(folder):
        pass
    with closing(sqlite3.connect(folder / OWN_FOLDER / "index.sqlite3")) as index:
        index.execute("UPDATE files SET PatientName = 'of old'")
        index.execute("PRAGMA user_version = 99")
        index.commit()
    with opened(folder) as storage:
        (entry,) = storage.index.entries(STORE)
        assert entry.values["PatientName"] == "Test^Someone"


def test_a_copy_of_what_was_deleted_does_not_come_back(folder: Path) -> None:
    write_files(folder, [make_instance()] * 2)
    with opened(folder) as storage:
        storage.delete(INSTANCE)
        keep(storage, make_instance())
        (entry,) = storage.index.entries(STORE)
    (folder / entry.path).unlink()
    with opened(folder) as storage:
        assert served(storage) == []


@POSIX
def test_a_new_index_is_for_its_owner_only(folder: Path) -> None:
    with opened(folder):
        assert stat.S_IMODE((folder / OWN_FOLDER).stat().st_mode) == 0o700


def test_what_is_defined_in_an_index_is_what_the_archive_defines(folder: Path) -> None:
    with opened(folder) as storage:
        keep(storage, make_instance())
    with closing(sqlite3.connect(folder / OWN_FOLDER / "index.sqlite3")) as index:
        index.execute("CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM files; END")
    with opened(folder) as storage:
        assert keep(storage, make_instance(instance="1.2.3.4.6")) == [Kept.NEW]
        assert len(served(storage)) == 2


def test_a_file_that_became_another_instance_gives_its_place_to_a_copy(folder: Path) -> None:
    first, _second = write_files(folder, [make_instance()] * 2)
    with opened(folder):
        pass
    first.write_bytes(make_instance(instance="1.2.3.4.6", size=1024))
    with opened(folder) as storage:
        assert sorted(served(storage)) == ["1.dcm", "2.dcm"]


def test_a_folder_stays_though_all_that_was_in_it_has_gone(folder: Path, tmp_path: Path) -> None:
    storage = Storage(str(folder), index_folder=str(tmp_path / "index"))
    keep(storage, make_instance())
    storage.delete(STORE)
    assert list(folder.iterdir()) == []
    storage.close()


def test_an_index_within_the_folder_is_not_served(folder: Path) -> None:
    write_files(folder / "x", [make_instance()])
    storage = Storage(str(folder), index_folder=str(folder / "x"))
    assert served(storage) == []
    storage.close()


def test_only_a_lack_of_permission_makes_a_folder_read_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(_folder: str) -> Iterator[None]:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise LocalError("the disk is full") from error
        yield

    monkeypatch.setattr(index_place, "partial_file", full)
    with pytest.raises(LocalError, match="full"):
        Storage(str(folder))


@POSIX
def test_a_cache_folder_has_a_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", "/home/joe")
    for given, start in (("/var/x", "/var/x"), ("x", "/home/joe/.cache"), ("", "/home/joe/.cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert index_place.cache_folder("/a").startswith(f"{start}/dcmweb/archives/")


def test_an_index_elsewhere_belongs_to_one_folder(folder: Path, tmp_path: Path) -> None:
    place, other = str(tmp_path / "index"), tmp_path / "other"
    other.mkdir()
    Storage(str(folder), index_folder=place).close()
    with pytest.raises(LocalError, match="index of another folder"):
        Storage(str(other), index_folder=place)
    Storage(str(folder), index_folder=place).close()


def test_files_of_a_read_only_folder_stay(read_only: Path) -> None:
    """It may have been writable once, and the archive may have stored them then."""
    with opened(read_only) as storage:
        with storage.index.writing() as connection:
            connection.execute("UPDATE files SET own = 1")
        assert storage.delete(STORE) == 2
    with opened(read_only) as storage:
        assert served(storage) == []
    assert len(list(read_only.glob("*.dcm"))) == 2


def test_many_files_are_read_some_to_a_transaction(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_folder, "_TOGETHER", 2)
    transactions: list[None] = []
    writing = storage_index.Index.writing

    def counted(self: storage_index.Index) -> Any:
        transactions.append(None)
        return writing(self)

    monkeypatch.setattr(storage_index.Index, "writing", counted)
    write_files(folder, make_series(5))
    with opened(folder) as storage:
        assert len(served(storage)) == 5
    assert len(transactions) == 3 + 2  # with those that remove what has vanished, or was deleted


@POSIX
def test_only_its_owner_reads_an_index_in_a_folder_that_was_there(
    tmp_path: Path,
) -> None:
    place = tmp_path / "index"
    place.mkdir(mode=0o755)
    with closing(storage_index.Index(str(place / "index.sqlite3"))):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert modes["index.sqlite3"] == modes["index.sqlite3-wal"] == 0o600
