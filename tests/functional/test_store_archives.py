"""`store` of what is in ZIP and tar archives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series
from tests.functional.archive import Archive, sent_parts
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.storing import posts, taking
from tests.unit.local.packing import MODES, make_tar, make_zip

FILES = {f"study/{n}.dcm": data for n, data in enumerate(make_series(5), start=1)}


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive()) as server:
        yield server


def sent(origin: Origin) -> list[bytes]:
    return sorted(part for request in posts(origin) for part in sent_parts(request))


@pytest.mark.parametrize("ending", [".zip", *MODES])
def test_members_are_sent_as_they_are(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path, ending: str
) -> None:
    make = make_zip if ending == ".zip" else make_tar
    make(tmp_path / f"a{ending}", {**FILES, "README": b"not DICOM"})
    result = dcmweb(origin.url, "store", f"a{ending}")
    assert result.code == 0
    assert sent(origin) == sorted(FILES.values())
    assert f"a{ending}!/study/1.dcm uploaded as" in result.err
    assert f"a{ending}!/README skipped: not a DICOM file" in result.err


def test_a_mask_of_archives_opens_them_and_a_folder_does_not(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    make_zip(tmp_path / "a.zip", FILES)
    for mask in (".", "*", "**"):
        result = dcmweb(origin.url, "store", mask)
        assert "a.zip skipped: not a DICOM file; an archive is opened if you name it" in result.err
    assert not posts(origin)
    for mask in ("*.zip", "./**.zip", str(tmp_path / "*.zip")):
        result = dcmweb(origin.url, "store", mask)
        assert "stored 5, skipped 0, failed 0" in result.last


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.xz"])
def test_a_run_with_a_manifest_goes_on(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path, ending: str
) -> None:
    make = make_zip if ending == ".zip" else make_tar
    make(tmp_path / f"a{ending}", FILES)
    assert dcmweb(origin.url, "store", f"a{ending}", "--manifest", "m").code == 0
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert lines[1]["item"].startswith(f"{tmp_path}/a{ending}!/study/")
    make(tmp_path / f"a{ending}", {**FILES, "../6": make_instance(instance="1.2.3.4.6")})
    (tmp_path / "other").mkdir()
    again = dcmweb(
        *(origin.url, "store", f"../a{ending}", "--manifest", "../m", "--verify"),
        cwd=tmp_path / "other",
    )
    assert "stored 1, done before 5, skipped 0, failed 0" in again.last
    assert "the server lists 6 of 6 instances" in again.err
    third = dcmweb(origin.url, "store", f"a{ending}", "--manifest", "m")
    assert "stored 0, done before 6, skipped 0, failed 0" in third.last


def test_a_damaged_member_fails_and_the_others_go(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\3\4", 5)
    data[at + 200] ^= 0xFF
    path.write_bytes(data)
    result = dcmweb(origin.url, "store", "a.zip", "--failed-to", "failed.txt", "--retries", "0")
    assert result.code == 1
    assert "a.zip!/study/2.dcm failed: damaged in the archive:" in result.err
    assert sent(origin) == sorted(d for n, d in FILES.items() if n != "study/2.dcm")
    make_zip(path, FILES)
    again = dcmweb(origin.url, "store", "--files-from", "failed.txt")
    assert "stored 1, skipped 0, failed 0" in again.last
    assert sent(origin) == sorted(FILES.values())


def test_an_archive_that_is_cut_short_is_named(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    path = make_tar(tmp_path / "a.tgz", FILES)
    path.write_bytes(path.read_bytes()[:-300])
    result = dcmweb(origin.url, "store", "a.tgz")
    assert result.code == 1
    assert re.search(r"-- a.tgz failed: damaged: it cannot be read further", result.err)
    assert len(sent(origin)) >= 3


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("size", [512, 20_000_000])
def test_every_attempt_sends_all(dcmweb: Dcmweb, tmp_path: Path, ending: str, size: int) -> None:
    make = make_zip if ending == ".zip" else make_tar
    data = make_instance(size=size)
    make(tmp_path / f"a{ending}", {"1": data})
    answers = iter([Answer(503, headers={"Retry-After": "0"}), Answer(503)])
    archive = Archive()

    def store(request: Request) -> Answer:
        return next(answers, None) or archive(request)

    with serving(taking(archive, store)) as server:
        result = dcmweb(server.url, "store", f"a{ending}")
        assert result.code == 0
        assert [sent_parts(request) for request in posts(server)] == [[data]] * 3


def test_single_members_and_odd_names(dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
    names = ["a/[1].dcm", "../up.dcm", "/root.dcm", "a\nb.dcm", "x!/y.dcm"]
    files = dict(zip(names, FILES.values(), strict=True))
    make_tar(tmp_path / "a.tar", files)
    result = dcmweb(origin.url, "store", "a.tar!/a/[1].dcm", "a.tar!/../up.dcm", "a.tar!/no.dcm")
    assert "stored 2, skipped 0, failed 1" in result.last
    assert "a.tar!/no.dcm failed: the archive has no such member" in result.err
    (tmp_path / "list").write_text("".join(f"a.tar!/{name}\0" for name in names))
    result = dcmweb(origin.url, "store", "--files-from", "list", "-0")
    assert "stored 5, skipped 0, failed 0" in result.last
    assert "a.tar!/a\\x0ab.dcm uploaded" in result.err
    assert [path.name for path in tmp_path.parent.iterdir()].count("up.dcm") == 0


def test_an_archive_in_an_archive_is_not_opened(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    inner = make_zip(tmp_path / "inner.zip", FILES).read_bytes()
    make_zip(tmp_path / "a.zip", {"inner.zip": inner})
    result = dcmweb(origin.url, "store", "a.zip")
    assert "an archive in an archive is not opened" in result.err


def test_an_archive_named_as_a_file_that_is_not_one(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(make_instance())
    assert dcmweb(origin.url, "store", "a.zip").code == 0
    (tmp_path / "a.zip").write_bytes(b"")
    result = dcmweb(origin.url, "store", "a.zip")
    assert "a.zip failed: the file is empty" in result.err
    make_zip(tmp_path / "a.zip", {})
    assert "an archive without files" in dcmweb(origin.url, "store", "a.zip").err


def test_a_dry_run_reads_and_sends_nothing(dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tgz", FILES)
    result = dcmweb(origin.url, "store", "a.tgz", "--dry-run")
    assert "a.tgz!/study/1.dcm would be stored" in result.err
    assert not posts(origin)


def test_many_workers_read_one_archive(dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
    files = {str(n): data for n, data in enumerate(make_series(600, size=20_000))}
    for name, path in {
        "a.zip": make_zip(tmp_path / "a.zip", files),
        "a.tgz": make_tar(tmp_path / "a.tgz", files),
    }.items():
        result = dcmweb("-j", "6", origin.url, "store", name)
        assert "stored 600, skipped 0, failed 0" in result.last
        assert path.exists()
    assert sent(origin) == sorted([*files.values(), *files.values()])
