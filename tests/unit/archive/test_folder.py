"""The folder and its index: what is served, kept and deleted, and what survives a crash."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import Forbidden

from dcmweb.archive.storage.folder import Kept, Storage
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.resources import Resource
from dcmweb.errors import BrokenDicom, LocalError, NotDicom
from dcmweb.local.partial_files import OWN_FOLDER
from tests.conftest import make_instance, make_series, tree, write_files
from tests.unit.leftovers import left_by_a_dead_run

STORE = Resource()
INSTANCE = Resource("1.2.3", "1.2.3.4", "1.2.3.4.5")


@contextmanager
def opened(folder: Path, lines: list[str] | None = None) -> Iterator[Storage]:
    storage = Storage(str(folder), (lines if lines is not None else []).append)
    try:
        yield storage
    finally:
        storage.close()


def keep(storage: Storage, *files: bytes) -> list[Kept]:
    received = []
    for data in files:
        partial = storage.new_file()
        partial.write(data)
        received.append(storage.look_at(partial))
    return storage.keep(received)


def served(storage: Storage, resource: Resource = STORE) -> list[str]:
    return [entry.path for entry in storage.index.entries(resource)]


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder without those of the archive's own."""
    return {k: v for k, v in tree(folder).items() if not k.startswith(OWN_FOLDER)}


def test_files_in_the_folder_are_served_where_they_are(tmp_path: Path) -> None:
    write_files(tmp_path / "sub" / "folder", make_series(3))
    before = content(tmp_path)
    with opened(tmp_path) as storage:
        assert served(storage) == ["sub/folder/1.dcm", "sub/folder/2.dcm", "sub/folder/3.dcm"]
        entry = storage.index.find(Resource("1.2.3", "1.2.3.4", "1.2.3.4.2"))
        assert entry
        assert entry.path == "sub/folder/2.dcm"
    assert content(tmp_path) == before


def test_what_is_not_served_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "cut.dcm").write_bytes(make_instance()[:-10])
    lines: list[str] = []
    with opened(tmp_path, lines) as storage:
        assert served(storage) == []
    assert lines == [
        "cut.dcm is not served: it ends inside element (7FE0,0010)",
        "1 new files are not served: they are not DICOM instances",
        f"Serving 0 instances in {tmp_path}",
    ]
    lines.clear()
    with opened(tmp_path, lines):
        assert lines == [f"Serving 0 instances in {tmp_path}"]


def test_the_second_start_reads_no_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, make_series(3))
    with opened(tmp_path):
        pass
    monkeypatch.setattr(
        "dcmweb.archive.storage.folder.read_header", lambda _file: pytest.fail("read")
    )
    with opened(tmp_path) as storage:
        assert len(served(storage)) == 3


def test_files_that_came_changed_and_went_are_noticed_at_the_next_start(tmp_path: Path) -> None:
    first, second, _third = write_files(tmp_path, make_series(3))
    with opened(tmp_path):
        pass
    first.unlink()
    second.write_bytes(make_instance(instance="1.2.3.4.22", size=1024))
    (tmp_path / "new.dcm").write_bytes(make_instance(instance="1.2.3.4.44"))
    with opened(tmp_path) as storage:
        uids = {e.resource.instance for e in storage.index.entries(STORE)}
    assert uids == {"1.2.3.4.22", "1.2.3.4.3", "1.2.3.4.44"}


@pytest.mark.parametrize("damage", ["missing", "rubbish", "another version"])
def test_an_index_that_cannot_be_used_is_made_anew(tmp_path: Path, damage: str) -> None:
    write_files(tmp_path, make_series(2))
    with opened(tmp_path):
        pass
    index = tmp_path / OWN_FOLDER / "index.sqlite3"
    if damage == "missing":
        index.unlink()
    elif damage == "rubbish":
        index.write_bytes(os.urandom(index.stat().st_size))
    else:
        with sqlite3.connect(index) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    with opened(tmp_path) as storage:
        assert len(served(storage)) == 2


def test_what_is_stored_lies_in_the_tree_that_retrieve_writes(tmp_path: Path) -> None:
    data = make_instance()
    with opened(tmp_path) as storage:
        assert keep(storage, data) == [Kept.NEW]
    assert content(tmp_path) == {"1.2.3/1.2.3.4/1.2.3.4.5.dcm": data}
    with opened(tmp_path) as storage:
        assert len(served(storage)) == 1


def test_an_instance_that_is_there_is_kept_as_it_is(tmp_path: Path) -> None:
    data, other = make_instance(), make_instance()
    with opened(tmp_path) as storage:
        assert keep(storage, data, data, other) == [Kept.NEW, Kept.SAME, Kept.DIFFERENT]
        assert keep(storage, other, data) == [Kept.DIFFERENT, Kept.SAME]
    assert list(content(tmp_path).values()) == [data]


def test_another_file_in_the_place_of_an_instance_stays(tmp_path: Path) -> None:
    place = tmp_path / "1.2.3" / "1.2.3.4"
    place.mkdir(parents=True)
    (place / "1.2.3.4.5.dcm").write_text("my notes")
    data = make_instance()
    with opened(tmp_path) as storage:
        assert keep(storage, data) == [Kept.NEW]
        assert served(storage) == ["1.2.3/1.2.3.4/1.2.3.4.5-2.dcm"]
    assert (place / "1.2.3.4.5.dcm").read_text() == "my notes"


def test_an_instance_whose_file_somebody_removed_can_be_stored_again(tmp_path: Path) -> None:
    data = make_instance()
    with opened(tmp_path) as storage:
        keep(storage, data)
        (tmp_path / "1.2.3/1.2.3.4/1.2.3.4.5.dcm").unlink()
        assert keep(storage, data) == [Kept.NEW]
        assert len(served(storage)) == 1


def test_what_was_stored_is_removed_when_it_is_deleted(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        keep(storage, *make_series(3))
        assert storage.delete(Resource("1.2.3", "1.2.3.4", "1.2.3.4.2")) == 1
        assert len(served(storage)) == len(content(tmp_path)) == 2
        assert storage.delete(Resource("1.2.3")) == 2
        assert storage.delete(Resource("1.2.3")) == 0
    assert content(tmp_path) == {}
    assert not (tmp_path / "1.2.3").exists()


def test_files_that_lay_there_before_stay_when_they_are_deleted(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, [make_instance()])
    with opened(tmp_path) as storage:
        assert storage.delete(INSTANCE) == 1
        assert served(storage) == []
    with opened(tmp_path) as storage:
        assert served(storage) == []
        assert keep(storage, make_instance()) == [Kept.NEW]
        assert served(storage) == ["1.2.3/1.2.3.4/1.2.3.4.5.dcm"]
    assert path.exists()


def test_a_copy_takes_the_place_of_a_file_that_is_gone(tmp_path: Path) -> None:
    data = make_instance()
    first, _second = write_files(tmp_path, [data, data])
    lines: list[str] = []
    with opened(tmp_path, lines) as storage:
        assert served(storage) == ["1.dcm"]
    assert lines[0] == "2.dcm is not served: duplicate"
    first.unlink()
    with opened(tmp_path) as storage:
        assert served(storage) == ["2.dcm"]
        assert storage.delete(INSTANCE) == 1


def test_deleting_an_instance_deletes_its_copies_too(tmp_path: Path) -> None:
    data = make_instance()
    write_files(tmp_path, [data, data])
    with opened(tmp_path) as storage:
        storage.delete(INSTANCE)
    with opened(tmp_path) as storage:
        assert served(storage) == []


def test_what_a_crash_left_is_put_in_order(tmp_path: Path) -> None:
    data = make_instance()
    with opened(tmp_path) as storage:
        keep(storage, data)
        keep(storage, make_instance(instance="1.2.3.4.6"))
        # Died after the index forgot one instance, before its file went.
        with storage.index.writing():
            storage.index.mark_deleted(INSTANCE)
    own = tmp_path / OWN_FOLDER
    (own / left_by_a_dead_run()).write_bytes(data[:100])
    # Died after another file had its name, before the index knew it.
    late = tmp_path / "1.2.3" / "1.2.3.4" / "1.2.3.4.7.dcm"
    late.write_bytes(make_instance(instance="1.2.3.4.7"))
    with opened(tmp_path) as storage:
        uids = {entry.resource.instance for entry in storage.index.entries(STORE)}
    assert uids == {"1.2.3.4.6", "1.2.3.4.7"}
    assert len(content(tmp_path)) == 2
    assert not list(own.glob("*.part"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotDicom),
        (b"no image", NotDicom),
        (make_instance()[:-1], BrokenDicom),
        (make_instance()[132:], BrokenDicom),
        (make_instance(study=""), BrokenDicom),
    ],
)
def test_what_is_broken_is_not_kept(tmp_path: Path, data: bytes, error: type[Exception]) -> None:
    with opened(tmp_path) as storage:
        partial = storage.new_file()
        partial.write(data)
        with pytest.raises(error):
            storage.look_at(partial)
        partial.discard()
    assert content(tmp_path) == {}


def test_two_archives_do_not_serve_one_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(LocalError, match="another archive"):
        Storage(str(tmp_path))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no folder"):
        Storage(str(tmp_path / "nowhere"))


def test_names_that_are_no_text_are_served(tmp_path: Path) -> None:
    name = b"caf\xe9.dcm"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(make_instance())
    with opened(tmp_path) as storage:
        entry = storage.index.find(INSTANCE)
        assert isinstance(entry, Entry)
        assert os.fsencode(entry.path) == name


# Folders that cannot be written into.


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder in which no file can be created, as on a CD; root may write anywhere else."""
    folder = tmp_path / "cd"
    write_files(folder, make_series(2))

    def refusing(path: str, mode: str, *args: Any, **how: Any) -> Any:
        if "r" not in mode and path.startswith(str(folder)):
            raise OSError(errno.EROFS, "Read-only file system")
        return open(path, mode, *args, **how)

    monkeypatch.setattr("dcmweb.local.partial_files.open", refusing, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def test_a_read_only_folder_is_served_with_its_index_in_the_cache(
    read_only: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    before = sorted(path.name for path in read_only.rglob("*"))
    with opened(read_only, lines) as storage:
        assert storage.is_read_only
        assert len(list(storage.index.entries(Resource()))) == 2
        assert storage.delete(Resource("1.2.3", "1.2.3.4", "1.2.3.4.1")) == 1
        with pytest.raises(Forbidden):
            storage.new_file()
        assert not storage.index_folder.startswith(str(read_only))
    assert any("read-only" in line and "index is in" in line for line in lines)
    assert sorted(path.name for path in read_only.rglob("*")) == before
    with opened(read_only) as storage:
        assert len(list(storage.index.entries(Resource()))) == 1


def test_how_far_it_has_come_is_told_while_new_files_are_indexed(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.dcm").write_bytes(make_instance(instance=f"1.2.3.4.{number}"))
    told: list[tuple[int, int | None]] = []

    def note(done: int, expected: int | None) -> None:
        told.append((done, expected))

    Storage(str(tmp_path), on_indexed=note).close()
    assert told == [(1, None), (2, None), (3, None), (1, 3), (2, 3), (3, 3)]
    (tmp_path / "4.dcm").write_bytes(make_instance(instance="1.2.3.4.4"))
    told.clear()
    Storage(str(tmp_path), on_indexed=note).close()
    assert told == [(1, None), (1, 1)]


def test_to_replace_an_instance_by_the_same_bytes_changes_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "mine", [make_instance()])
    with opened(tmp_path) as storage:
        partial = storage.new_file()
        partial.write((tmp_path / "mine" / "1.dcm").read_bytes())
        assert storage.keep([storage.look_at(partial)], replace=True) == [Kept.SAME]
        assert served(storage) == ["mine/1.dcm"]
    assert list(content(tmp_path)) == ["mine/1.dcm"]
