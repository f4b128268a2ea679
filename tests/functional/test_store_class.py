"""`store --storage-class`: the class goes with every store request, and must be one there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, serving
from tests.functional.storing import first, posts, taking


@pytest.mark.parametrize("given", ["NEARLINE", "nearline"])
def test_the_storage_class_goes_with_every_form_of_request(
    dcmweb: Dcmweb, tmp_path: Path, given: str
) -> None:
    write_files(tmp_path / "in", make_series(2))
    archive = Archive()
    ways = first([lambda request: Answer(415)], archive.store)
    with serving(taking(archive, ways)) as origin:
        result = dcmweb(origin.url, "store", "in", "--storage-class", given)
    assert result.code == 0
    types = [request.headers["content-type"].partition(";")[0] for request in posts(origin)]
    assert types == ["multipart/related", "application/dicom", "application/dicom"]
    assert {request.headers["storage-class"] for request in posts(origin)} == {"NEARLINE"}


def test_no_storage_class_is_sent_unless_it_is_asked_for(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(Archive()) as origin:
        assert dcmweb(origin.url, "store", "in").code == 0
    assert "storage-class" not in posts(origin)[0].headers


def test_a_storage_class_that_does_not_exist_is_caught_here(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "--storage-class", "NEARLIN")
    assert (result.code, origin.requests) == (2, [])
    assert "'nearline'" in result.err.lower()
