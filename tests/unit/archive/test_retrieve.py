"""Retrieval and searches where files are gone or broken, and names are odd; without a network."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.test import Client, TestResponse, create_environ
from werkzeug.wrappers import Request, Response

from dcmweb.archive import dialects, responses, retrieve
from dcmweb.archive.app import Archive
from dcmweb.archive.query import ParsedQuery
from dcmweb.archive.representations import metadata as representation
from dcmweb.archive.representations import rendering
from dcmweb.archive.representations.transcode import transcoded
from dcmweb.archive.responses import as_parts, file_pieces, json_response, spooled
from dcmweb.archive.retrieve import parse_frames
from dcmweb.archive.routes import root_url
from dcmweb.archive.search import element
from dcmweb.archive.storage.folder import Storage
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import BrokenDicom
from dcmweb.http.media_types import MediaType
from dcmweb.http.part_stream import PIECE
from tests.conftest import make_series, write_files
from tests.functional.archives import ALL_AS_STORED, GOOGLE, GOOGLE_BETA, STANDARD, changed
from tests.unit.archive.test_frames import SHIPPED

STUDY = f"/{STANDARD}/studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.1"
PICTURES = {"Accept": 'multipart/related; type="image/png"'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "folder", make_series(2))
    return tmp_path / "folder"


@pytest.fixture
def storage(folder: Path) -> Iterator[Storage]:
    storage = Storage(str(folder))
    yield storage
    storage.close()


@pytest.fixture
def client(storage: Storage) -> Client:
    return Client(Archive(storage))


def get(client: Client, path: str, accept: str = "") -> TestResponse:
    return client.get(path, headers={"Accept": accept} if accept else {}, buffered=True)


@pytest.mark.parametrize(
    "text",
    ["0", "00", "1,", ",1", "1,,2", "1,0", "-1", "1_0", "1 ", "1\n", "²", "٣", "x", "", "1" * 10],
)  # fmt: skip
def test_frames_are_counted_from_one(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_frames(text)


def test_each_frame_is_sent_once_and_what_is_no_list_is_quoted_in_part() -> None:
    assert parse_frames("2,1,02,1,2") == [2, 1]
    with pytest.raises(BadRequest) as caught:
        parse_frames("1," * 5000 + "0")
    assert len(str(caught.value.description)) < 300


def test_a_malformed_transfer_syntax_does_not_split_a_header_field() -> None:
    assert str(retrieve._dicom("1.2\r\nX: y")) == "application/dicom"
    assert "1.2.840" in str(retrieve._dicom("1.2.840"))


PATHS = ["", "/metadata", "/instances?includefield=all", "/instances?PatientAge=1", "/rendered"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["", PICTURES["Accept"], ALL_AS_STORED])
def test_what_has_gone_is_passed_over(
    client: Client, storage: Storage, monkeypatch: pytest.MonkeyPatch, path: str, accept: str
) -> None:
    """Whether it was gone before, or goes once it has been found."""
    if accept and (path == "/rendered") != (accept == PICTURES["Accept"]):
        return
    if accept == ALL_AS_STORED and path:
        return
    (Path(storage.folder) / "1.dcm").unlink()
    accept = accept or (PICTURES["Accept"] if path == "/rendered" else "")
    assert get(client, STUDY + path, accept).status_code in (200, 204)
    monkeypatch.setattr(storage, "present", list)
    if path != "/rendered":
        assert get(client, STUDY + path, accept).status_code in (200, 204)


def test_what_is_not_there_is_not_found(client: Client, folder: Path) -> None:
    (folder / "1.dcm").unlink()
    for path in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"):
        for resource in (INSTANCE, f"{STUDY}/series/9/instances/9"):
            assert get(client, resource + path).status_code == 404


@pytest.fixture
def broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first instance one that cannot be read, though it is indexed."""
    opened, render, thumbnail = representation.opened, rendering.render, rendering.thumbnail

    def opening(path: str, *how: Any) -> Any:
        if path.endswith("1.dcm"):
            raise BrokenDicom("it is odd", path=path)
        return opened(path, *how)

    def refuse(path: str, *how: Any, **more: Any) -> Any:
        if path.endswith("1.dcm"):
            raise BrokenDicom("it is odd", path=path)
        return (thumbnail if more else render)(path, *how, **more)

    monkeypatch.setattr(representation, "opened", opening)
    monkeypatch.setattr(retrieve, "render", refuse)
    monkeypatch.setattr(retrieve, "thumbnail", refuse)

    def transcode(path: str, syntax: str) -> Any:
        if path.endswith("1.dcm"):
            raise BrokenDicom("it is odd", path=path)
        return transcoded(path, syntax)

    monkeypatch.setattr(retrieve, "transcoded", transcode)


@pytest.mark.usefixtures("broken")
def test_one_that_cannot_be_read_does_not_hide_the_others(client: Client) -> None:
    implicit = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2'
    assert get(client, STUDY, implicit).data.count(b"DICM") == 2
    assert len(json.loads(get(client, f"{STUDY}/metadata").data)) == 2
    assert len(json.loads(get(client, f"{STUDY}/instances?includefield=all").data)) == 2
    assert get(client, f"{STUDY}/instances?PatientAge=1").status_code == 204
    assert get(client, f"{STUDY}/rendered", PICTURES["Accept"]).data.count(b"\x89PNG") == 1
    assert get(client, f"{STUDY}/thumbnail").status_code == 200
    for path, accept in (
        ("", implicit),
        ("/metadata", ""),
        ("/rendered", PICTURES["Accept"]),
        ("/thumbnail", ""),
    ):
        assert get(client, INSTANCE + path, accept).status_code == 406


def test_an_error_of_a_frame_has_a_status(client: Client, folder: Path) -> None:
    for path in ("/frames/2", "/frames/1,2", "/frames/2/rendered"):
        accept = "multipart/related; type=application/octet-stream" if "rend" not in path else ""
        assert get(client, INSTANCE + path, accept).status_code == 404
    data = (folder / "1.dcm").read_bytes()
    (folder / "1.dcm").write_bytes(changed(data, BitsAllocated=8, PixelData=b"\1\0"))
    assert get(client, f"{INSTANCE}/frames/1").status_code in (404, 406)


def test_a_frame_that_cannot_be_decoded_has_a_status(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(SHIPPED / "SC_rgb_rle.dcm")
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[:-200]])
    folder = tmp_path / "odd"
    folder.mkdir()
    dataset.save_as(folder / "1.dcm")
    storage = Storage(str(folder))
    (entry,) = storage.index.entries(Resource())
    client = Client(Archive(storage))
    path = f"/{STANDARD}/{entry.resource}/frames/1"
    for accept in ("", "multipart/related; type=application/octet-stream", "image/png"):
        assert get(client, path, accept).status_code == 406
    storage.close()


def test_parameters_of_pictures_are_checked_before_anything_is_sent(client: Client) -> None:
    for path in (STUDY, INSTANCE):
        for query in ("viewport=x", "window=1", "quality=0"):
            assert get(client, f"{path}/rendered?{query}", PICTURES["Accept"]).status_code == 400
            assert get(client, f"{path}/thumbnail?{query}").status_code == 400


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
def test_no_link_that_took_the_place_of_a_file_is_followed_out_of_the_folder(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    path, outside = folder / "1.dcm", tmp_path / "outside.dcm"
    outside.write_bytes(changed(path.read_bytes(), PatientComments="out-of-reach"))
    path.unlink()
    path.symlink_to(outside)
    page = INSTANCE.replace(f"/{STANDARD}/", "/browse/")
    for address in (
        *(INSTANCE + below for below in ("", "/metadata", "/rendered", "/bulkdata/7FE00010")),
        f"{STUDY}/metadata",
        f"{STUDY}/instances?includefield=all",
        f"{STUDY}/instances?includefield=PatientComments",
        f"{STUDY}/instances?PatientComments=out-of-reach",
        f"{STUDY}/series?includefield=PatientComments",
        page,
        f"{page.partition('/series')[0]}/files.zip",
        f"{page}/pictures/1",
    ):
        answer = get(client, address)
        assert answer.status_code in (200, 204, 404)
        assert b"out-of-reach" not in answer.data
        assert str(tmp_path).encode() not in answer.data
    patch = json.dumps([{"op": "remove", "path": "/00100010"}])
    address = INSTANCE.replace(STANDARD, GOOGLE_BETA)
    assert client.patch(f"{address}/metadata", data=patch).status_code == 404
    assert not list(folder.rglob("1.2.3.4.1.dcm"))


# Bodies.


def test_files_that_are_sent_are_closed(folder: Path) -> None:
    pieces = file_pieces(str(folder / "1.dcm"))
    assert b"".join(pieces) == (folder / "1.dcm").read_bytes()
    assert pieces._file.closed
    unread = file_pieces(str(folder / "1.dcm"))
    unread.close()
    assert unread._file.closed
    if os.name != "nt":
        with pytest.raises(OSError, match="regular"):
            file_pieces(os.devnull)


def test_much_waits_in_a_file_while_a_client_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    spooling = tempfile.SpooledTemporaryFile

    def spool(**how: Any) -> Any:
        made.append(spooling(**how))
        return made[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", spool)
    data = os.urandom(responses._LARGEST_IN_MEMORY + 1)
    pieces = spooled(data)
    first = next(pieces)
    assert len(first) == PIECE
    assert made[0]._rolled
    assert first + b"".join(pieces) == data


def test_rows_come_in_pieces_and_are_json_whatever_is_in_them() -> None:
    rows = [{"00100010": {"vr": "LO", "Value": ["\ud800"]}}] * 250
    response = json_response(rows)
    pieces = list(response.iter_encoded())
    assert len(pieces) == 3
    assert len(json.loads(b"".join(pieces))) == 250
    with pytest.raises(ValueError, match="JSON compliant"):
        list(json_response([{"x": float("nan")}]).iter_encoded())


def test_a_boundary_cannot_be_guessed() -> None:
    kind = MediaType("application/dicom")
    assert as_parts([], kind).content_type != as_parts([], kind).content_type


# Names.


@pytest.mark.parametrize("host", ["[", "localhost:99999", "localhost:x", "a b", ""])
def test_an_odd_host_is_not_a_defect(host: str) -> None:
    environ = create_environ("/")
    environ["HTTP_HOST"] = host
    environ["SERVER_PORT"] = "8080"
    assert isinstance(root_url(Request(environ)), str)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3%2Fmetadata", 404),
        ("/studies/%FF%FE", 404),
        ("/studies/\xff", 404),
        ("/studies//series", 404),
        ("/studies/1.2.3/series/", 200),
        ("/studies/..%2F..%2Fetc/metadata", 404),
        ("/studies/1.2.3", 200),
    ],
)
def test_paths_are_split_before_they_are_decoded(client: Client, path: str, status: int) -> None:
    uri = f"/{STANDARD}{path}"
    environ = {"REQUEST_URI": uri, "PATH_INFO": "/dicomweb/decoded"}
    headers = {"Accept": "multipart/related; type=application/dicom, */*"}
    assert client.get("/", headers=headers, environ_overrides=environ).status_code == status


def test_names_that_go_into_urls_are_quoted(client: Client) -> None:
    base = GOOGLE.replace("/d/", "/d%2Fx%20y/").replace("/s/", "/s%3F/")
    environ = {"REQUEST_URI": f"/{base}/studies", "PATH_INFO": f"/{GOOGLE}/studies"}
    (row,) = json.loads(client.get("/", environ_overrides=environ).data)
    (url,) = row["00081190"]["Value"]
    assert url.endswith(f"/{base}/studies/1.2.3")


# Searches.


@pytest.mark.parametrize(
    ("dialect", "query", "status"),
    [
        (GOOGLE, "limit=5000", 200),
        (GOOGLE, "limit=5001", 400),
        (GOOGLE, "offset=1000000", 204),
        (GOOGLE, "offset=1000001", 400),
        (STANDARD, "limit=999999999", 200),
    ],
)
def test_searches_have_limits(client: Client, dialect: str, query: str, status: int) -> None:
    assert get(client, f"/{dialect}/studies?{query}").status_code == status


def test_a_search_without_a_limit_has_one() -> None:
    query = ParsedQuery(Resource(), Level.STUDIES)
    assert dialects.StandardDialect().most(query) == 10_000
    assert dialects.GoogleDialect(None).most(query) == 100  # type: ignore[arg-type]


def test_rows_have_no_pixel_data(client: Client) -> None:
    rows = json.loads(get(client, f"{STUDY}/instances?includefield=all").data)
    assert not any("7FE00010" in row for row in rows)
    rows = json.loads(get(client, f"{STUDY}/instances?includefield=7FE00010").data)
    assert not any("7FE00010" in row for row in rows)


def test_a_number_that_is_none_stays_text() -> None:
    assert element("IS", "7\\x\\") == {"vr": "IS", "Value": [7, "x", None]}


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_what_the_answer_would_be_is_known_before_anything_is_stored(
    client: Client, storage: Storage, dialect: str
) -> None:
    (data,) = make_series(1, "9.1", "9.1.1")
    headers = {"Content-Type": "application/dicom", "Accept": "text/html"}
    assert client.post(f"/{dialect}/studies", data=data, headers=headers).status_code == 406
    headers = {"Content-Type": "application/dicom", "Storage-Class": "FAST"}
    if dialect == GOOGLE:
        assert client.post(f"/{dialect}/studies", data=data, headers=headers).status_code == 400
    assert storage.index.find(Resource("9.1")) is None


def test_errors_have_the_header_fields_that_they_ask_for() -> None:
    error = HTTPException()
    response = dialects.with_headers_of(error, Response())
    assert response.headers.getlist("Content-Type") == ["text/plain; charset=utf-8"]
