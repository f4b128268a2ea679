"""tar archives: members are read whole, damage is named, the others are found."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from tests.conftest import make_instance
from tests.unit.local.packing import MODES, find_in, make_tar, read_all

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
    plain = make_tar(tmp_path / "a.tar", {"1": b"a" * 700, "2": b"b" * 700, "3": b"c" * 700})
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


def test_sizes_that_no_file_has(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("1")
    entry.pax_headers = {"size": "9" * 30, "mtime": "1e300"}
    path = make_tar(tmp_path / "a.tar", {"1": entry})
    found = read_all(path)
    assert "the archive ends inside it" in str(found["1"])
    assert "without an end mark" in str(found[str(path)])


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
