"""ZIP archives: members are read whole and checked, damage is named, the others are found."""

from __future__ import annotations

import errno
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from dcmweb.errors import LocalError
from dcmweb.local import zip_members
from dcmweb.local.archive_names import is_archive_name, split_member
from dcmweb.temporary import Kept, Spool
from tests.unit.local.packing import failing, find_in, make_zip, read_all

FILES = {"a/1.dcm": b"one" * 1000, "2.dcm": os.urandom(300_000), "empty": b"", "ü/中.dcm": b"x"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("kept", [zip_members.KEPT, 0])
def test_members_are_read_whole(
    tmp_path: Path, method: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_members, "KEPT", kept)
    path = make_zip(tmp_path / "a.zip", FILES, method)
    assert read_all(path) == FILES
    assert read_all(path, in_memory=10) == FILES


def test_time_and_size_are_those_of_the_directory_and_folders_are_left_out(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"d/": b"", "d/1": b"abc"})
    (found,) = find_in(path)
    assert found.path == f"{path}!/d/1"
    assert found.file
    assert found.file.stamp() == (3, 1_709_209_802_000_000_000)


def test_something_before_the_archive_and_a_comment_behind_it(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a comment with PK in it"
    path.write_bytes(path.read_bytes())
    assert read_all(path) == FILES
    # Programs that unpack themselves begin with their own code, so they are not taken for archives.
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert find_in(path)[0].path == str(path)


def test_large_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    path = make_zip(tmp_path / "a.zip", FILES)
    assert b"PK\6\6" in path.read_bytes()
    assert read_all(path) == FILES


@pytest.mark.parametrize("kept", [zip_members.KEPT, 0])
def test_a_damaged_member_is_named_and_the_others_are_read(
    tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_members, "KEPT", kept)
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 999, "2": b"b" * 999, "3": b"c" * 999})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\3\4", 5) + 30 + 1 + 4] ^= 0xFF
    path.write_bytes(data)
    found = read_all(path)
    assert (found["1"], found["3"]) == (b"a" * 999, b"c" * 999)
    assert "damaged in the archive" in str(found["2"])


def test_a_wrong_checksum_is_found_before_the_last_piece(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 999}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"a" * 999, b"a" * 998 + b"b"))
    (found,) = find_in(path)
    assert found.file
    content = zip_members.ZipContent(found.file)  # type: ignore[arg-type]
    pieces: list[bytes] = []
    with pytest.raises(Exception, match="its checksum is wrong"):
        pieces.extend(content.pieces())
    assert pieces == []


def test_sizes_that_lie(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 100_000})
    data = path.read_bytes()
    assert data.count(struct.pack("<L", 100_000)) == 2
    for size, words in ((99_999, "more comes out than"), (100_001, "100,000 of 100,001")):
        path.write_bytes(data.replace(struct.pack("<L", 100_000), struct.pack("<L", size)))
        assert words in str(read_all(path)["1"])


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"\0" * 200_000_000})
    (found,) = find_in(path)
    assert found.file
    tracemalloc.start()
    with found.file.open() as (stream, content):
        assert stream.read(10) == bytes(10)
        assert sum(map(len, content.pieces())) == 200_000_000
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_memory_does_not_grow_with_the_members(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{n:050}": b"" for n in range(5000)}, zipfile.ZIP_STORED)
    from dcmweb.dicom.byte_ranges import LocalFile
    from dcmweb.local.archive_members import files_in
    from dcmweb.sources import Found

    tracemalloc.start()
    assert sum(1 for _ in files_in(Found("a.zip", True, file=LocalFile(str(path))))) == 5000
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


def test_what_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50, "2": b"b" * 50}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    first, second = data.index(b"PK\1\2"), data.rindex(b"PK\1\2")
    data[first + 8] |= 1
    data[second + 10] = 9
    path.write_bytes(data)
    found = read_all(path)
    assert "encrypted" in str(found["1"])
    assert "method 9" in str(found["2"])


def _changed(path: Path, at: int, value: bytes) -> None:
    """Change the first entry of the directory."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\1\2") + at
    data[start : start + len(value)] = value
    path.write_bytes(data)


def test_sizes_that_no_file_has() -> None:
    largest = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)
    assert list(zip_members._large(largest, 0xFFFFFFFF, 7)) == [1 << 60, 7]
    assert list(zip_members._large(largest[:-1], 0xFFFFFFFF)) == [0xFFFFFFFF]
    assert list(zip_members._large(b"", 0xFFFFFFFF)) == [0xFFFFFFFF]


def test_a_time_that_is_none_is_no_time(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"abc"})
    _changed(path, 12, bytes(4))
    member = find_in(path)[0].file
    assert member
    assert member.stamp() == (3, 0)
    assert read_all(path) == {"1": b"abc"}


def test_a_name_ends_where_there_is_a_zero(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1_x": b"abc"})
    _changed(path, 47, b"\0")
    assert read_all(path) == {"1": b"abc"}


def test_a_name_that_is_not_utf_8_keeps_its_bytes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"ü": b"abc"})
    _changed(path, 46, b"\xe9\xe9")
    assert read_all(path) == {"\udce9\udce9": b"abc"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_what_cannot_be_unpacked_is_damage(tmp_path: Path, method: int) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50}, method)
    data = bytearray(path.read_bytes())
    data[31:36] = b"\xff" * 5
    path.write_bytes(data)
    assert str(read_all(path)["1"]).startswith("LocalError: damaged in the archive: ")


def test_data_that_are_a_patch_are_not_taken_for_a_file(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50})
    _changed(path, 8, b"\x20")
    assert "which dcmweb does not know" in str(read_all(path)["1"])


@pytest.mark.parametrize("place", ["data", "end"])
def test_a_member_that_is_not_where_the_directory_says(tmp_path: Path, place: str) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\3\4"  # the beginning of a header, and no more
    at = 31 if place == "data" else len(path.read_bytes()) - 4
    _changed(path, 42, at.to_bytes(4, "little"))
    assert "its header is not where the directory says" in str(read_all(path)["1"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_of_fewer_packed_bytes_than_it_takes(tmp_path: Path, method: int) -> None:
    data = os.urandom(5000)
    path = make_zip(tmp_path / "a.zip", {"1": data, "2": data}, method)
    _changed(path, 20, (2000).to_bytes(4, "little"))
    found = read_all(path)
    assert "of 5,000 bytes come out" in str(found["1"])
    assert found["2"] == data


def test_a_stream_of_a_member_can_go_back(tmp_path: Path) -> None:
    data = os.urandom(3 * zip_members.PIECE)
    member = find_in(make_zip(tmp_path / "a.zip", {"1": data}))[0].file
    assert member
    with member.open() as (stream, _):
        assert stream.read() == data
        stream.seek(5)
        assert stream.read(10) == data[5:15]


def test_a_large_member_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "KEPT", 3)
    for found in find_in(make_zip(tmp_path / "a.zip", {"1": b"abc", "2": b"abcd"})):
        assert found.file
        with found.file.open(Spool(9)) as (_, content):
            assert isinstance(content, Kept) is (content.size <= 3)


def test_a_disk_that_fails_is_named_by_the_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = find_in(make_zip(tmp_path / "a.zip", {"1": b"abc"}))[0].file
    assert member
    with member.open() as (_, content):
        monkeypatch.setattr(zip_members, "_unpack", failing)
        with pytest.raises(LocalError, match=os.strerror(errno.EIO)) as caught:
            list(content.pieces())
    assert caught.value.path == member.path


def test_links_are_not_files(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        other = zipfile.ZipInfo("elsewhere")  # where these bits mean something else
        other.create_system, other.external_attr = 0, 0o120777 << 16
        archive.writestr(other, b"x")
    assert read_all(path) == {"link": "NotDicom: a symbolic link", "elsewhere": b"x"}


def test_an_empty_archive_is_said(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {})
    assert read_all(path) == {str(path): "an archive without files"}


_START, _ENTRY, _LOCATOR = b"PK\3\4" + bytes(60), b"PK\1\2", b"PK\6\7" + bytes(16)


@pytest.mark.parametrize(
    ("before", "length", "words"),
    [
        (_START + _ENTRY, 4, "0 of 1 entries can be found"),  # the end is inside it
        (_START + bytes(46), 46, "0 of 1 entries can be found"),
        (_START, 65, "its directory cannot be found"),
        (_START + _LOCATOR, 0, "its directory cannot be found"),
        (b"PK\3\4" + _LOCATOR, 0, "its directory cannot be found"),
    ],
)
def test_directories_that_are_not_there(
    tmp_path: Path, before: bytes, length: int, words: str
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(before + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, length, 0, 0))
    assert words in str(read_all(path)[str(path)])


def test_an_archive_of_several_parts_is_said(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\5\6") + 6] = 1
    path.write_bytes(data)
    assert read_all(path) == {str(path): "damaged: it is one of several parts"}


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_an_archive_that_is_cut_short_is_an_error(tmp_path: Path, cut: int) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50, "2": b"b" * 50})
    path.write_bytes(path.read_bytes()[:-cut])
    (found,) = find_in(path)
    assert found.error
    assert "cut short" in str(found.error.strerror)


def test_a_damaged_directory_is_an_error_after_what_was_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50, "2": b"b" * 50, "3": b"c" * 50})
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second] = 0
    path.write_bytes(data)
    good, bad = find_in(path)
    assert good.path.endswith("!/1")
    assert bad.error
    assert "1 of 3 entries can be found: it is damaged after" in str(bad.error.strerror)


def test_no_noise_ends_in_another_error(tmp_path: Path) -> None:
    good = make_zip(tmp_path / "a.zip", FILES).read_bytes()
    path = tmp_path / "b.zip"
    for seed in range(300):
        data = bytearray(good)
        for byte in range(4):
            at = (seed * 7919 + byte * 104_729) % 400
            data[-1 - at] ^= 1 << (seed + byte) % 8
        path.write_bytes(data)
        for words in read_all(path).values():
            if isinstance(words, str) and ": " in words.split(" ")[0]:
                assert words.startswith(("LocalError: ", "NotDicom: ")), words


def test_an_archive_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1": b"a" * 50, "2": b"b" * 50})
    (one, _) = find_in(path)
    assert one.file
    with one.file.open() as (_, content):
        os.utime(path, (1, 1))
        with pytest.raises(Exception, match="changed") as caught:
            list(content.pieces())
    assert caught.value.path == one.path  # type: ignore[attr-defined]


def test_only_members_that_are_asked_for(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    found = find_in(path, [f"{path}!/2.dcm", f"{path}!/nothing"])
    assert [one.path for one in found] == [f"{path}!/2.dcm", f"{path}!/nothing"]
    assert found[1].error


@pytest.mark.parametrize(
    ("path", "archive", "member"),
    [
        ("a.zip!/b/c.dcm", "a.zip", "b/c.dcm"),
        ("x!/a.tar.gz!/b!/c", "x!/a.tar.gz", "b!/c"),
        ("x!/a.dcm", "x!/a.dcm", ""),
        ("a.zip", "a.zip", ""),
    ],
)
def test_names_of_members(path: str, archive: str, member: str) -> None:
    assert split_member(path) == (archive, member)


def test_names_of_archives() -> None:
    assert is_archive_name("A.ZIP")
    assert is_archive_name("**.tar.xz")
    assert not is_archive_name("a.dcm.gz")
