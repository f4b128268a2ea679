"""`store` through the installed command, against a scripted origin server."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving


def test_files_are_stored_as_they_are_and_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = make_series(3)
    write_files(tmp_path / "in", files)
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert sorted(archive.files.values()) == sorted(files)
    assert result.out == ""
    assert "in/1.dcm uploaded as " in result.err
    assert result.last.startswith("Transferred ")
    assert "stored 3" in result.last
