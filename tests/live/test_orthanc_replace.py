"""Deleting and replacing with a real Orthanc, whose DICOMweb plugin has no DELETE."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.live.conftest import StartOrthanc
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live

STUDY = "studies/1.2.3"
SERIES = f"{STUDY}/series/1.2.3.4"
API = ("--orthanc-api", "auto")
REPLACE = ("--if-exists", "replace")


def test_its_own_api_deletes_what_a_path_names(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    other = [make_instance("1.9", "1.9.1", f"1.9.1.{n}") for n in (1, 2)]
    write_files(tmp_path / "in", [*make_series(4), *other])
    assert dcmweb(orthanc.url, "store", "in").code == 0
    refused = dcmweb(orthanc.url, "delete", STUDY)
    assert (refused.code, orthanc.count_instances()) == (5, 6)
    assert "--orthanc-api auto" in refused.err
    for path, left in ((f"{SERIES}/instances/1.2.3.4.2", 5), (SERIES, 2), ("studies/1.9", 0)):
        assert dcmweb(orthanc.url, "delete", path, *API).code == 0
        assert orthanc.count_instances() == left
    assert dcmweb(orthanc.url, "delete", STUDY, *API).code == 3


def test_the_address_of_its_api_can_be_given(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(1))
    assert dcmweb(orthanc.url, "store", "in").code == 0
    wrong = dcmweb(orthanc.url, "delete", STUDY, "--orthanc-api", orthanc.url)
    assert (wrong.code, orthanc.count_instances()) == (8, 1)
    assert "is not the REST API of Orthanc" in wrong.err
    environment = {"DCMWEB_ORTHANC_API": f"{orthanc.root}/"}
    assert dcmweb(orthanc.url, "delete", STUDY, env=environment).code == 0
    assert orthanc.count_instances() == 0


def test_a_series_below_another_study_is_left_alone(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(2))
    assert dcmweb(orthanc.url, "store", "in").code == 0
    wrong = dcmweb(orthanc.url, "delete", "studies/1.9/series/1.2.3.4", *API)
    assert (wrong.code, orthanc.count_instances()) == (3, 2)


@pytest.mark.parametrize("overwrites", [False, True])
def test_other_bytes_replace_those_that_it_has(
    dcmweb: Dcmweb, start_orthanc: StartOrthanc, tmp_path: Path, overwrites: bool
) -> None:
    orthanc = start_orthanc(OverwriteInstances=overwrites)
    old, new = make_series(6), make_series(6)
    new[5] = old[5]
    write_files(tmp_path / "old", [*old[:3], old[5]])
    write_files(tmp_path / "new", new)
    assert dcmweb(orthanc.url, "store", "old").code == 0
    failing = dcmweb(orthanc.url, "store", "new/1.dcm", "--if-exists", "fail")
    assert failing.code == 1
    result = dcmweb("-m", orthanc.url, "store", "new", *REPLACE, *API)
    assert (result.code, orthanc.count_instances()) == (0, 6)
    assert "stored 5, already there 1" in result.last
    assert result.err.count("it replaces other bytes that the server had") == 3
    assert dcmweb(orthanc.url, "retrieve", STUDY, "-o", "out").code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted(new)


def test_without_leave_to_use_its_api_it_keeps_what_it_has(
    dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path
) -> None:
    old, new = make_series(2), make_series(2)
    write_files(tmp_path / "old", old)
    write_files(tmp_path / "new", new)
    assert dcmweb(orthanc.url, "store", "old").code == 0
    result = dcmweb(orthanc.url, "store", "new", *REPLACE)
    assert result.code == 1
    assert result.err.count("cannot be deleted: answered 405") >= 2
    assert "--orthanc-api auto" in result.err
    assert dcmweb(orthanc.url, "retrieve", STUDY, "-o", "out").code == 0
    assert sorted(tree(tmp_path / "out").values()) == sorted(old)


def test_its_api_gets_the_credentials_of_the_service(
    dcmweb: Dcmweb, start_orthanc: StartOrthanc, tmp_path: Path
) -> None:
    users = {"me": "secret"}
    orthanc = start_orthanc(AuthenticationEnabled=True, RegisteredUsers=users)
    write_files(tmp_path / "in", make_series(1))
    known = {"DCMWEB_USER": "me", "DCMWEB_PASSWORD": "secret"}
    assert dcmweb(orthanc.url, "store", "in", env=known).code == 0
    wrong = {**known, "DCMWEB_PASSWORD": "other"}
    assert dcmweb(orthanc.url, "delete", STUDY, *API, env=wrong).code == 4
    assert dcmweb(orthanc.url, "delete", STUDY, *API, env=known).code == 0
    assert dcmweb(orthanc.url, "search", "studies", env=known).out.strip() == "[]"
