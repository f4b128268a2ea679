"""Storing in the embedded archive: what is kept, and what is said of the rest."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Dcmweb, write_files
from tests.functional.archive import multipart_body
from tests.functional.archives import (
    AS_STORED,
    DIALECTS,
    GOOGLE,
    STANDARD,
    STORE,
    Running,
    changed,
    module_of,
    multipart,
    new_series,
    path_of,
    post,
    read,
    running,
    sample,
    uids,
    value,
    values,
)

FAILED, REFERENCED, OTHERS = "00081198", "00081199", "0008119A"
STUDY_URL = "00081190"
CANNOT_UNDERSTAND, OTHER_STUDY, DUPLICATE, GOOGLE_FAILURE = 0xC000, 0xA901, 0x0111, 0x0110
ONE_DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("archive") / "folder") as server:
        yield server


def name_of(data: bytes) -> str:
    return "/".join(uids(data)) + ".dcm"


def stored(response: requests.Response) -> list[str]:
    """The SOP Instance UIDs that an answer says are there now."""
    return [value(item, "00081155") for item in values(module_of(response), REFERENCED)]


def reason(item: dict[str, Any]) -> int:
    return int(value(item, "00081197"))


def words(item: dict[str, Any]) -> str:
    """Why an instance was not stored, as either dialect says it."""
    for tag in ("00090097", "00091097"):
        if tag in item:
            return str(value(item, tag))
    return str(value(value(item, "00741048"), "00000902"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_stored_lies_in_a_tree_byte_for_byte_and_can_be_had_at_every_face(
    server: Running, dialect: str
) -> None:
    files = new_series(3)
    response = post(server, files, f"{dialect}/studies")
    assert response.status_code == 200
    assert (
        value(module_of(response), STUDY_URL) == f"{server.root}/{dialect}/{path_of(files[0], 1)}"
    )
    items = values(module_of(response), REFERENCED)
    assert [value(item, "00081155") for item in items] == [uids(data)[2] for data in files]
    kept = server.files()
    for item, data in zip(items, files, strict=True):
        assert kept[name_of(data)] == data
        assert value(item, "00081150") == str(read(data).SOPClassUID)
        assert value(item, "00081190") == f"{server.root}/{dialect}/{path_of(data)}"
        for other in DIALECTS:
            assert server("GET", f"{other}/{path_of(data)}", AS_STORED).content == data
    assert server.partial_files() == []


@pytest.mark.parametrize(
    ("dialect", "accept", "expected"),
    [
        (STANDARD, None, "application/dicom+json"),
        (STANDARD, "application/dicom+json", "application/dicom+json"),
        (STANDARD, "application/json", "application/json"),
        (STANDARD, "application/dicom+xml", "application/dicom+xml"),
        (STANDARD, "application/dicom+json;q=0.1, application/dicom+xml", "application/dicom+xml"),
        (GOOGLE, None, "application/dicom+xml"),
        (GOOGLE, "*/*", "application/dicom+xml"),
        (GOOGLE, "application/dicom+json", "application/dicom+json"),
    ],
)
def test_the_answer_is_in_the_form_that_is_asked_for(
    server: Running, dialect: str, accept: str | None, expected: str
) -> None:
    data = new_series()
    response = post(server, data, f"{dialect}/studies", accept or "")
    assert response.headers["Content-Type"].partition(";")[0] == expected
    assert stored(response) == [uids(data[0])[2]]


@pytest.mark.parametrize("how", ["single", "single, chunked", "chunked", "octets", "bare", "named"])
def test_every_way_of_sending_instances_stores_them(server: Running, how: str) -> None:
    (data,) = new_series(size=300_000)
    url, headers, body = f"{STANDARD}/studies", multipart(), multipart_body([data])
    if how.startswith("single"):
        headers, body = ONE_DICOM, data
    elif how == "octets":
        body = multipart_body([data], "application/octet-stream")
    elif how == "bare":
        body = body.replace(b"Content-Type: application/dicom\r\n\r\n", b"\r\n")
    elif how == "named":
        url += "/" + uids(data)[0]
    pieces = (body[i : i + 70_001] for i in range(0, len(body), 70_001))
    response = server("POST", url, data=pieces if "chunked" in how else body, headers=headers)
    assert response.status_code == 200
    assert server.files()[name_of(data)] == data


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json",
        "application/dicom+json",
        'multipart/related; type="image/jpeg"; boundary=a1b2c3',
        "multipart/form-data; boundary=a1b2c3",
        "nonsense",
    ],
)
def test_a_body_of_another_type_is_turned_away_and_the_connection_goes_on(
    server: Running, content_type: str
) -> None:
    before = server.files()
    body = multipart_body(new_series(3, size=200_000))
    response = server(
        "POST", f"{STANDARD}/studies", data=body, headers={"Content-Type": content_type}
    )
    assert (response.status_code, "application/dicom" in response.text) == (415, True)
    assert server.files() == before
    assert server.get("studies?limit=1").status_code in (200, 204)


def sent_raw(server: Running, head: str, body: bytes) -> tuple[int, str]:
    """Send a request whose body ends before it should; the status, and what is said."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        text = f"POST /dicomweb/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n"
        connection.sendall(text.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read().decode()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize("cut", [1, 3, 12, 150, 600, 2000])
def test_of_a_multipart_body_without_its_end_nothing_is_kept(server: Running, cut: int) -> None:
    before = server.files()
    body = multipart_body(new_series(4, size=1024))[: -4 - cut]
    response = server("POST", f"{STANDARD}/studies", data=body, headers=multipart())
    assert (response.status_code, "break" in response.text) == (400, True)
    assert server.files() == before
    assert server.partial_files() == []


@pytest.mark.parametrize("is_multipart", [True, False], ids=["multipart", "single"])
def test_of_a_body_that_is_shorter_than_announced_nothing_is_kept(
    server: Running, is_multipart: bool
) -> None:
    before = server.files()
    files = new_series(2) if is_multipart else new_series()
    body, headers = (multipart_body(files), multipart()) if is_multipart else (files[0], ONE_DICOM)
    head = f"Content-Type: {headers['Content-Type']}\r\nContent-Length: {len(body) + 10}"
    status, answer = sent_raw(server, head, body)
    assert status == 400
    assert "short" in answer
    assert server.files() == before
    assert server.partial_files() == []


@pytest.mark.parametrize("body", [b"", b"--a1b2c3--\r\n", b"no boundary at all"])
def test_a_body_without_an_instance_is_a_bad_request(server: Running, body: bytes) -> None:
    response = server("POST", f"{STANDARD}/studies", data=body, headers=multipart())
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/plain")


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no dicom": (lambda data: b"this is no DICOM file", "not a DICOM file"),
    "empty": (lambda data: b"", ""),
    "cut": (lambda data: data[:-100], ""),
    "no meta": (lambda data: sample("no_meta.dcm"), ""),
    "no instance UID": (lambda data: changed(data, SOPInstanceUID=None), "SOP"),
    "no study UID": (lambda data: changed(data, StudyInstanceUID=None), "StudyInstanceUID"),
    "no series UID": (lambda data: changed(data, SeriesInstanceUID=""), "SeriesInstanceUID"),
}


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_instance_is_refused_with_its_reason_and_the_others_are_kept(
    server: Running, dialect: str, kind: str
) -> None:
    breaks, expected = BROKEN[kind]
    good, data = new_series(2)
    alone = post(server, [breaks(data)], f"{dialect}/studies")
    mixed = post(server, [breaks(data), good], f"{dialect}/studies", "application/dicom+json")
    assert (alone.status_code, mixed.status_code) == (409, 202 if dialect == STANDARD else 409)
    assert stored(alone) == []
    assert stored(mixed) == [uids(good)[2]]
    for response in (alone, mixed):
        item = value(module_of(response), OTHERS)
        assert reason(item) == CANNOT_UNDERSTAND
        assert expected in words(item)
        assert words(item)
    assert server.files()[name_of(good)] == good
    assert name_of(good).replace(uids(good)[2], uids(data)[2]) not in server.files()
    assert server.partial_files() == []


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_an_instance_of_another_study_than_that_of_the_request_is_refused(
    server: Running, dialect: str
) -> None:
    (own,), (other,) = new_series(), new_series()
    path = f"{dialect}/studies/{uids(own)[0]}"
    response = post(server, [own, other], path)
    assert response.status_code == (202 if dialect == STANDARD else 409)
    assert stored(response) == [uids(own)[2]]
    item = value(module_of(response), FAILED)
    assert value(item, "00081155") == uids(other)[2]
    assert (reason(item), "Study Instance UID" in words(item)) == (OTHER_STUDY, True)
    assert post(server, [other], path).status_code == 409
    assert name_of(other) not in server.files()


@pytest.mark.parametrize("dialect", [STANDARD, GOOGLE])
def test_the_same_bytes_are_there_already_and_other_bytes_are_refused(
    server: Running, dialect: str
) -> None:
    (data,) = new_series()
    (new,) = new_series()
    other = changed(data, PatientName="Other^Name")
    for _ in range(2):
        response = post(server, [data, data], f"{dialect}/studies")
        assert (response.status_code, len(stored(response))) == (200, 2)
    for accept in ("application/dicom+json", "application/dicom+xml"):
        response = post(server, [other, new], f"{dialect}/studies", accept)
        assert response.status_code == (202 if dialect == STANDARD else 409)
        assert stored(response) == [uids(new)[2]]
        item = value(module_of(response), FAILED)
        assert value(item, "00081155") == uids(data)[2]
        assert value(item, "00081150") == str(read(data).SOPClassUID)
        assert reason(item) == (DUPLICATE if dialect == STANDARD else GOOGLE_FAILURE)
        assert "already exists" in words(item)
        detail = "00091097" if "json" in accept else "00090097"
        assert (detail in item) == (dialect == GOOGLE)
    assert server.files()[name_of(data)] == data
    assert server.partial_files() == []


def test_of_instances_that_come_at_once_each_is_kept_once(server: Running) -> None:
    same, (first, _) = new_series(1), new_series(2)
    rivals = [changed(first, PatientName=f"Rival^{n}") for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        equal = list(pool.map(lambda _: post(server, same).status_code, range(6)))
        statuses = list(pool.map(lambda data: post(server, [data]).status_code, rivals))
    assert equal == [200] * 6
    assert sorted(statuses) == [200] + [409] * 5
    kept = server.files()
    assert kept[name_of(same[0])] == same[0]
    assert kept[name_of(first)] == rivals[statuses.index(200)]
    below = path_of(first, 1).removeprefix("studies/") + "/"
    assert len([name for name in kept if name.startswith(below)]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [499, 501, 1100])
def test_a_request_may_bring_more_instances_than_are_named_at_a_time(
    server: Running, count: int
) -> None:
    files = new_series(count)
    response = post(server, [*files, b"broken"])
    assert response.status_code == 202
    assert stored(response) == [uids(data)[2] for data in files]
    kept = server.files()
    assert all(kept[name_of(data)] == data for data in files)


@pytest.mark.parametrize(
    ("name", "status"),
    [("STANDARD", 200), ("NEARLINE", 200), ("COLDLINE", 200), ("ARCHIVE", 200), ("GLACIER", 400)],
)
def test_the_storage_class_has_to_be_one_of_googles(
    server: Running, name: str, status: int
) -> None:
    (data,) = new_series()
    headers = {**ONE_DICOM, "Storage-Class": name}
    response = server("POST", f"{GOOGLE}/studies", data=data, headers=headers)
    assert response.status_code == status
    if status == 400:
        error = json.loads(response.content)["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        assert "GLACIER" in error["message"]
        assert name_of(data) not in server.files()
        assert server("POST", f"{STANDARD}/studies", data=data, headers=headers).status_code == 200


@pytest.mark.parametrize("dialect", [STANDARD, f"v1beta1/{STORE}"])
def test_the_projects_own_client_stores_and_says_what_became_of_each(
    server: Running, dcmweb: Dcmweb, tmp_path: Path, dialect: str
) -> None:
    files = new_series(5)
    write_files(tmp_path / "in", files)
    url = f"{server.root}/{dialect}"
    result = dcmweb("-m", url, "store", "in")
    assert (result.code, "5" in result.last) == (0, True)
    assert set(files) <= set(server.files().values())
    write_files(tmp_path / "in", [changed(files[0], PatientName="Other"), *files[1:]])
    result = dcmweb(url, "store", "in")
    assert (result.code, "already there 1," in result.last) == (0, True)
    assert set(files) <= set(server.files().values())
