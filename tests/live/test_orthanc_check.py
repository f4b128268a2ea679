"""`check` against real Orthancs."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.test_check import rows
from tests.live.conftest import StartOrthanc
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
STUDIES = [make_series(n, f"1.{n}", f"1.{n}.1") for n in range(1, 9)]


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--bytes"], ["--bytes", "-m"]])
def test_what_was_stored_is_equal_and_what_was_not_is_missing(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path, mode: list[str]
) -> None:
    paths = write_files(tmp_path / "in", [file for study in STUDIES for file in study])
    dcmweb("-m", orthanc.url, "store", "in")
    good = dcmweb(orthanc.url, "check", "in", *mode)
    assert (good.code, good.out) == (0, "")
    assert "equal 36," in good.last
    paths[1].unlink()
    write_files(tmp_path / "in" / "more", make_series(2, "1.99", "1.99.1"))
    bad = dcmweb(orthanc.url, "check", "in", *mode)
    assert bad.code == 1
    assert sorted(rows(bad.out)) == [
        "extra 1 studies/1.2/series/1.2.1/instances/1.2.1.1",
        "missing 2 studies/1.99",
    ]


def test_studies_that_agree_cost_one_row_each(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", [file for study in STUDIES for file in study])
    dcmweb("-m", orthanc.url, "store", "in")
    result = dcmweb(orthanc.url, "check", "in")
    assert result.code == 0
    assert "equal by the number of their instances: 5;" in result.err


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_of_every_kind_are_equal_byte_for_byte(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    dcmweb("-m", orthanc.url, "store", PYDICOM_FILES, "--manifest", "m")
    result = dcmweb("-m", orthanc.url, "check", PYDICOM_FILES, "--bytes", "--json")
    found = [json.loads(line) for line in result.out.splitlines()]
    kinds = {one["type"] for one in found}
    different = [one for one in found if one["type"] == "different"]
    compared = [one for one in found if one["type"] in ("equal", "different")]
    assert result.code == 1  # some of them are broken on purpose, or hold the same instance twice
    assert "extra" not in kinds
    assert sum(one["instances"] for one in compared) == orthanc.count_instances()
    # Of two files with one instance, Orthanc has kept one.
    assert all(one["reason"].startswith(("the ", "its ")) for one in different)


def test_two_orthancs_are_compared(
    dcmweb: Dcmweb, start_orthanc: StartOrthanc, tmp_path: Path
) -> None:
    one, two = start_orthanc(), start_orthanc()
    write_files(tmp_path / "in", [file for study in STUDIES[:4] for file in study])
    for orthanc in (one, two):
        dcmweb(orthanc.url, "store", "in")
    assert dcmweb(one.url, "check", two.url, "--bytes").code == 0
    write_files(tmp_path / "more", STUDIES[4])
    write_files(tmp_path / "changed", [make_instance("1.7", "1.7.1", "1.7.1.1", 600)])
    write_files(tmp_path / "original", [make_instance("1.7", "1.7.1", "1.7.1.1", 512)])
    dcmweb(one.url, "store", "more", "changed")
    dcmweb(two.url, "store", "original")
    assert rows(dcmweb(one.url, "check", two.url).out) == ["extra 5 studies/1.5"]
    assert rows(dcmweb(two.url, "check", one.url, "--one-way").out) == ["missing 5 studies/1.5"]
    contents = dcmweb(one.url, "check", two.url, "--bytes")
    assert sorted(rows(contents.out)) == ["different 1 studies/1.7", "extra 5 studies/1.5"]
