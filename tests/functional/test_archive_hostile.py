"""The embedded archive and clients that hang, flood, or break the rules of HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_instance, make_series, write_files
from tests.functional.archives import (
    AS_STORED,
    GOOGLE,
    LONG,
    STANDARD,
    Running,
    bodies,
    body_of,
    changed,
    multipart,
    new_series,
    path_of,
    post,
    rows_of,
    running,
    sample,
)

MOST = 270  # more than the threads that it has at most
WAITING = 70  # more than the threads that the archive begins with


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), LONG)


def exchange(server: Running, request: bytes) -> bytes:
    """Send bytes, and return all that comes until the archive closes the connection."""
    with connect(server) as connection:
        try:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


BEGINNINGS = {
    "nothing": b"",
    "a request line": b"GET /dicomweb/studies HTTP/1.1\r\n",
    "header fields": b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nX: ",
    "a body": b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
    b"application/dicom\r\nContent-Length: 1000\r\n\r\nabc",
    "a chunk": b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
    b"application/dicom\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_requests_that_stop_half_way_hold_nobody_up(server: Running, beginning: str) -> None:
    with ExitStack() as stack:
        for _ in range(WAITING):
            connection = stack.enter_context(connect(server))
            connection.sendall(BEGINNINGS[beginning])
        response = server.session.get(f"{server.url}/studies", timeout=LONG)
        assert response.status_code == 204


def test_header_fields_that_never_end_are_cut(server: Running) -> None:
    """They hold all threads there are, until their time is over."""
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(MOST)]
        for connection in waiting:
            connection.sendall(BEGINNINGS["header fields"])
        response = server.session.get(f"{server.url}/studies", timeout=LONG)
        assert response.status_code == 204
        assert waiting[0].recv(100)[:12] in (b"", b"HTTP/1.1 408")


REQUEST = (
    b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/dicom\r\n"
)
SECOND = b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000 + b"\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +3\r\n\r\nabc",
        b"Content-Length: 1_0\r\n\r\nabcabcabca",
    ],
)
def test_lengths_that_are_not_valid_end_the_connection(server: Running, rest: bytes) -> None:
    answer = exchange(server, REQUEST + rest + SECOND)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert server.get("studies").status_code == 204


@pytest.mark.parametrize("field", [b"\tHost: a", b" ", b": a", b"A B: c", b"A", b"\xff: \xff"])
def test_odd_header_fields_are_not_a_defect(server: Running, field: bytes) -> None:
    answer = exchange(server, b"GET /dicomweb/studies HTTP/1.1\r\n" + field + b"\r\n" + SECOND[33:])
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 204 "))


@pytest.mark.parametrize(
    "query", [b"PatientID=\x80", b"\xff=\xfe", b"PatientName=\xc3\xa9", b"a=%FF"]
)
def test_queries_of_any_bytes_are_answered(tmp_path: Path, query: bytes) -> None:
    with running(tmp_path / "folder", "-v") as server:
        target = b"/dicomweb/studies?" + query
        answer = exchange(server, b"GET " + target + b" HTTP/1.1\r\n" + SECOND[33:])
        assert answer.startswith((b"HTTP/1.1 204 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_chunks_of_every_size_are_stored(tmp_path: Path, size: int) -> None:
    (data,) = new_series(size=50_000)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    with running(tmp_path / "folder") as server:
        head = {"Content-Type": "application/dicom"}
        for _ in range(2):  # on the same connection
            response = server("POST", f"{STANDARD}/studies", data=iter(chunks), headers=head)
            assert response.status_code == 200
        assert server.get(path_of(data), AS_STORED).content == data


@pytest.mark.parametrize(
    "fields",
    [b"X: " + b"a" * 300_000 + b"\r\n", b"".join(b"X%d: a\r\n" % n for n in range(20_000))],
    ids=["a long field", "many fields"],
)
def test_header_fields_have_a_limit(server: Running, fields: bytes) -> None:
    answer = exchange(server, b"GET /dicomweb/studies HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
    assert server.get("studies").status_code == 204


FOREIGN_PAGE = "http://evil.example"
LOCAL_PAGES = ("http://localhost:3000", "http://127.0.0.1:1", "https://[::1]:8443", "null")
CHANGES = [
    ("DELETE", f"{STANDARD}/studies/7.1"),
    ("DELETE", f"{GOOGLE}/studies/7.1"),
    ("POST", f"{STANDARD}/studies"),
    ("PUT", f"{STANDARD}/studies"),
    ("PATCH", f"{GOOGLE}/studies/7.1"),
    ("POST", f"{GOOGLE}/studies"),
]


def test_a_page_of_another_origin_changes_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance("7.1", "7.1.1", "7.1.1.1")])
    body = make_instance("7.2", "7.2.1", "7.2.1.1")
    with running(tmp_path / "in") as server:
        before = server.files()
        given: list[dict[str, str]] = [{"Origin": page} for page in (*LOCAL_PAGES, FOREIGN_PAGE)]
        for headers in (*given, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            for method, path in CHANGES:
                sent = {**headers, "Content-Type": "application/dicom"}
                answer = server(method, path, headers=sent, data=body)
                assert answer.status_code == 403, (method, path, headers)
                assert "changes nothing" in answer.text
                asked = {**headers, "Access-Control-Request-Method": method}
                told = server("OPTIONS", path, headers=asked).headers
                assert method not in told.get("Access-Control-Allow-Methods", "")
        assert server.files() == before


@pytest.mark.parametrize("allowed", ["http://localhost:3000", "*"])
def test_a_page_that_is_named_may_change_and_so_may_the_own_origin(
    tmp_path: Path, allowed: str
) -> None:
    files = [make_instance(f"7.{n}", f"7.{n}.1", f"7.{n}.1.1") for n in range(1, 4)]
    write_files(tmp_path / "in", files)
    with running(tmp_path / "in", "--allow-origin", allowed) as server:
        for n, headers in enumerate(
            [
                {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"},
                {"Origin": server.root, "Sec-Fetch-Site": "same-origin"},
                {},
            ],
            start=1,
        ):
            url = f"{STANDARD}/studies/7.{n}"
            assert server("DELETE", url, headers=headers).status_code in (200, 204)
        asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "DELETE"}
        methods = server("OPTIONS", f"{STANDARD}/studies/7.1", headers=asked).headers
        assert "DELETE" in methods["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "null", "http://a:b:c"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_malformed_origins_are_not_allowed(server: Running, origin: str, method: str) -> None:
    response = server(method, f"{STANDARD}/studies/9", headers={"Origin": origin})
    assert response.status_code == {"OPTIONS": 204, "GET": 404, "DELETE": 403}[method]
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost", True),
        ("localhost:1234", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:80", True),
        ("archive.localhost", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("10.1.2.3", False),
        ("[", False),
    ],
)
def test_an_archive_of_this_machine_is_not_called_by_other_names(
    server: Running, host: str, is_known: bool
) -> None:
    """A web page that has its own name resolve to 127.0.0.1 must not read or delete anything."""
    for method in ("GET", "DELETE", "POST"):
        response = server(method, f"{STANDARD}/studies/9", headers={"Host": host}, data=b"x")
        assert (response.status_code != 421) == is_known
        assert response.status_code in ((404, 415) if is_known else (421,))
    response = server("GET", f"{GOOGLE}/studies", headers={"Host": host})
    assert (response.status_code == 204) == is_known


def test_a_body_that_nobody_reads_ends_the_connection(server: Running) -> None:
    length = b"Content-Length: 500000\r\n\r\n"
    request = b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n" + length
    answer = exchange(server, request + b"x" * 100)
    assert answer.startswith(b"HTTP/1.1 204 ")
    short = request.replace(b"500000", b"3") + b"abc" + SECOND
    assert exchange(server, short).count(b"HTTP/1.1 204 ") == 2


def test_a_named_origin_may_call_the_archive_by_its_name(tmp_path: Path) -> None:
    with running(tmp_path / "a", "--allow-origin", "https://viewer.example") as server:
        for host, status in (("viewer.example", 204), ("other.example", 421)):
            assert server.get("studies", headers={"Host": host}).status_code == status
    with running(tmp_path / "b", "--host", "0.0.0.0") as server:
        assert server.get("studies", headers={"Host": "other.example"}).status_code == 204


def test_a_frame_that_makes_its_decoder_crash_is_not_acceptable(tmp_path: Path) -> None:
    good = sample("SC_rgb_small_odd_jpeg.dcm")
    bad = bytearray(changed(good, SOPInstanceUID="1.2.3.9"))
    bad[bad.index(b"\xff\xc0") + 10] = 0x54  # the identifier of the first component
    with running(tmp_path / "folder") as server:
        assert post(server, [good, bytes(bad)]).status_code == 200
        for below in ("", "/rendered", "/thumbnail", "/frames/1"):
            assert server.get(path_of(bytes(bad)) + below).status_code == 406
            assert server.get(path_of(good) + below).status_code == 200
        assert server.get(path_of(bytes(bad)), AS_STORED).content == bad
        assert len(bodies(server.get(path_of(good, 1)))) == 2


@pytest.mark.parametrize("where", ["uid", "transfer syntax"])
def test_line_breaks_in_uids_do_not_get_into_header_fields(tmp_path: Path, where: str) -> None:
    (data,) = new_series()
    syntax, uid = b"1.2.840.10008.1.2.1", path_of(data).rpartition("/")[2].encode()
    old = syntax if where == "transfer syntax" else uid
    broken = data.replace(old, old[:1] + b"\r\n" + old[3:])
    with running(tmp_path / "folder") as server:
        assert post(server, [broken]).status_code == 409
        assert rows_of(server.get("instances")) == []


ODD_METADATA: list[Any] = [
    {"0020000D": {"vr": "UI", "Value": "1.2"}},
    {"0020000D": {"vr": "UI", "Value": {"a": 1}}},
    {"0020000D": "1.2"},
    {"0020000D": {"vr": 7, "Value": [1]}},
    {"0020000D": None},
    {"00400275": {"vr": "SQ", "Value": 5}},
    {"00400275": {"vr": "SQ", "Value": [[]]}},
    {"00420011": {"vr": "OB", "BulkDataURI": ["a"]}},
    {"00420011": {"vr": "OB", "InlineBinary": 5}},
    {"00420011": {"vr": "OB", "InlineBinary": "?"}},
    {"00280010": {"vr": "US", "Value": [1e300]}},
    {"00280010": {"vr": "US", "Value": [True]}},
    {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 5}]}},
    {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "\ud800"}]}},
    {"": {}},
    {},
]


@pytest.mark.parametrize("metadata", ODD_METADATA)
@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_odd_metadata_is_refused_in_words(
    server: Running, dialect: str, metadata: dict[str, Any]
) -> None:
    whole = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": ["8.1.1.1"]},
        "0020000E": {"vr": "UI", "Value": ["8.1.1"]},
        **({"0020000D": {"vr": "UI", "Value": ["8.1"]}} if metadata else {}),
        **metadata,
    }
    body = body_of([({"Content-Type": "application/dicom+json"}, json.dumps([whole]).encode())])
    response = server(
        "POST",
        f"{dialect}/studies",
        "application/dicom+json",
        data=body,
        headers=multipart("application/dicom+json"),
    )
    assert response.status_code in (400, 409), response.text
    assert response.text


def test_storing_into_a_study_that_is_being_deleted_loses_nothing(tmp_path: Path) -> None:
    """Folders are removed and made anew at the same time; no answer has a local path in it."""
    study = make_series(40, "7.1", "7.1.1", 64)
    statuses: set[int] = set()
    texts: list[str] = []
    with running(tmp_path / "folder") as server:

        def delete() -> None:
            for _ in range(40):
                response = server.session.delete(f"{server.url}/studies/7.1", timeout=LONG)
                statuses.add(response.status_code)
                texts.append(response.text)

        thread = threading.Thread(target=delete)
        thread.start()
        for data in study:
            response = post(server, [data])
            statuses.add(response.status_code)
            texts.append(response.text)
        thread.join()
        assert statuses <= {200, 204, 404}
        assert str(tmp_path) not in "".join(texts)
        post(server, study)
        assert len(rows_of(server.get("studies/7.1/instances"))) == len(study)
        assert server.partial_files() == []


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_answers_name_no_path_of_this_machine(tmp_path: Path, dialect: str) -> None:
    (stored,), (other,) = new_series(), new_series()
    folder = tmp_path / "folder"
    with running(folder) as server:
        assert post(server, [stored], f"{dialect}/studies").status_code == 200
        folder.rename(tmp_path / "moved")
        try:
            answers = [post(server, [other], f"{dialect}/studies")]
            answers += [
                server(method, f"{dialect}/{path_of(stored)}{below}")
                for method, below in (("GET", ""), ("GET", "/metadata"), ("GET", "/frames/1"))
            ]
        finally:
            (tmp_path / "moved").rename(folder)
        assert answers[0].status_code == 503
        assert {answer.status_code for answer in answers[1:]} <= {404, 503}
        for answer in answers:
            assert str(tmp_path) not in answer.text + str(answer.headers)
        assert "No such file" in answers[0].text
        assert server("GET", f"{dialect}/{path_of(stored)}", AS_STORED).content == stored
