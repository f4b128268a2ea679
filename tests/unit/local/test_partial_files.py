"""Writing what a server sends: inside the folder, whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import LocalError
from dcmweb.local.partial_files import (
    PARTIAL_PREFIX,
    PARTIAL_SUFFIX,
    PartialFile,
    instance_path,
    make_folder,
    partial_file,
    safe_name,
)

HOSTILE = (
    "../../x", "..", ".", "", "a/b", "/etc/passwd", "a\\b", "c:x", "~root", ".hidden", "a\0b",
    "a\nb", "\x1b[2J", "\u202etxt", "é", "\udcff", "a b", " ", "-rf *", "CON\r", "x" * 101,
    "x" * 1000, "é" * 300, "..." + "/.." * 50, ".dcmweb-0.part", "%2e%2e%2f",
)  # fmt: skip


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.2", "2.25." + "9" * 59, "a-B_c.1", "-"])
def test_uids_as_they_should_be_stay_as_they_are(uid: str) -> None:
    assert safe_name(uid) == uid


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
    assert instance_path(resource, ".dcm") == "1.2/3.4/5.6.dcm"


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
    assert final == str(tmp_path / "a/b/c.dcm")
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


def test_partial_files_of_no_run_are_removed_and_those_of_a_living_one_stay(
    tmp_path: Path,
) -> None:
    leftover = tmp_path / ".dcmweb-0123456789abcdef.part"
    leftover.write_bytes(b"half")
    other = tmp_path / "mine.part"
    other.write_bytes(b"kept")
    code = (
        "import sys, time; from dcmweb.local.partial_files import PartialFile; "
        "held = PartialFile(sys.argv[1]); print(held.path, flush=True); time.sleep(60)"
    )
    living = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    try:
        assert living.stdout
        held = Path(living.stdout.readline().decode().strip())
        make_folder(str(tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == {"mine.part", held.name}
    finally:
        living.kill()
        living.communicate()
    make_folder(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.part"}
