"""`check` with archives, and with buckets of servers that run here, as the other side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series
from tests.functional.archive import Archive
from tests.functional.buckets import moto_server, s3_bucket
from tests.functional.origin import serving
from tests.unit.local.packing import MODES, make_tar, make_zip

FIVE = make_series(5)
FILES = {f"study/{n}.dcm": data for n, data in enumerate(FIVE, start=1)}
CHANGED = {**FILES, "study/2.dcm": FIVE[1][:-2] + b"!!"}


PATHS = ["--format", "paths", "--show", "missing,different"]


def pack(path: Path, files: dict[str, bytes]) -> None:
    make = make_zip if path.suffix == ".zip" else make_tar
    make(path, files)


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--bytes"]])
@pytest.mark.parametrize("ending", [".zip", *MODES])
def test_an_archive_that_was_stored_is_equal(
    dcmweb: Dcmweb, tmp_path: Path, ending: str, mode: list[str]
) -> None:
    pack(tmp_path / f"a{ending}", {**FILES, "README": b"not DICOM"})
    with serving(Archive(*FIVE)) as origin:
        result = dcmweb(origin.url, "check", f"a{ending}", *mode)
    assert (result.code, result.out) == (0, "")
    assert f"a{ending}!/README skipped: not a DICOM file" in result.err
    assert "Checked 6 items: equal 5, skipped 1," in result.last


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_what_is_missing_or_different_is_named_by_its_member(
    dcmweb: Dcmweb, tmp_path: Path, ending: str
) -> None:
    pack(tmp_path / f"a{ending}", CHANGED)
    with serving(Archive(*FIVE[:4])) as origin:
        result = dcmweb(origin.url, "check", f"a{ending}", "--bytes", *PATHS)
        again = dcmweb(origin.url, "check", f"a{ending}", "--bytes")
    named = [f"a{ending}!/study/2.dcm", f"a{ending}!/study/5.dcm"]
    assert (result.code, sorted(result.out.splitlines())) == (1, named)
    assert "equal 3, skipped 0, failed 0, missing 1, extra 0, different 1" in result.last
    assert "the pixel data differ" in again.out


def test_what_is_missing_of_an_archive_can_be_stored(dcmweb: Dcmweb, tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", FILES)
    there = Archive(*FIVE[:2])
    with serving(there) as origin:
        missing = dcmweb(origin.url, "check", "a.zip", "--format", "paths").out
        (tmp_path / "list").write_text(missing)
        assert dcmweb(origin.url, "store", "--files-from", "list").code == 0
        assert dcmweb(origin.url, "check", "a.zip", "--bytes").code == 0
    assert sorted(there.files.values()) == sorted(FIVE)


def test_contents_are_not_read_by_the_names_in_a_manifest(dcmweb: Dcmweb, tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", FILES)
    with serving(Archive()) as origin:
        assert dcmweb(origin.url, "store", "a.zip", "--manifest", "m").code == 0
        assert dcmweb(origin.url, "check", "m", "--thorough").code == 0
        contents = dcmweb(origin.url, "check", "m", "--bytes")
    assert contents.code == 1
    assert "can be compared if you name the archive or bucket" in contents.out


def test_an_archive_in_a_folder_is_not_opened(dcmweb: Dcmweb, tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", FILES)
    (tmp_path / "1.dcm").write_bytes(FIVE[0])
    with serving(Archive(*FIVE)) as origin:
        folder = dcmweb(origin.url, "check", ".", "--one-way")
        mask = dcmweb(origin.url, "check", "*.zip")
    assert "a.zip skipped: not a DICOM file; an archive is opened if you name it" in folder.err
    assert (folder.code, mask.code) == (0, 0)
    assert "equal 5," in mask.last


def test_a_damaged_archive_is_failed_by_name(dcmweb: Dcmweb, tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", FILES)
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    with serving(Archive(*FIVE)) as origin:
        result = dcmweb(origin.url, "check", "a.tar")
    assert result.code == 1
    assert "a.tar  damaged: " in result.out


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


def test_a_bucket_is_compared(dcmweb: Dcmweb, tmp_path: Path, moto: str) -> None:
    s3 = s3_bucket(moto)
    make_zip(tmp_path / "a.zip", FILES)
    s3.put_all({f"ct/{name}": data for name, data in CHANGED.items()})
    s3.put("packed/a.zip", (tmp_path / "a.zip").read_bytes())
    ct = f"{s3.address}/ct"
    with serving(Archive(*FIVE[:4])) as origin:
        by_uid = dcmweb(origin.url, "check", ct, "--format", "paths", env=s3.env)
        contents = dcmweb(origin.url, "check", f"{ct}/**.dcm", "--bytes", *PATHS, env=s3.env)
        packed = dcmweb(origin.url, "check", f"{s3.address}/packed/a.zip", "--bytes", env=s3.env)
        nothing = dcmweb(origin.url, "check", f"{s3.address}/none/", env=s3.env)
    assert (by_uid.code, by_uid.out) == (1, f"{ct}/study/5.dcm\n")
    assert sorted(contents.out.split()) == [f"{ct}/study/2.dcm", f"{ct}/study/5.dcm"]
    assert "equal 4, skipped 0, failed 0, missing 1, extra 0, different 0" in packed.last
    assert nothing.code == dcmweb("http://127.0.0.1:1", "check", "none").code
    assert "none" in nothing.err
