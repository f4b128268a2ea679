"""The embedded archive where little is sent that asks for much, and where files are not files."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.conftest import make_series
from tests.functional.archive import Archive, multipart_body
from tests.functional.archives import (
    ALL_AS_STORED,
    AS_STORED,
    GOOGLE,
    GOOGLE_BETA,
    LONG,
    STANDARD,
    Running,
    bodies,
    body_of,
    multipart,
    new_series,
    path_of,
    post,
    rows_of,
    running,
    start,
)
from tests.functional.origin import serving
from tests.functional.test_archive_hostile import MOST, connect, server
from tests.hostile import INSTANCE, SERIES, deflated, nested, put_pipe, put_socket

__all__ = ["server"]  # a fixture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and modes of POSIX")


def peak_memory(server: Running) -> int:
    """Bytes of memory that the archive has had at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def odd_vr() -> bytes:
    """Make an instance whose file meta information pydicom cannot read."""
    (data,) = make_series(1, "1.2.3", "1.2.3.5")
    return data.replace(b"\2\0\x10\0UI", b"\2\0\x10\0UG", 1)


@pytest.mark.parametrize("kind", ["bomb", "value representation"])
def test_one_odd_instance_does_not_hide_the_others(tmp_path: Path, kind: str) -> None:
    odd = deflated(INSTANCE + SERIES, 100 << 20) if kind == "bomb" else odd_vr()
    (good,) = make_series(1, "1.2.3", "1.2.3.4")
    with running(tmp_path / "folder") as server:
        for data in (odd, good):
            assert server("POST", f"{STANDARD}/studies", data=data, headers=DICOM).ok
        study = "studies/1.2.3"
        assert len(bodies(server.get(study))) == 2
        assert odd in bodies(server.get(study, ALL_AS_STORED))
        metadata = server.get(f"{study}/metadata").json()
        uids = {row["00080018"]["Value"][0] for row in metadata}
        assert uids == {"1.2.3.4.1", "1.2.3.4.5" if kind == "bomb" else "1.2.3.5.1"}
        assert all("00083002" in row for row in metadata)
        assert len(rows_of(server.get("instances?includefield=all"))) == 2
        assert len(rows_of(server.get("studies?includefield=InstitutionName"))) == 1
        assert server.get("instances?Manufacturer=x").status_code == 204
        assert server.get(f"{study}/thumbnail").status_code == 200
        (odd_path,) = (row["00081190"]["Value"][0] for row in rows_of(server.get("instances"))
                       if row["00080018"]["Value"][0] != "1.2.3.4.1")  # fmt: skip
        for below in ("/metadata", "/rendered", "/frames/1"):
            response = server("GET", odd_path + below)
            assert response.status_code == 406, below
        assert peak_memory(server) < 400 << 20


DICOM = {"Content-Type": "application/dicom"}


def test_what_is_nested_too_deep_is_named(server: Running) -> None:
    response = server("POST", f"{STANDARD}/studies", data=nested(3000), headers=DICOM)
    assert response.status_code == 409
    assert "nested too deep" in response.text


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_a_file_that_became_something_else_hangs_nobody(tmp_path: Path, kind: str) -> None:
    first, second = make_series(2, "1.2.4", "1.2.4.1")
    with running(tmp_path / "folder") as server:
        assert post(server, [first, second]).status_code == 200
        path = server.folder / "1.2.4" / "1.2.4.1" / "1.2.4.1.1.dcm"
        path.unlink()
        if kind == "folder":
            path.mkdir()
        else:
            (put_pipe if kind == "pipe" else put_socket)(path)
        for below in ("", "/metadata", "/rendered", "/frames/1", "/bulkdata/7FE00010"):
            assert server.get(path_of(first) + below).status_code == 404, below
        assert bodies(server.get("studies/1.2.4", ALL_AS_STORED)) == [second]
        assert len(server.get("studies/1.2.4/metadata").json()) == 1
        assert server.get("studies/1.2.4/instances?includefield=all").status_code == 200
        assert post(server, [first]).status_code == 200
        assert server.get(path_of(first), AS_STORED).content == first
    with running(tmp_path / "folder") as server:
        assert len(rows_of(server.get("instances"))) == 2


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside, replaced = (new_series()[0] for _ in range(3))
    folder, other = tmp_path / "folder", tmp_path / "other"
    (folder / "real").mkdir(parents=True)
    other.mkdir()
    (folder / "real" / "a.dcm").write_bytes(inside)
    (other / "b.dcm").write_bytes(outside)
    (folder / "in.dcm").symlink_to("real/a.dcm")
    (folder / "out.dcm").symlink_to(other / "b.dcm")
    (folder / "up.dcm").symlink_to("../other/b.dcm")
    (folder / "below").symlink_to(other)
    with running(folder) as server:
        assert len(rows_of(server.get("instances"))) == 1
        assert "3 links are not served: they lead out" in (tmp_path / "folder.log").read_text()
        assert post(server, [replaced]).status_code == 200
        stored = folder / f"{'/'.join(path_of(replaced).split('/')[1::2])}.dcm"
        (other / "c.dcm").write_bytes(replaced)
        stored.unlink()
        stored.symlink_to(other / "c.dcm")
        assert server.get(path_of(replaced), AS_STORED).status_code == 404
        stored.unlink()
        stored.parent.rmdir()
        stored.parent.symlink_to(other)
        (other / stored.name).write_bytes(replaced)
        assert server.get(path_of(replaced), AS_STORED).status_code == 404


def test_nothing_is_stored_outside_of_the_folder(tmp_path: Path) -> None:
    (data,) = new_series()
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / path_of(data).split("/")[1]).symlink_to(other)
    with running(folder) as server:
        response = post(server, [data])
        assert response.status_code == 503
        assert "a symbolic link there leads out of the folder" in response.text
        assert list(other.iterdir()) == []
        assert server.partial_files() == []


def start_failing(folder: Path) -> str:
    log = folder.with_name("log")
    failing = start(folder, log=log)
    assert failing.process.wait(LONG) == 7
    failing.session.close()
    return log.read_text()


def test_an_index_that_came_with_the_folder_does_no_harm(tmp_path: Path) -> None:
    """Neither its links and paths, nor what is defined in its database, lead anywhere."""
    (data,) = new_series()
    folder, precious = tmp_path / "folder", tmp_path / "precious"
    precious.write_bytes(b"precious")
    with running(folder) as server:
        assert post(server, [data]).status_code == 200
    own = folder / ".dcmweb"
    with sqlite3.connect(own / "index.sqlite3") as index:
        query = "INSERT INTO files (path, size, mtime_ns, own, note) VALUES (?, 8, 1, 1, 'deleted')"
        index.execute(query, [b"../precious"])
        index.execute(query, [os.fsencode(precious)])
        query = "UPDATE files SET path = ? WHERE note = ''"
        index.execute(query, [b"../other.dcm"])
    index.close()
    (tmp_path / "other.dcm").write_bytes(data)
    for name in ("lock", "index.sqlite3-wal"):
        (own / name).unlink(missing_ok=True)
    with running(folder) as server:
        assert len(rows_of(server.get("instances"))) == 1
        assert server("DELETE", f"{STANDARD}/{path_of(data)}").status_code == 204
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "other.dcm").exists()
    with sqlite3.connect(own / "index.sqlite3") as index:
        index.execute("CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM files; END")
    index.close()
    with running(folder) as server:
        assert post(server, [data]).status_code == 200
        assert len(rows_of(server.get("instances"))) == 1
    (own / "index.sqlite3").unlink()
    (own / "index.sqlite3").symlink_to(precious)
    with running(folder) as server:
        assert len(rows_of(server.get("instances"))) == 1
    (own / "lock").unlink()
    (own / "lock").symlink_to(precious)
    assert "cannot write into" in start_failing(folder)
    own.rename(tmp_path / "elsewhere")
    own.symlink_to(tmp_path / "elsewhere")
    assert "is a symbolic link" in start_failing(folder)
    assert precious.read_bytes() == b"precious"


def test_the_index_is_for_its_owner_only(tmp_path: Path) -> None:
    with running(tmp_path / "folder") as server:
        mode = (server.folder / ".dcmweb").stat().st_mode
        assert stat.S_IMODE(mode) == 0o700


def test_answers_are_not_to_be_taken_for_something_else(server: Running) -> None:
    for path in ("", "studies", "studies/1", "nothing"):
        assert server.get(path).headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "frames", ["0", "1,", ",1", "9" * 5000, "1,x", "²", "-1", "1_0", "1," * 5000 + "0", "1 "]
)
def test_odd_frame_lists_are_bad_requests(server: Running, frames: str) -> None:
    for below in (f"frames/{frames}", f"frames/{frames}/rendered"):
        response = server.get(f"studies/1/series/1/instances/1/{below}")
        assert response.status_code == 400
        assert len(response.text) < 1000


def test_a_frame_is_sent_once(tmp_path: Path) -> None:
    (data,) = new_series()
    with running(tmp_path / "folder") as server:
        post(server, [data])
        frames = server.get(f"{path_of(data)}/frames/1,1,01,1", "multipart/related; type=*/*")
        assert len(bodies(frames)) == 1


@pytest.mark.parametrize(
    "host", ["localhost:99999", "localhost:x", "[::1", "a b", "localhost:", ""]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_odd_hosts_are_not_a_defect(tmp_path: Path, host: str, address: str) -> None:
    with running(tmp_path / "folder", "--host", address) as server:
        (data,) = new_series()
        post(server, [data])
        for path in ("studies", path_of(data), "studies?limit=0"):
            assert server.get(path, headers={"Host": host}).status_code in (200, 204, 400, 421)


@pytest.mark.parametrize(
    "accept",
    ['"' + '\\"' * 30_000, ",".join(["multipart/related"] * 3000), "application/dicom; q=nan",
     "application/dicom; q=" + "9" * 5000, '*/*; a="' * 5000, ";" * 60_000, ", " * 30_000],
)  # fmt: skip
def test_odd_accept_fields_take_no_time(server: Running, accept: str) -> None:
    (data,) = new_series()
    post(server, [data])
    for path in (path_of(data), "studies", path_of(data, 1) + "/metadata"):
        assert server.get(path, accept).status_code in (200, 204, 406)


def deep(levels: int) -> str:
    return '{"00081140":{"vr":"SQ","Value":[' * levels + "{}" + "]}}" * levels


@pytest.mark.parametrize("levels", [50, 70, 100, 200, 320, 1000, 100_000])
def test_deep_metadata_is_refused_in_words(server: Running, levels: int) -> None:
    part = {"Content-Type": "application/dicom+json"}
    body = body_of([(part, f"[{deep(levels)}]".encode())])
    for dialect in (STANDARD, GOOGLE):
        response = server(
            "POST",
            f"{dialect}/studies",
            "application/dicom+json",
            data=body,
            headers=multipart("application/dicom+json"),
        )
        assert response.status_code in (400, 409)
    (data,) = new_series()
    assert post(server, [data]).status_code == 200
    for value in (deep(levels), "[" * levels + "]" * levels):
        patch = f'[{{"op": "add", "path": "/00081140", "value": {value}}}]'
        response = server("PATCH", f"{GOOGLE_BETA}/{path_of(data)}/metadata", data=patch.encode())
        assert response.status_code == 400, response.text


def test_requests_have_a_limit_of_values_and_instances(server: Running) -> None:
    rows = b"[" + b"{}," * 3_000_000 + b"{}]"
    part = {"Content-Type": "application/dicom+json"}
    headers = multipart("application/dicom+json")
    path = f"{STANDARD}/studies"
    response = server("POST", path, data=body_of([(part, rows)]), headers=headers)
    assert (response.status_code, "too many values" in response.text) == (400, True)
    rows = b"[" + b"{}," * 100_000 + b"{}]"
    response = server("POST", path, data=body_of([(part, rows)]), headers=headers)
    assert (response.status_code, "100,000 instances" in response.text) == (413, True)
    assert peak_memory(server) < 400 << 20


@pytest.mark.slow
@pytest.mark.parametrize("beginning", ["dripping bodies", "unread answers"])
def test_clients_that_drip_hold_nobody_up(tmp_path: Path, beginning: str) -> None:
    """They hold all threads there are, and keep their connections alive."""
    (data,) = make_series(1, "1.2.5", "1.2.5.1", 4_000_000)
    with running(tmp_path / "folder") as server, ExitStack() as stack:
        post(server, [data])
        request = (
            b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"application/dicom\r\nContent-Length: 100000\r\n\r\nabc"
        )
        if beginning == "unread answers":
            request = f"GET /dicomweb/{path_of(data)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        waiting = [stack.enter_context(connect(server)) for _ in range(MOST)]
        for connection in waiting:
            connection.sendall(request)
        until = time.monotonic() + LONG
        answered = False
        with connect(server) as other:
            other.sendall(b"GET /dicomweb/studies/9 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            other.settimeout(0.2)
            while not answered and time.monotonic() < until:
                drip(waiting if beginning == "dripping bodies" else [])
                try:
                    answered = other.recv(100).startswith(b"HTTP/1.1 404 ")
                except TimeoutError:
                    continue
        assert answered


def drip(connections: list[socket.socket]) -> None:
    for connection in connections:
        try:
            connection.send(b"x")
        except OSError:
            continue  # it has been cut


def test_more_connections_than_there_may_be_are_cut(server: Running) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(1100)]
        response = server.session.get(f"{server.url}/studies", timeout=LONG)
        assert response.ok
        assert waiting[0].recv(1) == b""
        waiting[-1].sendall(b"GET /dicomweb/studies/9 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert waiting[-1].recv(100).startswith(b"HTTP/1.1 404 ")


def test_a_request_has_a_limit_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcmweb.archive.store._MOST_INSTANCES", 3)
    with serving(Archive()) as origin:
        for count, status in ((3, 200), (4, 413)):
            body = multipart_body(make_series(count))
            answer = requests.post(
                f"{origin.url}/studies", data=body, headers=multipart(), timeout=LONG
            )
            assert answer.status_code == status, answer.text
