"""tar archives: members are read whole, damage is named, the others are found."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.errors import LocalError
from dcmweb.local import archive_members, tar_members
from dcmweb.local.archive_members import files_in
from dcmweb.sources import Found
from tests.conftest import make_instance
from tests.unit.local.packing import MODES, failing, find_in, make_tar, read_all

LONG = "/".join(["folder"] * 40) + "/1.dcm"
FILES = {"a/1.dcm": b"one" * 1000, LONG: b"two", "2.dcm": os.urandom(300_000), "empty": b""}
COMPRESSED = [ending for ending in MODES if ending != ".tar"]


@pytest.mark.parametrize("ending", MODES)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_read_whole(tmp_path: Path, ending: str, form: int) -> None:
    path = make_tar(tmp_path / f"a{ending}", FILES, form)
    assert read_all(path) == FILES
    assert read_all(path, in_memory=10) == FILES


def test_time_and_size_are_those_of_the_header(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("1")
    entry.mtime = 1234.5
    path = make_tar(tmp_path / "a.tar", {"1": entry, "d/": b""})
    (found,) = find_in(path)
    assert found.file
    assert found.file.stamp() == (0, 1_234_500_000_000)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_what_is_not_a_file_is_not_followed(tmp_path: Path, ending: str) -> None:
    entries = {}
    for name, kind in {
        "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE,
        "char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "folder": tarfile.DIRTYPE,
        "sparse": tarfile.GNUTYPE_SPARSE,
    }.items():  # fmt: skip
        entries[name] = tarfile.TarInfo(name)
        entries[name].type, entries[name].linkname = kind, "/etc/passwd"
    path = make_tar(tmp_path / f"a{ending}", {**entries, "last": b"x"}, tarfile.GNU_FORMAT)
    assert read_all(path) == {
        "link": "NotDicom: a symbolic link",
        "hard": "NotDicom: a link to another file of the archive",
        "fifo": "NotDicom: a named pipe",
        "char": "NotDicom: a device",
        "block": "NotDicom: a device",
        "sparse": "LocalError: stored as a sparse file: unpack the archive first",
        "last": b"x",
    }


def test_names_that_lead_elsewhere_are_only_names(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"/etc/passwd": b"1", "../../x": b"2"})
    assert read_all(path) == {"/etc/passwd": b"1", "../../x": b"2"}


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_after_a_damaged_header_the_next_is_found(tmp_path: Path, ending: str) -> None:
    files = {"1": b"a" * 700, "2": b"b" * 700 + bytes(1500), "3": b"c" * 700}
    plain = make_tar(tmp_path / "a.tar", files)
    data = bytearray(plain.read_bytes())
    data[512 + 1024 + 100] ^= 0xFF  # in the header of the second
    path = tmp_path / f"b{ending}"
    path.write_bytes(data if ending == ".tar" else gzip.compress(data))
    found = read_all(path)
    assert found.pop(str(path)) == f"damaged: a header is damaged after {path}!/1"
    assert found == {"1": b"a" * 700, "3": b"c" * 700}


@pytest.mark.parametrize("ending", MODES)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_short_is_an_error(tmp_path: Path, ending: str, part: float) -> None:
    files = {str(n): os.urandom(50_000) for n in range(20)}
    path = make_tar(tmp_path / f"a{ending}", files)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    found = read_all(path)
    whole = {name for name, data in files.items() if found.get(name) == data}
    if ending not in (".tar.bz2", ".tar.xz"):  # which are unpacked in large blocks
        assert whole >= {str(n) for n in range(int(20 * part) - 1)}
    assert str(path) in found, "the archive itself is named, as members may be missing"


def test_an_archive_without_its_end_mark_is_an_error(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"1": b"a" * 700})
    path.write_bytes(path.read_bytes()[: 512 + 1024])
    found = read_all(path)
    assert found["1"] == b"a" * 700
    assert "without an end mark" in str(found[str(path)])


@pytest.mark.parametrize("ending", COMPRESSED)
def test_damage_inside_is_named(tmp_path: Path, ending: str) -> None:
    path = make_tar(tmp_path / f"a{ending}", {str(n): os.urandom(50_000) for n in range(20)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in str(read_all(path)[str(path)])


def test_a_wrong_checksum_at_the_end_is_an_error(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tgz", {"1": b"a" * 700})
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    found = read_all(path)
    assert found["1"] == b"a" * 700
    assert "members may be damaged" in str(found[str(path)])


def test_a_bomb_of_a_header_costs_no_memory(tmp_path: Path) -> None:
    bomb = tarfile.TarInfo("x")
    bomb.type, bomb.size = tarfile.GNUTYPE_LONGNAME, 300_000_000
    plain = bomb.tobuf(tarfile.GNU_FORMAT) + bytes(300_000_256) + bytes(1024)
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(plain, 1))
    tracemalloc.start()
    assert "a header is far too long" in str(read_all(path)[str(path)])
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_large_member_that_is_not_dicom_is_not_kept(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tgz", {"zeros": b"\0" * 30_000_000, "1": b"a"})
    assert len(read_all(path)["zeros"]) < 1_000_000
    dicom = make_instance(size=20_000_000)
    path = make_tar(tmp_path / "b.tgz", {"dicom": dicom})
    assert read_all(path, in_memory=1000) == {"dicom": dicom}


@pytest.mark.parametrize("size", ["9" * 30, "9" * 5000, "1e400", "inf"])
def test_sizes_that_no_file_has(tmp_path: Path, size: str) -> None:
    entry = tarfile.TarInfo("1")
    entry.pax_headers = {"size": size, "mtime": "1e20"}
    path = make_tar(tmp_path / "a.tar", {"1": entry})
    found = read_all(path)
    assert "the archive ends inside it" in str(found["1"])
    assert "without an end mark" in str(found[str(path)])
    member = find_in(path)[0].file
    assert member
    assert member.stamp() == (1 << 60, 0)
    with pytest.raises(LocalError), member.open():
        pytest.fail("it was opened")


@pytest.mark.parametrize("size", ["-2048", "-inf", "nan", "x"])
def test_sizes_that_are_none(tmp_path: Path, size: str) -> None:
    entry = tarfile.TarInfo("1")
    entry.pax_headers = {"size": size}
    path = make_tar(tmp_path / "a.tar", {"1": entry, "2": b"x"})
    (first, second) = islice(files_in(Found(str(path), file=LocalFile(str(path)))), 2)
    assert first.path == f"{path}!/1"
    assert second.path == f"{path}!/2"


def _record(content: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """Write what stands before a header."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, len(content) if size is None else size
    return entry.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    "record",
    [b"9" * 5000 + b" path=y\n", b"0 path=y\n", b"3 path=y\n", b"x path=y\n", b" ", b"12", b"\xff"],
)
def test_records_that_are_malformed_say_nothing(tmp_path: Path, record: bytes) -> None:
    plain = make_tar(tmp_path / "a.tar", {"1": b"abc"}).read_bytes()
    path = tmp_path / "b.tar"
    path.write_bytes(_record(record) + plain)
    assert read_all(path) == {"1": b"abc"}


def test_a_record_of_less_than_nothing_is_not_read(tmp_path: Path) -> None:
    plain = make_tar(tmp_path / "a.tar", {"1": b"abc"}).read_bytes()
    path = tmp_path / "b.tar"
    path.write_bytes(_record(b"", tarfile.GNUTYPE_LONGNAME, -1) + plain)
    assert read_all(path) == {"1": b"abc", str(path): "damaged: a header is far too long"}


def test_an_archive_that_is_cut_inside_a_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    plain = _record(b"n" * 700, tarfile.GNUTYPE_LONGNAME) + bytes(1024)
    path.write_bytes(gzip.compress(plain, 0)[: 10 + 5 + 512 + 100])
    assert "cannot be read further" in str(read_all(path)[str(path)])


def test_a_member_that_was_cut_before_it_was_packed_is_not_kept(tmp_path: Path) -> None:
    plain = make_tar(tmp_path / "a.tar", {"1": b"a" * 700}).read_bytes()
    path = tmp_path / "b.tgz"
    path.write_bytes(gzip.compress(plain[: 512 + 600]))
    words = "LocalError: damaged in the archive: the archive ends inside it"
    assert read_all(path)["1"] == words


def test_a_file_with_holes_is_not_taken_for_another(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("1")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    path = make_tar(tmp_path / "a.tar", {"1": entry})
    words = "LocalError: stored as a sparse file: unpack the archive first"
    assert read_all(path) == {"1": words}


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path: Path, ending: str) -> None:
    name = "caf\udce9" * 40
    path = make_tar(tmp_path / f"a{ending}", {name: b"a"}, tarfile.GNU_FORMAT)
    assert read_all(path) == {name: b"a"}


def test_a_member_that_goes_by_has_to_be_kept(tmp_path: Path) -> None:
    member = find_in(make_tar(tmp_path / "a.tgz", {"1": b"a"}))[0].file
    assert member
    with pytest.raises(LocalError, match="from its start"), member.open():
        pytest.fail("it was opened")


def test_an_archive_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"1": b"a" * 50, "2": b"b" * 50})
    member = find_in(path)[0].file
    assert member
    with member.open() as (_, content):
        os.utime(path, (1, 1))
        for use in (content.check, lambda: list(content.pieces())):
            with pytest.raises(LocalError, match="changed") as caught:
                use()
            assert caught.value.path == member.path


def test_an_archive_that_changes_while_members_are_found_is_named(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"1": b"a" * 50, "2": b"b" * 50})
    members = files_in(Found(str(path), file=LocalFile(str(path))))
    assert next(members).file
    os.utime(path, (1, 1))
    assert next(members).file
    (last,) = members
    assert last.path == str(path)
    assert "changed" in str(last.error)


def test_what_follows_the_end_is_not_unpacked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_members, "MOST_BEHIND_THE_END", 1 << 20)
    plain = make_tar(tmp_path / "a.tar", {"1": b"abc"}).read_bytes()
    path = tmp_path / "b.tgz"
    path.write_bytes(gzip.compress(plain + bytes(2 << 20), 1))
    assert read_all(path) == {"1": b"abc", str(path): "damaged: it goes on behind its end mark"}


def test_a_disk_that_fails_is_named_by_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = find_in(make_tar(tmp_path / "a.tar", {"1": b"a" * 50}))[0].file
    assert member
    with member.open() as (_, content):
        monkeypatch.setattr(tar_members, "read_range", failing)
        with pytest.raises(LocalError, match=os.strerror(errno.EIO)) as caught:
            list(content.pieces())
    assert caught.value.path == member.path


def test_what_is_compressed_may_be_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(make_instance()))
    assert read_all(path) == {str(path): "damaged: what is compressed is not a tar archive"}
    path.write_bytes(gzip.compress(b"abc")[:12])
    assert "cannot be unpacked" in str(read_all(path)[str(path)])


def test_an_empty_archive_is_said(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {})
    assert read_all(path) == {str(path): "an archive without files"}


def test_a_file_that_is_not_an_archive_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(make_instance())
    (found,) = find_in(path)
    assert found.path == str(path)
    assert found.file


def test_no_noise_ends_in_another_error(tmp_path: Path) -> None:
    good = make_tar(tmp_path / "a.tar", {"1": b"a" * 700, LONG: b"b" * 700, "3": b""}).read_bytes()
    path = tmp_path / "b.tar"
    for seed in range(400):
        data = bytearray(good)
        for byte in range(3):
            data[(seed * 7919 + byte * 104_729) % 5000] ^= 1 << (seed + byte) % 8
        path.write_bytes(data)
        for words in read_all(path).values():
            if isinstance(words, str) and words.split(":")[0].isalpha():
                assert words.startswith(("LocalError: ", "NotDicom: ", "damaged: ")), words


def test_a_stream_of_a_member_can_go_back(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"0": b"before", "1": b"abcdef", "2": b"behind"})
    found = find_in(path)[1]
    assert found.file
    with found.file.open() as (stream, _):
        assert stream.read(3) == b"abc"
        stream.seek(1)
        assert stream.read() == b"bcdef"
        assert stream.seek(-2, io.SEEK_END) == 4
        assert stream.read(9) == b"ef"
