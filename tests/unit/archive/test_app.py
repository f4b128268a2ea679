"""The application where requests, bodies and files are not as they should be; without a network."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.test import Client, TestResponse, create_environ
from werkzeug.wrappers import Request

from dcmweb.archive import app as archive_app
from dcmweb.archive import google_resources, json_patch, operations
from dcmweb.archive.access import Access
from dcmweb.archive.app import Archive
from dcmweb.archive.google_resources import GoogleResources
from dcmweb.archive.json_patch import parse_patch, patched
from dcmweb.archive.operations import Operations
from dcmweb.archive.responses import FilePieces, file_pieces
from dcmweb.archive.retrieve import Retrieve
from dcmweb.archive.storage.folder import Storage
from dcmweb.errors import BrokenDicom, LocalError, NotDicom
from dcmweb.http.part_stream import PIECE
from tests.conftest import make_instance, write_files
from tests.functional.archives import GOOGLE, GOOGLE_BETA, STANDARD

INSTANCE = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5"
AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}


class Served:
    """An archive with one instance, and what it said."""

    def __init__(self, folder: Path) -> None:
        write_files(folder, [make_instance()])
        self.storage = Storage(str(folder))
        self.lines: list[str] = []
        app = Archive(self.storage, notify=self.lines.append, logs_requests=True)
        self.client = Client(app)

    def __call__(self, method: str, path: str, **how: Any) -> TestResponse:
        return self.client.open(f"/{path}", method=method, **how)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "folder")
    yield served
    served.storage.close()


def test_no_answer_is_taken_for_something_else(archive: Served) -> None:
    for path in ("", STANDARD, f"{STANDARD}/studies", f"{STANDARD}/{INSTANCE}", "browse/x"):
        assert archive("GET", path).headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_not_there_has_no_type(archive: Served) -> None:
    nothing = archive("GET", f"{STANDARD}/studies?PatientID=nobody")
    assert (nothing.status_code, "Content-Type" in nothing.headers) == (204, False)


@pytest.mark.parametrize("length", ["-5", "+5", "x", "5 6", "²", ""])
def test_a_length_that_is_not_one_ends_the_connection(archive: Served, length: str) -> None:
    answer = archive("GET", f"{STANDARD}/studies", environ_overrides={"CONTENT_LENGTH": length})
    assert (answer.status_code, answer.headers.get("Connection")) == (400, "close")


class Body(io.BytesIO):
    """A body that a server says more of: how much is to come, or that it broke off."""

    remaining = 0
    error: type[Exception] | None = None

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(size)
        if self.error:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize(
    ("remaining", "error", "length", "closes"),
    [
        (0, None, 10, False),
        (5, None, 10, True),
        (0, OSError, 10, True),
        (0, ValueError, 10, True),
        (0, None, 3 * PIECE, True),
    ],
)
def test_of_a_refused_body_the_rest_is_read_up_to_a_limit(
    archive: Served,
    monkeypatch: pytest.MonkeyPatch,
    remaining: int,
    error: type[Exception] | None,
    length: int,
    closes: bool,
) -> None:
    monkeypatch.setattr(archive_app, "_LONGEST_UNREAD", 2 * PIECE)
    body = Body(bytes(length))
    body.remaining, body.error = remaining, error
    environ = {"wsgi.input": body, "CONTENT_LENGTH": str(length)}
    answer = archive("POST", f"{STANDARD}/nothing", environ_overrides=environ)
    assert answer.status_code == 404
    assert ("Connection" in answer.headers) is closes
    assert error or body.tell() == min(length, 2 * PIECE)


def test_a_file_that_is_not_sent_is_closed(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FilePieces] = []

    def opening(path: str) -> FilePieces:
        opened.append(file_pieces(path))
        return opened[-1]

    monkeypatch.setattr("dcmweb.archive.retrieve.file_pieces", opening)
    with archive("HEAD", f"{STANDARD}/{INSTANCE}", headers=AS_STORED) as answer:
        assert (answer.status_code, answer.data) == (200, b"")
    (pieces,) = opened
    assert pieces._file.closed


PATH = "/secret/folder/1.dcm"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotDicom("it is not DICOM", path=PATH), 406, "it is not DICOM"),
        (BrokenDicom("it ends", path=PATH), 406, "it ends"),
        (FileNotFoundError(2, "No such file", PATH), 404, "deleted meanwhile"),
        (OSError(5, "Input/output error", PATH), 503, "Input/output error"),
        (LocalError(f"{PATH} is odd", path=PATH), 503, "its log has the reason"),
        (sqlite3.OperationalError(f"{PATH} is locked"), 503, "its log has the reason"),
        (ZeroDivisionError(PATH), 500, "a defect of the archive"),
        (RecursionError(PATH), 500, "a defect of the archive"),
    ],
)
def test_an_error_is_told_without_paths(
    archive: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    words: str,
) -> None:
    def fail(_self: Retrieve) -> None:
        raise error

    monkeypatch.setattr(Retrieve, "metadata", fail)
    for dialect in (STANDARD, GOOGLE):
        answer = archive("GET", f"{dialect}/{INSTANCE}/metadata")
        assert answer.status_code == status
        assert words in answer.text
        assert "secret" not in answer.text
    assert ("Traceback" in capsys.readouterr().err) is (status == 500)
    assert (PATH in "".join(archive.lines)) is (status == 503)


@pytest.mark.parametrize("error", [BadRequest("late"), LocalError("late"), ZeroDivisionError()])
def test_a_body_that_breaks_off_is_told_of(
    archive: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def pieces(first: list[Any]) -> Iterator[Any]:
        yield from first
        raise error

    monkeypatch.setattr(Retrieve, "_metadata_of", lambda *_: pieces([]))
    assert archive("GET", f"{STANDARD}/{INSTANCE}/metadata").status_code >= 400
    monkeypatch.setattr(Retrieve, "_metadata_of", lambda *_: pieces([{}] * 100))
    capsys.readouterr()
    archive.lines.clear()
    with pytest.raises(type(error)):
        archive("GET", f"{STANDARD}/{INSTANCE}/metadata", buffered=True)
    is_defect = isinstance(error, ZeroDivisionError)
    assert ("broke off" in "".join(archive.lines)) is not is_defect
    assert ("Traceback" in capsys.readouterr().err) is is_defect


def test_the_log_has_no_values(archive: Served) -> None:
    archive("GET", f"{STANDARD}/studies?PatientName=Doe&PatientName=Roe&limit=7")
    (line,) = archive.lines
    assert line.startswith(f"GET /{STANDARD}/studies?PatientName,limit 204 ")


@pytest.mark.parametrize("query", ["PatientID=\x80", "\xff=\xfe", "PatientName=\xc3\xa9"])
def test_queries_of_any_bytes_are_read(archive: Served, query: str) -> None:
    answer = archive("GET", f"{STANDARD}/studies", environ_overrides={"QUERY_STRING": query})
    assert answer.status_code in (204, 400, 200)


def test_pages_are_for_their_own_origin(archive: Served) -> None:
    headers = {"Origin": "http://localhost:1"}
    for path, is_open in (("browse/studies/1.2.3", False), (f"{STANDARD}/studies", True)):
        answer = archive("GET", path, headers=headers)
        assert ("Access-Control-Allow-Origin" in answer.headers) is is_open


def test_what_may_be_asked_is_told_and_what_is_not_there_is_not_deleted(archive: Served) -> None:
    for dialect in (STANDARD, GOOGLE):
        assert archive("OPTIONS", f"{dialect}/studies/9").status_code == 204
        for resource in ("studies/9", "studies/1.2.3/series/9"):
            assert archive("DELETE", f"{dialect}/{resource}").status_code == 404


def test_names_that_others_give_are_for_all_resources(tmp_path: Path) -> None:
    served = Served(tmp_path / "folder")
    app = Archive(served.storage, Access(is_local=True))
    for path in ("/", "/browse/studies/1.2.3", f"/{STANDARD}/studies", f"/{GOOGLE}/studies"):
        assert Client(app).get(path, headers={"Host": "evil.example"}).status_code == 421
    served.storage.close()


# JSON Patch.


def test_a_patch_has_a_limit(archive: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (json_patch, archive_app):
        monkeypatch.setattr(module, "LONGEST_PATCH", 100)
    body = Body(b"[" + b" " * 1000)
    answer = archive(
        "PATCH",
        f"{GOOGLE_BETA}/{INSTANCE}/metadata",
        environ_overrides={"wsgi.input": body, "wsgi.input_terminated": False},
    )
    assert (answer.status_code, "too long" in answer.text) == (400, True)
    assert body.asked[0] == 101


NAME = {"op": "add", "path": "/00100010", "value": 1}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ({}, "array"),
        ([], "array"),
        ("text", "array"),
        ([NAME], ""),
        ([7], "op and path"),
        ([{"op": "add", "value": 1}], "op and path"),
        ([{**NAME, "path": 7}], "op and path"),
        ([{**NAME, "op": "move", "from": "/00100020"}], "is add, replace"),
        ([{**NAME, "op": ["add"]}], "is add, replace"),
        ([{"op": "add", "path": "/00100010"}], "needs a value"),
        ([{**NAME, "path": ""}], "begins with a tag"),
        ([{**NAME, "path": "00100010"}], "begins with a tag"),
        ([{**NAME, "path": "/PatientName"}], "begins with a tag"),
        ([{**NAME, "path": "/0010001"}], "begins with a tag"),
        ([{**NAME, "path": "/00100010\n"}], "begins with a tag"),
        ([{**NAME, "path": "/00020010"}], "cannot be changed"),
        ([{**NAME, "path": "/0002000f"}], "cannot be changed"),
        ([{"op": "remove", "path": "/0020000d"}], "cannot be changed"),
        ([{**NAME, "op": "replace", "path": "/7fe00010"}], "cannot be changed"),
        ([{**NAME, "path": "/00280010/Value/0"}], "cannot be changed"),
        ([{**NAME, "path": "/00080018"}], "cannot be changed"),
        ([{**NAME, "path": "/00280100"}], "cannot be changed"),
    ],
)
def test_a_patch_that_is_not_one_is_refused(steps: Any, words: str) -> None:
    body = steps if isinstance(steps, bytes) else json.dumps(steps).encode()
    if not words:
        assert parse_patch(body)
        return
    with pytest.raises(BadRequest) as caught:
        parse_patch(body)
    assert words in str(caught.value.description)


def test_a_patch_is_not_nested_too_deep() -> None:
    value: list[Any] = []
    for _ in range(200):
        value = [value]
    with pytest.raises(BadRequest) as caught:
        parse_patch(json.dumps([{**NAME, "value": value}]).encode())
    assert "too deep" in str(caught.value.description)


METADATA = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A"}, {"Alphabetic": "B"}]}}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("replace", "00100020"),
        ("remove", "00100020"),
        ("add", "00100020/Value/0"),
        ("add", "00100010/Value/3"),
        ("add", "00100010/Value/-1"),
        ("remove", "00100010/Value/-1"),
        ("replace", "00100010/Value/-1/Alphabetic"),
        ("replace", "00100010/Value/01"),
        ("replace", "00100010/Value/+1"),
        ("replace", "00100010/Value/0_1"),
        ("replace", "00100010/Value/¹"),
        ("replace", "00100010/Value/\N{ARABIC-INDIC DIGIT ONE}"),
        ("remove", "00100010/Value/2"),
        ("replace", "00100010/Value/-"),
        ("add", "00100010/vr/x"),
        ("replace", "00100010/Value/0/Ideographic"),
        ("test", "00100010/vr"),
    ],
)
def test_a_step_that_cannot_be_taken_is_refused(name: str, path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        patched(METADATA, [(name, path.split("/"), "x")])
    assert "cannot be applied" in str(caught.value.description)


def test_a_patch_changes_a_copy() -> None:
    before = json.dumps(METADATA)
    after = patched(METADATA, [("remove", ["00100010", "Value", "0"], None)])
    assert after["00100010"]["Value"] == [{"Alphabetic": "B"}]
    assert json.dumps(METADATA) == before


@pytest.mark.parametrize(
    "value",
    [
        "text",
        {"vr": "LT", "BulkDataURI": "http://elsewhere.example"},
        {"vr": "US", "Value": ["x"]},
        {"vr": "XX", "Value": ["x"]},
        {"Value": ["x"]},
    ],
)
def test_what_is_not_an_element_is_not_written(archive: Served, value: Any) -> None:
    patch = json.dumps([{"op": "add", "path": "/00104000", "value": value}])
    answer = archive("PATCH", f"{GOOGLE_BETA}/{INSTANCE}/metadata", data=patch)
    assert answer.status_code == 400


def test_a_patch_is_applied_to_all_instances_or_none(archive: Served) -> None:
    folder = Path(archive.storage.folder)
    write_files(folder / "more", [make_instance(instance="1.2.3.4.6")])
    archive.storage.close()
    archive = Served(folder)
    test = {"op": "test", "path": "/00080018/Value/0", "value": "1.2.3.4.5"}
    patch = json.dumps([test, {**NAME, "value": {"vr": "PN", "Value": [{"Alphabetic": "X"}]}}])
    for resource, status in (("studies/1.2.3", 400), ("studies/9", 404)):
        answer = archive("PATCH", f"{GOOGLE_BETA}/{resource}/metadata", data=patch)
        assert answer.status_code == status
    assert not list(folder.rglob("*.part"))
    assert len(list(folder.rglob("*.dcm"))) == 2
    archive.storage.close()


# What scripts create.


def request(body: bytes = b"", query: str = "") -> Request:
    return Request(create_environ("/", query_string=query, method="POST", data=body))


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 257, "a\n", "a?"])
def test_names_of_resources_are_plain(name: str) -> None:
    with pytest.raises(BadRequest):
        GoogleResources().create("p", "datasets", Request(
            create_environ("/", query_string={"datasetId": name}, method="POST")
        ))  # fmt: skip


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 20_000, b'{"a": "' + b"x" * 70_000])
def test_resources_are_small_objects(body: bytes) -> None:
    with pytest.raises(BadRequest):
        GoogleResources().create("p", "datasets", request(body, "datasetId=a"))


def test_a_resource_that_is_too_large_is_not_read_to_its_end() -> None:
    environ = create_environ("/", query_string="datasetId=a", method="POST")
    environ["wsgi.input"] = body = Body(b'{"a": 1}' + b" " * 10**6)
    environ["wsgi.input_terminated"] = False
    with pytest.raises(BadRequest):
        GoogleResources().create("p", "datasets", Request(environ))
    assert body.tell() == google_resources._LONGEST_BODY + 1


def test_a_resource_is_created_once_and_keeps_its_name() -> None:
    resources = GoogleResources()
    created = resources.create("p", "datasets", request(b'{"name": "x", "a": 1}', "datasetId=a"))
    assert created == {"name": "p/datasets/a", "a": 1}
    with pytest.raises(HTTPException, match="409"):
        resources.create("p", "datasets", request(b"", "datasetId=a"))
    with pytest.raises(BadRequest):
        resources.update("p/datasets/a", request(b'{"name": "x"}', "updateMask=a,name"))
    with pytest.raises(NotFound):
        resources.update("p/datasets/b", request(b"{}", "updateMask=a"))
    resources.create("p/datasets/a", "dicomStores", request(b"", "dicomStoreId=s"))
    resources.create("p", "datasets", request(b"", "datasetId=ab"))
    resources.delete("p/datasets/a")
    assert [one["name"] for one in resources.list("p", "datasets")["datasets"]] == ["p/datasets/ab"]
    assert resources.list("p/datasets/a", "dicomStores") == {}


def test_resources_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_resources, "_MOST_RESOURCES", 2)
    resources = GoogleResources()
    for name in "ab":
        resources.create("p", "datasets", request(b"", f"datasetId={name}"))
    with pytest.raises(HTTPException, match="429"):
        resources.create("p", "datasets", request(b"", "datasetId=c"))
    resources.delete("p/datasets/a")
    assert resources.create("p", "datasets", request(b"", "datasetId=c"))


def test_operations_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_REMEMBERED", 2)
    known = Operations()
    names = [known.add("d", "DeleteStudy", 1) for _ in range(3)]
    assert [known.report(name) is not None for name in names] == [False, True, True]
    assert known.report("d/operations/1") is None
