"""The embedded archive where bodies, wishes and files are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_files
from tests.functional.archives import (
    GOOGLE,
    Running,
    changed,
    new_series,
    path_of,
    post,
    rows_of,
    running,
)
from tests.functional.test_archive_serve import guarded
from tests.functional.test_archive_store import sent_raw


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "folder") as server:
        yield server


@pytest.mark.parametrize("kind", ["no last chunk", "within a chunk", "bad size", "negative length"])
def test_a_body_that_breaks_off_in_its_transfer_coding_is_a_bad_request(
    server: Running, kind: str
) -> None:
    (data,) = new_series()
    head = "Content-Type: application/dicom\r\nTransfer-Encoding: chunked"
    body = {
        "no last chunk": b"%x\r\n%s\r\n" % (len(data), data),
        "within a chunk": b"%x\r\n%s" % (len(data) + 100, data),
        "bad size": b"zz\r\n" + data,
        "negative length": data,
    }[kind]
    if kind == "negative length":
        head = "Content-Type: application/dicom\r\nContent-Length: -5"
    status, answer = sent_raw(server, head, body)
    assert status == 400
    assert answer.count("HTTP/1.1 ") == 1
    assert server.files() == {}


def test_a_store_whose_answer_cannot_be_had_stores_nothing(server: Running) -> None:
    assert post(server, new_series(), accept="text/html").status_code == 406
    assert server.files() == {}


def test_google_says_bad_request_of_a_body_of_another_type(server: Running) -> None:
    response = server(
        "POST", f"{GOOGLE}/studies", data=b"x", headers={"Content-Type": "text/plain"}
    )
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_every_scheme_that_is_accepted_is_offered(tmp_path: Path) -> None:
    with guarded(tmp_path) as server:
        offered = server.get("studies").headers["WWW-Authenticate"]
        assert ("Basic" in offered, "Bearer" in offered) == (True, True)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/metadata",
        "/rendered",
        "/thumbnail",
        "/instances?includefield=all",
        "/instances?PatientAge=1",
    ],
)
def test_a_file_that_has_gone_is_passed_over(tmp_path: Path, path: str) -> None:
    files = new_series(2)
    write_files(tmp_path / "folder", files)
    with running(tmp_path / "folder") as server:
        (tmp_path / "folder" / "1.dcm").unlink()
        accept = 'multipart/related; type="image/png"' if path == "/rendered" else None
        assert server.get(path_of(files[0], 1) + path, accept).status_code in (200, 204)


def test_keys_that_only_the_files_have_match_any_instance_of_a_study(tmp_path: Path) -> None:
    files = [changed(data, AcquisitionNumber=n) for n, data in enumerate(new_series(2), start=1)]
    write_files(tmp_path / "folder", files)
    with running(tmp_path / "folder") as server:
        for path in ("studies", "series", "instances"):
            assert len(rows_of(server.get(f"{path}?AcquisitionNumber=2"))) == 1


def test_urls_have_the_port_though_a_client_leaves_it_out(server: Running) -> None:
    post(server, new_series())
    host = server.root.removeprefix("http://").partition(":")[0]
    response = server("GET", "dicomweb/studies", headers={"Host": host})
    (row,) = rows_of(response)
    assert row["00081190"]["Value"][0].startswith(f"{server.root}/dicomweb/studies/")
