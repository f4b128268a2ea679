"""Deleting from the embedded archive, in both dialects."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archives import (
    AS_STORED,
    DATASET,
    DIALECTS,
    GOOGLE,
    LONG,
    STANDARD,
    Running,
    new_series,
    path_of,
    post,
    rows_of,
    running,
    uids,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


def a_study(server: Running) -> list[bytes]:
    """Store two series of two instances each."""
    first = new_series(2)
    study, series, _ = uids(first[0])
    files = first + make_series(2, study, f"{study}.2")
    assert series != uids(files[-1])[1]
    assert post(server, files).status_code == 200
    return files


def gone(server: Running, files: list[bytes]) -> list[bool]:
    """Which instances are not served at any dialect any more."""
    for data in files:
        statuses = {server("GET", f"{dialect}/{path_of(data)}").status_code for dialect in DIALECTS}
        assert statuses in ({200}, {404})
    return [server.get(path_of(data)).status_code == 404 for data in files]


def names(files: list[bytes]) -> set[str]:
    return {"/".join(uids(data)) + ".dcm" for data in files}


LEVELS = pytest.mark.parametrize(("levels", "count"), [(1, 4), (2, 2), (3, 1)])


@LEVELS
def test_what_is_deleted_is_gone_from_the_disk_and_nothing_else_is(
    server: Running, levels: int, count: int
) -> None:
    files, others = a_study(server), a_study(server)
    path = f"{STANDARD}/{path_of(files[0], levels)}"
    response = server("DELETE", path)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers  # of no content
    assert gone(server, files) == [n < count for n in range(4)]
    assert gone(server, others) == [False] * 4
    kept = server.files().keys()
    assert names(files[:count]).isdisjoint(kept)
    assert names(files[count:] + others) <= kept
    left = os.path.isdir(server.folder / uids(files[0])[0])
    assert left == (count < 4)
    rows = rows_of(server.get(f"{path_of(files[0], 1)}/instances"))
    assert len(rows) == 4 - count
    assert server("DELETE", path).status_code == 404


@pytest.mark.parametrize("dialect", DIALECTS[1:])
@LEVELS
def test_at_googles_face_it_is_an_operation_that_is_done_after_a_while(
    server: Running, dialect: str, levels: int, count: int
) -> None:
    files = a_study(server)
    response = server("DELETE", f"{dialect}/{path_of(files[0], levels)}")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/json")
    answer = json.loads(response.content)
    if levels == 3:
        assert answer == {}
    else:
        assert list(answer) == ["name"]
        assert answer["name"].startswith(f"{DATASET}/operations/")
        url = f"{dialect.partition('/')[0]}/{answer['name']}"
        report = server("GET", url).json()
        assert "done" in report or report["metadata"]["counter"] == {"pending": str(count)}
        method = report["metadata"]["apiMethodName"].rpartition(".")[2]
        assert method == ("DeleteStudy" if levels == 1 else "DeleteSeries")
        deadline = time.monotonic() + LONG
        while not report.get("done"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
            report = server("GET", url).json()
        assert report["name"] == answer["name"]
        assert report["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}
        assert report["metadata"]["counter"] == {"success": str(count)}
    assert gone(server, files) == [n < count for n in range(4)]


@pytest.mark.parametrize(
    "path", ["studies/9.9", "studies/9.9/series/1", "studies/9.9/series/1/instances/1"]
)
def test_what_is_not_there_cannot_be_deleted(server: Running, path: str) -> None:
    assert server("DELETE", f"{STANDARD}/{path}").status_code == 404
    response = server("DELETE", f"{GOOGLE}/{path}")
    assert response.status_code == 404
    error = json.loads(response.content)["error"]
    assert (error["code"], error["status"]) == (404, "NOT_FOUND")
    assert path in error["message"]


def test_an_operation_that_nobody_began_is_not_found(server: Running) -> None:
    response = server("GET", f"v1/{DATASET}/operations/17")
    assert response.status_code == 404
    assert json.loads(response.content)["error"]["status"] == "NOT_FOUND"


def test_what_was_deleted_can_be_stored_again(server: Running) -> None:
    files = a_study(server)
    for _ in range(2):
        assert server("DELETE", f"{STANDARD}/{path_of(files[0], 1)}").status_code == 204
        assert post(server, files).status_code == 200
        assert [server.get(path_of(data), AS_STORED).content for data in files] == files


def test_files_that_lay_in_the_folder_stay_there_but_are_served_no_more(tmp_path: Path) -> None:
    files = new_series(2)
    folder = tmp_path / "folder"
    write_files(folder, files)
    with running(folder) as server:
        assert server("DELETE", f"{STANDARD}/{path_of(files[0])}").status_code == 204
        assert gone(server, files) == [True, False]
        assert server.files() == {"1.dcm": files[0], "2.dcm": files[1]}
    with running(folder) as server:
        assert gone(server, files) == [True, False]
        assert post(server, files[:1]).status_code == 200
        assert gone(server, files) == [False, False]
    assert files[0] in tree(folder / uids(files[0])[0]).values()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_projects_own_client_deletes(server: Running, dcmweb: Dcmweb, dialect: str) -> None:
    files = a_study(server)
    url = f"{server.root}/{dialect}"
    result = dcmweb(url, "delete", "--yes", path_of(files[0]), path_of(files[2], 2))
    assert result.code == 0, result.err
    assert gone(server, files) == [True, False, True, True]
    assert dcmweb(url, "delete", path_of(files[0], 1)).code == 0
    assert gone(server, files) == [True] * 4
    assert dcmweb(url, "delete", path_of(files[0], 1)).code == 3
