"""Writing what a server sends: inside the folder, whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import LocalError
from dcmweb.local import partial_files, windows
from dcmweb.local.moving import leads_out
from dcmweb.local.partial_files import (
    OLD,
    PARTIAL_PREFIX,
    PARTIAL_SUFFIX,
    PartialFile,
    WholeFile,
    check_space,
    make_folder,
    partial_file,
    sync_folder,
)
from dcmweb.local.safe_names import instance_path, safe_name, uid_name
from dcmweb.locks import Locking, try_lock
from tests.conftest import tree
from tests.unit.leftovers import left_by_a_dead_run

HOSTILE = (
    "../../x", "..", ".", "", "a/b", "/etc/passwd", "a\\b", "c:x", "~root", ".hidden", "a\0b",
    "a\nb", "\x1b[2J", "\u202etxt", "é", "\udcff", "a b", " ", "-rf *", "CON\r", "x" * 101,
    "x" * 1000, "é" * 300, "..." + "/.." * 50, ".dcmweb-0.part", "%2e%2e%2f",
)  # fmt: skip


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.2", "2.25." + "9" * 59, "a-b_c.1", "-"])
def test_uids_as_they_should_be_stay_as_they_are(uid: str) -> None:
    assert uid_name(uid) == uid


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_makes_a_plain_name(text: str) -> None:
    name = safe_name(text)
    assert name.isascii()
    assert all(character.isalnum() or character in "._-" for character in name)
    assert not name.startswith(".")
    assert 0 < len(name) < 200
    assert safe_name(text) == name


def test_no_two_texts_share_a_name() -> None:
    texts = [*HOSTILE, "x" * 100, "a_b", "_", "a?b", "_." * 10, "x" * 99 + "/", "x" * 100 + "/"]
    texts += [safe_name(text) for text in texts]  # what a server could have computed
    unique = set(texts)
    assert len({safe_name(text) for text in unique}) == len(unique)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["study", "series", "instance"])
def test_nothing_is_written_outside_the_folder(place: str, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    uids = {"study": "1", "series": "2", "instance": "3", place: text}
    resource = Resource(uids["study"], uids["series"], uids["instance"])
    with partial_file(str(folder)) as partial:
        partial.write(b"data")
        final = Path(partial.move_to(instance_path(resource, ".dcm")))
    assert final.read_bytes() == b"data"
    assert final.resolve().relative_to(folder.resolve()).parts == final.relative_to(folder).parts
    assert len(final.relative_to(folder).parts) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [final]


def test_the_tree() -> None:
    resource = Resource("1.2", "3.4", "5.6")
    assert instance_path(resource, ".dcm") == os.path.join("1.2", "3.4", "5.6.dcm")


def test_a_file_appears_only_when_it_is_moved(tmp_path: Path) -> None:
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"one")
        partial.write(memoryview(b"two"))
        (beside,) = tmp_path.iterdir()
        assert beside.name.startswith(PARTIAL_PREFIX)
        assert beside.name.endswith(PARTIAL_SUFFIX)
        assert partial.size == 6
        final = partial.move_to("a/b/c.dcm")
        assert not beside.exists()
    assert Path(final) == tmp_path / "a/b/c.dcm"
    assert Path(final).read_bytes() == b"onetwo"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_takes_the_place_of_one_that_was_there(tmp_path: Path) -> None:
    place = tmp_path / "x.dcm"
    place.write_bytes(b"old")
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"new")
        assert place.read_bytes() == b"old"
        partial.move_to("x.dcm")
    assert place.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), GeneratorExit()])
def test_a_file_is_gone_after_an_error(error: BaseException, tmp_path: Path) -> None:
    def interrupted() -> None:
        with partial_file(str(tmp_path)) as partial:
            partial.write(b"data")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_moved_is_gone(tmp_path: Path) -> None:
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"data")
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_can_be_read_before_it_is_moved(tmp_path: Path) -> None:
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"data")
        with partial.reader() as reader:
            reader.seek(0)
            assert reader.read() == b"data"
        with partial.reader() as reader:
            reader.seek(1)
            assert reader.read(2) == b"at"
        partial.move_to("x")
    assert (tmp_path / "x").read_bytes() == b"data"


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_is_respected(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with partial_file(str(tmp_path)) as partial:
            final = partial.move_to("folder/x")
    finally:
        os.umask(before)
    assert Path(final).stat().st_mode & 0o777 == mode
    assert Path(final).parent.stat().st_mode & 0o777 == 0o777 & ~mask


class Disk(io.FileIO):
    """A file whose every write takes three bytes at most, or fails."""

    error: OSError | None = None

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        if self.error:
            raise self.error
        return super().write(data[:3])

    @classmethod
    def below(cls, partial: PartialFile, monkeypatch: pytest.MonkeyPatch) -> Disk:
        """Put such a file in the place of the one that is written to."""
        disk = cls(os.dup(partial.file.fileno()), "r+b")
        partial.file.close()
        monkeypatch.setattr(partial, "file", disk)
        return disk


def test_writes_that_take_less_than_given_are_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with partial_file(str(tmp_path)) as partial:
        Disk.below(partial, monkeypatch)
        partial.write(b"0123456789")
        assert partial.size == 10
        partial.move_to("x")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("code", "fatal", "hint"),
    [
        (errno.ENOSPC, True, "free some space"),
        (errno.EDQUOT, True, "free some space"),
        (errno.EROFS, True, ""),
        (errno.EIO, True, ""),
        (errno.ENAMETOOLONG, False, ""),
    ],
)
def test_a_disk_that_takes_no_more_ends_the_run(
    code: int, fatal: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> None:
        with partial_file(str(tmp_path)) as partial:
            Disk.below(partial, monkeypatch).error = OSError(code, os.strerror(code))
            partial.write(b"data")

    with pytest.raises(LocalError) as caught:
        written()
    assert caught.value.fatal is fatal
    assert hint in caught.value.hint
    assert os.strerror(code) in caught.value.message
    assert caught.value.path == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    make_folder(str(tmp_path / "a/b"))
    make_folder(str(tmp_path / "a/b"))
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_way_of_a_folder_is_a_local_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalError, match="cannot write into"):
        make_folder(str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_is_gone_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError), partial_file(str(tmp_path / "gone")):
        pytest.fail("there is no folder")


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Path]:
    """A partial file of another process, which lives."""
    code = (
        "import sys; from dcmweb.local.partial_files import PartialFile; "
        "held = PartialFile(sys.argv[1]); print(held.path, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        yield Path(process.stdout.readline().decode().strip())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def make_old(path: Path) -> None:
    then = time.time() - OLD - 60
    os.utime(path, (then, then))


def test_partial_files_of_runs_that_ended_are_removed(tmp_path: Path) -> None:
    (tmp_path / left_by_a_dead_run()).write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"kept")
    make_folder(str(tmp_path))
    assert names(tmp_path) == {"mine.part"}


def test_a_partial_file_of_a_living_run_stays(tmp_path: Path, living: Path) -> None:
    make_folder(str(tmp_path))
    assert names(tmp_path) == {living.name}
    make_old(living)  # as by a server that pauses for long
    make_folder(str(tmp_path))
    assert names(tmp_path) == {living.name}


def test_what_holds_no_lock_stays_while_its_process_lives(tmp_path: Path, living: Path) -> None:
    closed = tmp_path / re.sub(r"[0-9]+\.part$", "99.part", living.name)
    closed.write_bytes(b"written, and not yet moved")
    make_folder(str(tmp_path))
    assert names(tmp_path) == {living.name, closed.name}


@pytest.mark.parametrize(
    "name",
    [
        ".dcmweb-00000000-4000000-0123abcd-1.part",  # of another machine
        ".dcmweb-0123456789abcdef.part",  # of a version that wrote names without an owner
    ],
)
def test_what_may_belong_to_another_machine_goes_only_when_it_is_old(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"half")
    make_folder(str(tmp_path))
    assert names(tmp_path) == {name}
    make_old(path)
    make_folder(str(tmp_path))
    assert not names(tmp_path)


def test_own_files_are_no_leftovers_but_those_of_a_run_that_had_this_number_are(
    tmp_path: Path,
) -> None:
    with partial_file(str(tmp_path)) as mine:
        earlier = re.sub(r"-[0-9a-f]{8}-[0-9]+\.part$", "-00000000-1.part", mine.path)
        Path(earlier).write_bytes(b"half")
        make_folder(str(tmp_path))
        assert names(tmp_path) == {Path(mine.path).name}


@pytest.mark.parametrize("locking", [Locking.UNSUPPORTED, Locking.LOCKED])
def test_where_locks_hold_nothing_a_living_run_keeps_its_files(
    tmp_path: Path, living: Path, locking: Locking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_files, "try_lock", lambda _file: locking)
    make_folder(str(tmp_path))
    assert names(tmp_path) == {living.name}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_names_of_its_own(tmp_path: Path) -> None:
    with partial_file(str(tmp_path)) as mine:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, PartialFile(str(tmp_path)).path.encode())
            os._exit(0)
        os.waitpid(child, 0)
        other = os.read(read, 4096).decode()
        os.close(read)
        os.close(write)
        prefixes = {Path(path).name.rpartition("-")[0] for path in (mine.path, other)}
        assert len(prefixes) == 2


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"first")
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"second")
        with pytest.raises(FileExistsError):
            partial.move_to("x", replaces=False)
        assert (tmp_path / "x").read_bytes() == b"first"
        assert not partial.is_same_as("x")
        partial.move_to("a/y", replaces=False)
    assert tree(tmp_path) == {"x": b"first", "a/y": b"second"}


@pytest.mark.parametrize(
    "code",
    [
        errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL,
    ],
)  # fmt: skip
def test_places_are_exclusive_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    test_a_place_that_is_taken_is_left_alone(tmp_path)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows renames without replacing")
def test_nothing_is_left_of_a_claim_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(LocalError), partial_file(str(tmp_path)) as partial:
        partial.move_to("x", replaces=False)
    assert not names(tmp_path)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows renames without replacing")
def test_a_link_whose_answer_was_lost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_twice(source: str, final: str) -> None:  # as NFS sends a request again
        link(source, final)
        link(source, final)

    monkeypatch.setattr(os, "link", link_twice)
    with partial_file(str(tmp_path)) as partial:
        partial.write(b"data")
        partial.move_to("x", replaces=False)
    assert tree(tmp_path) == {"x": b"data"}


def test_of_many_that_want_a_place_at_once_one_gets_it(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def place(number: int) -> bool:
        with partial_file(str(tmp_path)) as partial:
            partial.write(b"%d" % number)
            together.wait()
            with suppress(FileExistsError):
                partial.move_to("a/x", replaces=False)
                return True
        return False

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            assert sum(pool.map(place, range(8))) == 1
            (tmp_path / "a/x").unlink()


def test_a_file_is_locked_until_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if windows.IS_WINDOWS:
        pytest.skip("Windows moves no file that is open")
    replace = os.replace
    seen: list[Locking] = []

    def watched(source: str, final: str) -> None:
        replace(source, final)
        with open(final, "r+b") as file:
            seen.append(try_lock(file))

    monkeypatch.setattr(os, "replace", watched)
    with partial_file(str(tmp_path)) as partial:
        partial.move_to("x")
    assert seen == [Locking.TAKEN]
    with open(tmp_path / "x", "r+b") as file:
        assert try_lock(file) is Locking.LOCKED


UID_PAIRS = [
    ("1.2.a", "1.2.A"),
    ("1.2", "1.2."),
    ("con", "CON"),
    ("x-ABCDEF012345", "x-abcdef012345"),
]


@pytest.mark.parametrize("uids", UID_PAIRS)
def test_no_two_uids_share_a_file_where_case_does_not_count(uids: tuple[str, str]) -> None:
    found = {uid_name(uid).lower().rstrip(".") for uid in uids}
    assert len(found) == 2


@pytest.mark.parametrize(
    "device", ["CON", "con", "Nul", "AUX", "PRN", "COM1", "LPT9", "COM¹", "nul.1.2", "con .x"]
)
def test_devices_of_windows_are_no_names(device: str) -> None:
    for name in (uid_name(device), safe_name(device)):
        assert not windows.is_device(name)
        assert not windows.is_device(name + ".dcm")
    assert windows.is_device(device)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows has no fcntl to stand in for that of macOS")
@pytest.mark.parametrize("is_known", [True, False])
def test_macos_has_to_empty_the_cache_of_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    import fcntl

    done: list[object] = []

    def control(_file: object, command: int) -> None:
        if not is_known:
            raise OSError(errno.ENOTSUP, "no")
        done.append(command)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: done.append("fsync"))
    with open(tmp_path / "x", "wb") as file:
        partial_files.sync_file(file)
    assert done == ([51] if is_known else ["fsync"])


@pytest.mark.skipif(windows.IS_WINDOWS, reason="which closes files before it moves them")
def test_a_file_has_no_name_if_its_writes_fail_at_a_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on network file systems whose quota is used up."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def move(partial: PartialFile) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("os.close", failing)
            partial.move_to("final")

    with pytest.raises(LocalError) as caught, partial_file(str(tmp_path)) as partial:
        move(partial)
    assert caught.value.fatal
    assert tree(tmp_path) == {}


def test_a_file_for_which_there_is_no_space_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_space(str(tmp_path), 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    check_space(str(tmp_path), 5)
    with pytest.raises(LocalError, match="6 bytes are to come") as caught:
        check_space(str(tmp_path), 6)
    assert caught.value.fatal
    assert "free some space" in caught.value.hint


@pytest.mark.skipif(windows.IS_WINDOWS, reason="links take rights there")
@pytest.mark.parametrize("replaces", [True, False])
def test_a_link_in_place_of_a_folder_is_followed_inside_only(
    tmp_path: Path, replaces: bool
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "real").mkdir(parents=True)
    elsewhere.mkdir()
    (out / "inside").symlink_to(out / "real")
    (out / "study").symlink_to(elsewhere)
    with partial_file(str(out)) as partial:
        partial.move_to("inside/x", replaces=replaces)
    for path in ("study/x", "inside/../study/x"):
        with pytest.raises(LocalError, match="leads out"), partial_file(str(out)) as partial:
            partial.move_to(path, replaces=replaces)
    assert names(elsewhere) == set()
    assert (out / "real" / "x").is_file()


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows has no such links, and tries again")
@pytest.mark.parametrize(
    ("call", "code", "replaces"),
    [("link", errno.EIO, False), ("link", errno.EROFS, False), ("replace", errno.EACCES, True)],
)
def test_a_name_that_cannot_be_given_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, replaces: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(LocalError, match=os.strerror(code)), partial_file(str(tmp_path)) as partial:
        partial.move_to("x", replaces=replaces)
    assert not names(tmp_path)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows does so by itself")
def test_names_in_a_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))
    sync_folder(str(tmp_path))
    assert synced == [tmp_path.stat().st_ino]


def test_a_file_from_memory_appears_with_all_its_bytes(tmp_path: Path) -> None:
    with WholeFile(str(tmp_path), b"data") as whole:
        assert whole.size == 4
        with whole.reader() as reader:
            assert reader.read() == b"data"
        final = whole.move_to("a/b/x")
    status = Path(final).stat()
    assert whole.stamp == (status.st_size, status.st_mtime_ns)
    assert tree(tmp_path) == {"a/b/x": b"data"}


def test_a_file_from_memory_that_was_not_moved_is_gone(tmp_path: Path) -> None:
    with WholeFile(str(tmp_path), b"data"):
        assert len(names(tmp_path)) == 1
    assert not names(tmp_path)


def test_a_file_from_memory_takes_no_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"first")
    with WholeFile(str(tmp_path), b"second") as whole:
        with pytest.raises(FileExistsError):
            whole.move_to("x", replaces=False)
        assert not whole.is_same_as("x")
        assert (tmp_path / "x").read_bytes() == b"first"
    assert tree(tmp_path) == {"x": b"first"}


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_is_respected_for_files_from_memory(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with WholeFile(str(tmp_path), b"data") as whole:
            final = whole.move_to("folder/x")
    finally:
        os.umask(before)
    assert Path(final).stat().st_mode & 0o777 == mode


def test_a_file_from_memory_is_written_on_where_a_write_takes_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda number, data: write(number, data[:3]))
        with WholeFile(str(tmp_path), b"0123456789") as whole:
            whole.move_to("x")
    assert tree(tmp_path) == {"x": b"0123456789"}


@pytest.mark.parametrize("call", ["write", "fstat", "close"])
@pytest.mark.parametrize(("code", "fatal"), [(errno.ENOSPC, True), (errno.EDQUOT, True)])
def test_nothing_is_left_of_a_file_from_memory_that_the_disk_does_not_take(
    call: str, code: int, fatal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems say it when the file is closed."""
    original = getattr(os, call)
    seen: list[int] = []

    def failing(number: int, *rest: bytes) -> None:
        seen.append(number)
        if call == "write" and len(seen) == 1:
            original(number, rest[0][:2])  # the disk is full in the middle of it
        if call == "close":
            original(number)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(LocalError) as caught, WholeFile(str(tmp_path), b"data"):
            pytest.fail("it was not written")
    assert seen
    assert caught.value.fatal is fatal
    assert caught.value.path == str(tmp_path)
    assert not names(tmp_path)


def test_a_file_from_memory_that_was_taken_for_a_leftover_is_written_once_more(
    tmp_path: Path,
) -> None:
    with WholeFile(str(tmp_path), b"data") as whole:
        os.unlink(whole.path)
        whole.move_to("a/x")
    assert tree(tmp_path) == {"a/x": b"data"}


@pytest.mark.skipif(windows.IS_WINDOWS, reason="links of POSIX")
@pytest.mark.parametrize("place", ["a", "a/b"])
@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_link_that_takes_the_place_of_a_folder_between_two_files_is_not_followed(
    place: str, is_dangling: bool, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    with WholeFile(str(out), b"1") as whole:
        whole.move_to("a/b/1")
    (out / place).rename(tmp_path / "moved")
    if not is_dangling:
        (other / "b").mkdir(parents=True)
    (out / place).symlink_to(other)
    with pytest.raises(LocalError, match="leads out"), WholeFile(str(out), b"2") as whole:
        whole.move_to("a/b/2")
    assert tree(other) == {}
    assert names(out) == {"a"}


def test_a_folder_that_goes_between_two_files_is_made_again(tmp_path: Path) -> None:
    for number in range(2):
        with WholeFile(str(tmp_path), b"%d" % number) as whole:
            whole.move_to(f"a/b/{number}")
        if not number:
            shutil.rmtree(tmp_path / "a")
    assert tree(tmp_path) == {"a/b/1": b"1"}


@pytest.mark.parametrize(
    "uid",
    ["1.2.3", "1", "1.", ".1", "1..2", "", "1" * 100, "1" * 101, "1.2a", "1-2", "\u0661.2", "1\n"],
)
def test_plain_uids_are_named_as_all_others(uid: str) -> None:
    assert uid_name(uid) == safe_name(uid)


def test_files_are_the_same_only_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, data in {"same": b"data", "other": b"date", "longer": b"data!"}.items():
        (tmp_path / name).write_bytes(data)
    with WholeFile(str(tmp_path), b"data") as whole:
        for name in ("same", "other", "longer"):
            os.utime(tmp_path / name, ns=(whole.stamp.mtime_ns, whole.stamp.mtime_ns))
        found = [name for name in names(tmp_path) | {"none"} if whole.is_same_as(name)]
        assert sorted(found) == sorted(["same", Path(whole.path).name])


def test_a_file_that_somebody_removed_is_no_error_at_the_end(tmp_path: Path) -> None:
    with WholeFile(str(tmp_path), b"data") as whole:
        os.unlink(whole.path)
    assert not names(tmp_path)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="an open file cannot be removed there")
def test_a_file_that_was_removed_before_it_had_its_lock_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a run that begins, and takes it for a leftover."""
    removed: list[str] = []

    def lock(file: io.FileIO) -> Locking:
        if not removed:
            removed.append(str(file.name))
            os.unlink(file.name)
        return try_lock(file)

    monkeypatch.setattr(partial_files, "try_lock", lock)
    with partial_file(str(tmp_path)) as file:
        assert [file.path] != removed
        file.write(b"data")
        file.move_to("x")
        assert file.file.closed  # so that it is unlocked, and others can read it
    assert tree(tmp_path) == {"x": b"data"}


def test_a_file_that_cannot_be_removed_is_a_local_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_path: str) -> None:
        raise PermissionError(errno.EACCES, "refused")

    with (
        monkeypatch.context() as patched,
        pytest.raises(LocalError, match="refused"),
        WholeFile(str(tmp_path), b"data"),
    ):
        patched.setattr(os, "unlink", refused)


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows syncs names by itself")
def test_a_folder_that_was_synced_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", seen.append)
        sync_folder(str(tmp_path))
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(seen[0])


def test_a_folder_that_cannot_be_written_into_is_found_out_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: object, _folder: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(PartialFile, "__init__", refused)
    with pytest.raises(LocalError, match="cannot write into") as caught:
        make_folder(str(tmp_path))
    assert caught.value.fatal


def test_a_leftover_that_another_run_removes_is_no_error(tmp_path: Path) -> None:
    partial_files._remove_leftover(str(tmp_path / left_by_a_dead_run()))


def test_numbers_of_processes_are_those_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_path: str) -> str:
        raise FileNotFoundError

    found = set()
    for readlink in (lambda _: "pid:[1]", lambda _: "pid:[2]", unknown):
        with monkeypatch.context() as patched:
            patched.setattr(os, "readlink", readlink, raising=False)
            found.add(partial_files._host.__wrapped__())
    assert len(found) == 3


def test_a_path_that_only_begins_like_a_folder_leads_out_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert leads_out(str(tmp_path / "out-of-it"), str(folder))
    assert leads_out(str(tmp_path), str(folder))
    assert not leads_out(str(folder), str(folder))
    assert not leads_out(str(folder / "a"), str(folder))
