"""`serve` as a process: how it starts and ends, who is let in, and what it survives."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archives import (
    AS_STORED,
    DIALECTS,
    STANDARD,
    Running,
    new_series,
    path_of,
    post,
    rows_of,
    running,
    start,
    stop,
)

SECRET = "hunter2-S3CR3T"


def test_the_first_line_on_stdout_is_the_base_url_and_stderr_tells_the_rest(
    tmp_path: Path,
) -> None:
    write_files(tmp_path / "in", [*make_series(3), b"no DICOM", make_series(1)[0][:-50]])
    with running(tmp_path / "in") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert len(rows_of(server.get("instances"))) == 3
        home = server("GET", "/")
        assert (home.status_code, server.url in home.text) == (200, True)
    log = (tmp_path / "in.log").read_text()
    assert f" -- Serving 3 instances in {tmp_path / 'in'}\n" in log
    assert "5.dcm is not served: " in log
    assert "Please note" not in log


# What cannot be served.


def test_a_port_in_use_is_told_in_one_line(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = dcmweb("serve", tmp_path, "--port", str(port))
    assert (result.code, result.out, len(result.err.splitlines())) == (7, "", 1)
    assert f"127.0.0.1:{port}" in result.err


@pytest.mark.parametrize("kind", ["missing", "a file", "locked"])
def test_a_folder_that_cannot_be_served_is_told_in_one_line(
    dcmweb: Dcmweb, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "folder"
    if kind == "a file":
        folder.write_text("")
    if kind == "locked":
        with running(folder):
            result = dcmweb("serve", folder, "--port", "0")
        assert "another archive" in result.err
    else:
        result = dcmweb("serve", folder, "--port", "0")
    assert (result.code, result.out, len(result.err.splitlines())) == (7, "", 1)
    assert "folder" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://127.0.0.1:1/dicomweb", "serve", "."],
        ["serve"],
        ["serve", ".", "."],
        ["serve", ""],
        ["serve", " "],
        ["serve", ".", "--index", ""],
        ["serve", ".", "--"],
        ["serve", ".", "--port", "0", "--", "./no-such-command"],
        ["serve", ".", "--port", "65536"],
        ["serve", ".", "--port", "x"],
        ["serve", ".", "--user", "joe"],
        ["serve", ".", "--token-file", "no-such-file"],
        ["serve", ".", "--token-file", "empty"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "empty").write_text("\n")
    result = dcmweb(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "Error: " in result.err
    assert not (tmp_path / ".dcmweb").exists() or "no-such-command" in result.err


# Addresses and signals.


@pytest.mark.parametrize(
    ("host", "options", "note"),
    [
        ("127.0.0.2", [], ""),
        ("localhost", [], ""),
        ("0.0.0.0", [], "by anyone, without credentials"),
        ("0.0.0.0", ["--user", "joe:secret"], "at 0.0.0.0\n"),
    ],
)
def test_an_archive_that_others_can_reach_says_so(
    tmp_path: Path, host: str, options: list[str], note: str
) -> None:
    (tmp_path / "in").mkdir()
    server = start(tmp_path / "in", "--host", host, *options, log=tmp_path / "log")
    try:
        assert server.root.startswith(f"http://{host}:")
        assert server.get("studies").status_code == (401 if options else 204)
    finally:
        assert stop(server) == 143
    log = (tmp_path / "log").read_text()
    assert ("Please note" in log) == bool(note)
    assert note in log
    assert "secret" not in log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_signal_ends_the_archive(tmp_path: Path, number: int, code: int, is_busy: bool) -> None:
    (tmp_path / "in").mkdir()
    server = start(tmp_path / "in", log=tmp_path / "log")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        if is_busy:
            head = "POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n"
            head += "Content-Type: application/dicom\r\nContent-Length: 100000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 999)
            assert server.get("studies").status_code == 204
        assert stop(server, number) == code
    assert "Traceback" not in (tmp_path / "log").read_text()
    with running(tmp_path / "in") as server:
        assert tree(server.folder).keys() <= {
            f".dcmweb/{name}"
            for name in ("lock", "index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm")
        }


# Who is let in.


@contextmanager
def guarded(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    options = ["--user", f"jörg:{SECRET}", "--token-file", str(tmp_path / "token")]
    with running(tmp_path / "folder", *options) as server:
        yield server
    assert SECRET not in (tmp_path / "folder.log").read_text()


def test_nothing_is_answered_without_the_right_credentials(tmp_path: Path) -> None:
    with guarded(tmp_path) as server:
        (data,) = new_series()
        wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}]
        wrong += [{"Authorization": "Basic am9lOm5v"}, {"Authorization": f"Digest {SECRET}"}]
        wrong += [{"Authorization": "Basic ???"}, {"Authorization": SECRET}]
        for headers in wrong:
            for dialect in DIALECTS:
                for method in ("GET", "POST", "DELETE"):
                    response = server(method, f"{dialect}/studies/1", data=data, headers=headers)
                    assert response.status_code == 401
                    assert "dcmweb" in response.headers["WWW-Authenticate"]
                    assert SECRET not in response.text
        assert server.files() == {}
        assert server("GET", "/", headers={}).status_code == 401
        auth = ("jörg".encode(), SECRET.encode())
        assert server.get("studies", auth=auth).status_code == 204
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert server.get("studies", headers=bearer).status_code == 204


def test_the_projects_own_client_gets_in(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", new_series(2))
    with guarded(tmp_path) as server:
        for options in (["--user", f"jörg:{SECRET}"], ["--token-file", tmp_path / "token"]):
            assert dcmweb(*options, server.url, "store", "in").code == 0
        assert len(server.files()) == 2
        for options in ([], ["--user", "jörg:wrong"]):
            assert dcmweb(*options, server.url, "search").code == 4


def test_the_environment_may_hold_the_secrets(tmp_path: Path) -> None:
    with running(tmp_path / "a", "--user", "joe", env={"DCMWEB_PASSWORD": SECRET}) as server:
        assert server.get("studies", auth=("joe", SECRET)).status_code == 204
        assert server.get("studies", auth=("joe", "")).status_code == 401
        assert server.get("studies").headers["WWW-Authenticate"].startswith("Basic")
    with running(tmp_path / "b", env={"DCMWEB_TOKEN": f"{SECRET}\n"}) as server:
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert server.get("studies", headers=bearer).status_code == 204
        assert server.get("studies").headers["WWW-Authenticate"].startswith("Bearer")


# Web pages.


@pytest.mark.parametrize(
    ("options", "allowed", "foreign"),
    [
        (
            [],
            ["http://localhost:3000", "http://127.0.0.1:5000", "http://[::1]:5000"],
            ["https://viewer.example", "http://localhost.evil.example", "null"],
        ),
        (
            ["--allow-origin", "https://viewer.example"],
            ["https://viewer.example", "http://localhost:1"],
            ["http://viewer.example", "https://viewer.example.evil.example"],
        ),
        (["--allow-origin", "*"], ["https://anywhere.example"], []),
    ],
    ids=["none", "one", "all"],
)
def test_pages_of_this_machine_and_those_that_are_named_may_read_answers(
    tmp_path: Path, options: list[str], allowed: list[str], foreign: list[str]
) -> None:
    asked = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    with running(tmp_path / "folder", "--user", f"joe:{SECRET}", *options) as server:
        for origin, method, auth, status in (
            (origin, *how)
            for origin in allowed + foreign
            for how in (
                ("OPTIONS", None, 204),
                ("GET", ("joe", SECRET), 204),
                ("GET", None, 401),
            )
        ):
            headers = {"Origin": origin, **(asked if method == "OPTIONS" else {})}
            response = server(method, f"{STANDARD}/studies", headers=headers, auth=auth)
            assert response.status_code == status
            told = response.headers.get("Access-Control-Allow-Origin")
            assert told == (origin if origin in allowed else None)
            if origin in foreign:
                continue
            assert "Warning" in response.headers["Access-Control-Expose-Headers"]
            may_change = "DELETE" in response.headers["Access-Control-Allow-Methods"]
            assert may_change == (origin in options or "*" in options)
            if method == "OPTIONS":
                assert response.headers["Access-Control-Allow-Headers"] == "authorization"


# The whole.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_stored_comes_back_and_goes(dcmweb: Dcmweb, tmp_path: Path, dialect: str) -> None:
    files = [data for _ in range(3) for data in new_series(4)]
    write_files(tmp_path / "in", files)
    with running(tmp_path / "folder") as server:
        url = f"{server.root}/{dialect}"
        assert dcmweb("-m", url, "store", "in").code == 0
        assert dcmweb("-m", url, "retrieve", "--output", "out").code == 0
        assert tree(tmp_path / "out") == server.files()
        assert sorted(tree(tmp_path / "out").values()) == sorted(files)
        assert dcmweb(url, "delete", "--yes", *{path_of(data, 1) for data in files}).code == 0
        assert server.files() == {}
        result = dcmweb(url, "search")
        assert (result.code, result.out.strip()) == (0, "[]")


def test_the_next_start_serves_what_was_stored_and_what_was_put_there_meanwhile(
    tmp_path: Path,
) -> None:
    stored, put = new_series(2), new_series(2)
    with running(tmp_path / "folder") as server:
        assert post(server, stored).status_code == 200
    write_files(tmp_path / "folder" / "put", put)
    (tmp_path / "folder" / "put" / "2.dcm").rename(tmp_path / "folder" / "moved.dcm")
    with running(tmp_path / "folder") as server:
        for data in stored + put:
            assert server.get(path_of(data), AS_STORED).content == data
    (tmp_path / "folder" / "moved.dcm").unlink()
    (tmp_path / "folder" / ".dcmweb" / "index.sqlite3").write_bytes(b"damaged" * 1000)
    with running(tmp_path / "folder") as server:
        assert [server.get(path_of(data)).status_code for data in stored + put] == [200] * 3 + [404]


@pytest.mark.slow
def test_the_demonstration_says_that_all_is_well(dcmweb: Dcmweb, tmp_path: Path) -> None:
    result = dcmweb("demo", timeout=120, env={"TMPDIR": str(tmp_path)})
    assert (result.code, "All is well" in result.out) == (0, True)
    assert not list(tmp_path.glob("dcmweb-demo-*"))


def test_a_token_file_means_the_same_to_server_and_client(dcmweb: Dcmweb, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_bytes(f"Bearer {SECRET}\r\n".encode("utf-16"))
    with running(tmp_path / "folder", "--token-file", str(token)) as server:
        assert dcmweb("--token-file", token, server.url, "search").code == 0
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert server.get("studies", headers=bearer).status_code == 204
