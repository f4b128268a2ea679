"""`copy` between real Orthancs and the embedded archive, there and back."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving
from tests.live.conftest import StartOrthanc
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
STUDIES = [make_series(n, f"1.{n}", f"1.{n}.1") for n in range(1, 9)]


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_from_orthanc_to_orthanc(
    dcmweb: Dcmweb, orthanc: Orthanc, start_orthanc: StartOrthanc, tmp_path: Path, mode: list[str]
) -> None:
    other = start_orthanc()
    large = make_instance("1.99", "1.99.1", "1.99.1.1", 20_000_000)
    write_files(tmp_path / "in", [large, *(file for study in STUDIES for file in study)])
    dcmweb("-m", orthanc.url, "store", "in")
    result = dcmweb(*mode, orthanc.url, "copy", other.url, "--verify", "--manifest", "m")
    again = dcmweb(*mode, orthanc.url, "copy", other.url, "--manifest", "m")
    checked = dcmweb(other.url, "check", orthanc.url, "--bytes")
    assert (result.code, again.code, checked.code) == (0, 0, 0)
    assert other.count_instances() == 37
    assert "the server lists 37 of 37 instances" in result.err
    assert "done before 37," in again.last


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_from_orthanc_to_the_archive_and_back(
    dcmweb: Dcmweb, orthanc: Orthanc, start_orthanc: StartOrthanc, tmp_path: Path, mode: list[str]
) -> None:
    """Files of every kind; the archive refuses two of Orthanc's, which are bare data sets."""
    other = start_orthanc()
    dcmweb("-m", orthanc.url, "store", PYDICOM_FILES)
    with serving(Archive()) as origin:
        there = dcmweb(*mode, orthanc.url, "copy", origin.url)
        back = dcmweb(*mode, origin.url, "copy", other.url)
        checked = dcmweb(origin.url, "check", orthanc.url, "--bytes")
        returned = dcmweb(other.url, "check", origin.url, "--bytes")
    assert there.err.count(" failed: ") == there.err.count("no preamble and no file meta inf") - 1
    assert (there.code, back.code, checked.code, returned.code) == (1, 0, 1, 0)
    assert "missing 2, extra 0, different 0" in checked.last
    assert other.count_instances() == orthanc.count_instances() - 2 > 50
