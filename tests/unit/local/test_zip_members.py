"""ZIP archives: members are read whole and checked, damage is named, the others are found."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from dcmweb.local import zip_members
from dcmweb.local.archive_names import is_archive_name, split_member
from tests.unit.local.packing import find_in, make_zip, read_all

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


def test_links_are_not_files(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert read_all(path) == {"link": "NotDicom: a symbolic link"}


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
