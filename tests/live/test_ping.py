"""What `ping` finds out about real servers, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.test_ping import lines
from tests.live.conftest import StartTinyPacs
from tests.live.orthanc import Orthanc

pytestmark = pytest.mark.live


def test_orthanc(dcmweb: Dcmweb, orthanc: Orthanc, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    assert dcmweb(orthanc.url, "store", "in").code == 0
    result = dcmweb(orthanc.url, "ping")
    assert result.code == 0, result.err
    found = lines(result)
    assert "taken to be Orthanc" in found["service"][1]
    assert found["search"][0] == "ok"
    assert found["metadata"] == ("ok", "JSON, XML")
    assert found["instances"][1] == "multipart, */*, not single part (400)"
    assert found["rendered"] == ("ok", "JPEG, PNG")
    above = dcmweb(orthanc.url.removesuffix("/dicom-web"), "ping")
    assert above.code != 0
    assert f"the DICOMweb service is at {orthanc.url}" in above.err


def test_the_write_test_leaves_nothing_in_orthanc(dcmweb: Dcmweb, orthanc: Orthanc) -> None:
    without = dcmweb(orthanc.url, "ping", "--write-test")
    assert "nothing was stored" in without.out
    assert "--orthanc-api auto" in without.out
    result = dcmweb(orthanc.url, "ping", "--write-test", "--orthanc-api", "auto")
    assert result.code == 0, result.err
    assert [line.split()[:2] for line in result.out.splitlines()[-4:]] == [
        ["store", "ok"],
        ["listing", "ok"],
        ["retrieval", "ok"],
        ["delete", "ok"],
    ]
    assert orthanc.count_instances() == 0


def test_orthanc_with_users(dcmweb: Dcmweb, orthanc_with_users: Orthanc) -> None:
    missing = dcmweb(orthanc_with_users.url, "ping")
    wrong = dcmweb(orthanc_with_users.url, "ping", "--user", "alice:wrong")
    good = dcmweb(orthanc_with_users.url, "ping", "--user", "alice:se:cret")
    assert (missing.code, wrong.code, good.code) == (4, 4, 0)
    assert lines(good)["identity"] == ("ok", "user alice")
    assert "se:cret" not in good.out + good.err


def test_tiny_pacs(dcmweb: Dcmweb, start_tiny_pacs: StartTinyPacs) -> None:
    server = start_tiny_pacs(tokens=["abc"])
    missing = dcmweb(server.url, "ping")
    good = dcmweb(server.url, "ping", env={"DCMWEB_TOKEN": "abc"})
    assert (missing.code, good.code) == (4, 0), good.out
    tested = dcmweb(server.url, "ping", "--write-test", env={"DCMWEB_TOKEN": "abc"})
    left = dcmweb(server.url, "search", "studies", "--count", env={"DCMWEB_TOKEN": "abc"})
    assert left.out.strip() == "0", tested.out
