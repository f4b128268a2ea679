"""Statuses of success, connections that are used again, and what is asked for in between."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dcmweb.errors import ExitCode
from tests.conftest import Dcmweb, make_instance, tree
from tests.functional.archive import BOUNDARY, Scripted, json_answer, multipart_body
from tests.functional.origin import Answer, Handler, Request, serving

FILE = make_instance()
STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.5"
PNG = b"\x89PNG\r\n\x1a\n picture IEND\xaeB`\x82"
RELATED = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}


def with_status(status: int, method: str = "GET", end: str = "") -> Handler:
    """The archive, with another status for what it has."""
    archive = Scripted(FILE)

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith("/rendered"):
            answer = Answer(200, PNG, {"Content-Type": "image/png"})
        elif request.path.endswith("/metadata"):
            answer = json_answer(archive.rows(f"{STUDY}/series/1.2.3.4/instances", ""))
        is_last_page = request.method == "GET" and answer.status == 204
        is_other = request.method != method or not request.path.endswith(end)
        if is_other or is_last_page or answer.status >= 300:
            return answer
        return Answer(status, answer.body, answer.headers)

    return handle


COMMANDS = {
    "search": ["search", "--count"],
    "retrieve a study": ["retrieve", STUDY, "-o", "out"],
    "retrieve an instance": ["retrieve", INSTANCE, "-o", "out"],
    "retrieve metadata": ["retrieve", f"{INSTANCE}/metadata", "-o", "out"],
    "retrieve a picture": ["retrieve", f"{INSTANCE}/rendered", "-o", "out"],
}


@pytest.mark.parametrize("status", [200, 201, 202, 203, 207, 299])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_2xx_is_success_with_what_its_body_says(
    dcmweb: Dcmweb, tmp_path: Path, command: list[str], status: int
) -> None:
    with serving(with_status(status)) as origin:
        result = dcmweb(origin.url, *command)
    assert result.code == 0
    if "-o" in command:
        assert len(tree(tmp_path / "out")) == 1
    else:
        assert result.out == "1\n"


@pytest.mark.parametrize("status", [200, 201, 203, 204, 207])
def test_every_2xx_is_a_deletion(dcmweb: Dcmweb, status: int) -> None:
    with serving(with_status(status, "DELETE")) as origin:
        assert dcmweb(origin.url, "delete", STUDY).code == 0


@pytest.mark.parametrize("name", ["an instance", "metadata", "a picture"])
def test_206_means_that_something_is_missing(dcmweb: Dcmweb, name: str) -> None:
    with serving(with_status(206)) as origin:
        result = dcmweb("--retries", "0", origin.url, *COMMANDS[f"retrieve {name}"])
    assert result.code == (ExitCode.SOME_FAILED if name == "metadata" else ExitCode.PROTOCOL)
    assert "206" in result.err


def test_204_to_a_retrieval_means_that_there_is_nothing(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE)
    assert result.code == ExitCode.NOTHING_MATCHED
    assert len(origin.requests) == 1


def test_an_answer_to_another_request_is_not_taken(dcmweb: Dcmweb, tmp_path: Path) -> None:
    def handle(_: Request) -> Answer:
        headers = {"Content-Type": "image/png", "Content-Location": f"/dicomweb/{INSTANCE}9"}
        return Answer(200, PNG, headers)

    with serving(handle) as origin:
        result = dcmweb(
            "--retries", "1", origin.url, "retrieve", f"{INSTANCE}/rendered", "-o", "out"
        )
    assert result.code == ExitCode.PROTOCOL
    assert f"was answered with /dicomweb/{INSTANCE}9" in result.err
    assert len(origin.requests) == 2
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("status", [200, 204, 404])
def test_connections_are_used_again(dcmweb: Dcmweb, status: int) -> None:
    with serving(lambda _: Answer(status)) as origin:
        dcmweb(origin.url, "delete", STUDY, "studies/1.2.4", "--yes")
    assert [request.connection for request in origin.requests] == [0, 0]


def test_a_connection_is_not_used_again_where_more_came_than_the_length_says(
    dcmweb: Dcmweb,
) -> None:
    with serving(lambda _: Answer(200, b"{}" + b" " * 20, length=2)) as origin:
        dcmweb(origin.url, "delete", STUDY, "studies/1.2.4", "--yes")
    assert [request.connection for request in origin.requests] == [0, 1]


@pytest.mark.parametrize("missing", [1, 2, 300])
def test_a_body_that_goes_on_after_its_content_length_is_broken(
    dcmweb: Dcmweb, tmp_path: Path, missing: int
) -> None:
    headers = {"Content-Type": "application/dicom"}
    answer = Answer(200, FILE, headers, length=len(FILE) - missing)
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "1", origin.url, "retrieve", INSTANCE, "-o", "out")
    assert result.code == ExitCode.PROTOCOL
    assert "goes on after the end" in result.err
    assert tree(tmp_path / "out") == {}
    assert len(origin.requests) == 2


@pytest.mark.parametrize("end", [None, -1, 30])
def test_a_compressed_answer_is_whole_or_broken(dcmweb: Dcmweb, end: int | None) -> None:
    rows = json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]).encode()
    body = gzip.compress(rows + b" " * 5000)[:end]
    headers = {"Content-Type": "application/dicom+json", "Content-Encoding": "gzip"}
    with serving(lambda _: Answer(200, body, headers)) as origin:
        result = dcmweb("--retries", "0", origin.url, "search", "--limit", "1")
    assert result.code == (0 if end is None else ExitCode.PROTOCOL)
    assert origin.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("coding", ["br", "aes128gcm"])
def test_a_coding_that_nobody_asked_for_is_broken(
    dcmweb: Dcmweb, tmp_path: Path, coding: str
) -> None:
    headers = {**RELATED, "Content-Encoding": coding}
    with serving(lambda _: Answer(200, multipart_body([FILE]), headers)) as origin:
        result = dcmweb("--retries", "1", origin.url, "retrieve", INSTANCE, "-o", "out")
    assert result.code == ExitCode.PROTOCOL
    assert len(origin.requests) == 2
    assert tree(tmp_path / "out") == {}


def test_the_body_of_a_redirect_is_not_read_to_its_end(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if request.path.endswith("/studies"):
            location = {"Location": "/dicomweb/there"}
            return Answer(302, bytes(1000), location, length=10**12, stall=1000)
        return json_answer([])

    with serving(handle) as origin:
        result = dcmweb("--timeout", "1", "--retries", "0", origin.url, "search", "--count")
    assert (result.code, result.out) == (0, "0\n")
