"""Store requests that are odd, cut or too much; without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from dcmweb.archive import store
from dcmweb.archive.app import Archive
from dcmweb.archive.storage.folder import Storage
from tests.conftest import make_instance, make_series
from tests.functional.archive import multipart_body
from tests.functional.archives import GOOGLE_BETA, Part, body_of, multipart
from tests.unit.archive.test_app import Body
from tests.unit.archive.test_folder import content

JSON = "application/dicom+json"
OTHER_STUDY = "43265"  # A901
CANNOT_UNDERSTAND = "49152"  # C000


def uid(value: Any) -> dict[str, Any]:
    return {"vr": "UI", "Value": [value]}


def metadata(number: int = 1, /, **more: Any) -> dict[str, Any]:
    return {
        "00080016": uid("1.2.840.10008.5.1.4.1.1.7"),
        "00080018": uid(f"9.1.1.{number}"),
        "0020000D": uid("9.1"),
        "0020000E": uid("9.1.1"),
        **more,
    }


def described(*datasets: Any) -> Part:
    return {"Content-Type": JSON}, json.dumps(datasets).encode()


class Served:
    """An archive, and what is in its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.storage = Storage(str(folder))
        self._client = Client(Archive(self.storage))

    def post(self, body: bytes, path: str = "dicomweb/studies", **how: Any) -> TestResponse:
        """Store a body; whatever comes of it, no partial file stays."""
        how.setdefault("headers", multipart())
        answer = self._client.post(f"/{path}", data=body, **how)
        assert not list(self.folder.rglob("*.part"))
        return answer

    def compose(self, *parts: Part) -> TestResponse:
        return self.post(body_of(parts), headers=multipart(JSON))

    def files(self) -> list[bytes]:
        return list(content(self.folder).values())


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "folder")
    yield served
    served.storage.close()


def test_an_encoded_body_is_not_stored(archive: Served) -> None:
    answer = archive.post(
        multipart_body([make_instance()]), headers={**multipart(), "Content-Encoding": "gzip"}
    )
    assert answer.status_code == 415
    assert archive.files() == []


@pytest.mark.parametrize("is_multipart", [True, False])
def test_of_a_body_that_was_cut_nothing_is_kept(archive: Served, is_multipart: bool) -> None:
    """What came is whole: only the server knows that more was announced."""
    whole = make_instance()
    body = Body(multipart_body([whole]) if is_multipart else whole)
    body.remaining = 7
    headers = multipart() if is_multipart else {"Content-Type": "application/dicom"}
    environ = {"wsgi.input": body, "wsgi.input_terminated": False}
    answer = archive.post(b"", headers=headers, environ_overrides=environ)
    assert (answer.status_code, "shorter" in answer.text) == (400, True)
    assert archive.files() == []


def test_malformed_chunks_are_a_bad_request(archive: Served) -> None:
    body = Body(b"x")
    body.error = ValueError
    environ = {"wsgi.input": body, "wsgi.input_terminated": True}
    answer = archive.post(b"", environ_overrides=environ)
    assert (answer.status_code, "malformed" in answer.text) == (400, True)


def test_each_instance_that_cannot_be_stored_has_its_reason(archive: Served) -> None:
    good, other = make_instance("9.1", "9.1.1", "9.1.1.1"), make_instance()
    parts: list[Part] = [
        ({"Content-Type": "application/dicom"}, good),
        ({"Content-Type": "application/dicom"}, other),
        ({"Content-Type": "text/plain"}, good),
        ({}, b"no image"),
    ]
    answer = archive.post(body_of(parts), "dicomweb/studies/9.1")
    assert answer.status_code == 202
    assert (answer.text.count(OTHER_STUDY), answer.text.count(CANNOT_UNDERSTAND)) == (1, 2)
    assert archive.files() == [good]


def test_many_instances_are_kept_some_at_a_time(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files have no final name until then, and all of them are open for that long."""
    monkeypatch.setattr(store, "_TOGETHER", 2)
    together: list[int] = []
    keep = archive.storage.keep

    def keeping(received: list[Any], **how: Any) -> Any:
        together.append(len(received))
        return keep(received, **how)

    monkeypatch.setattr(archive.storage, "keep", keeping)
    assert archive.post(multipart_body(make_series(5))).status_code == 200
    assert together == [2, 2, 1]
    assert len(archive.files()) == 5


def test_an_update_takes_files_only(archive: Served) -> None:
    answer = archive._client.put(
        f"/{GOOGLE_BETA}/studies", data=body_of([described(metadata())]), headers=multipart(JSON)
    )
    assert answer.status_code == 400
    assert archive.files() == []


def test_metadata_has_a_limit_for_the_whole_request(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = described(metadata(1))
    monkeypatch.setattr(store, "_LONGEST_METADATA", 3 * len(one[1]) // 2)
    assert archive.compose(one).status_code == 200
    assert archive.compose(one, described(metadata(2))).status_code == 413
    assert len(archive.files()) == 1


def test_a_request_has_a_limit_of_instances_and_parts(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_INSTANCES", 3)
    rows = [metadata(number) for number in range(4)]
    assert archive.compose(described(*rows[:3])).status_code == 200
    assert archive.compose(described(*rows)).status_code == 413
    assert archive.post(multipart_body(make_series(4))).status_code == 413


@pytest.mark.parametrize("levels", [70, 5000])
def test_metadata_is_not_nested_without_end(archive: Served, levels: int) -> None:
    deep = '{"00081140":{"vr":"SQ","Value":[' * levels + "{}" + "]}}" * levels
    answer = archive.compose(({"Content-Type": JSON}, f"[{deep}]".encode()))
    assert answer.status_code == 400


def test_metadata_has_a_limit_of_values(archive: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_VALUES", 1000)
    body = b"[" + b"{}," * 2000 + b"{}]"
    assert archive.compose(({"Content-Type": JSON}, body)).status_code == 400


def test_metadata_is_text(archive: Served) -> None:
    body = json.dumps([metadata(**{"00104000": {"vr": "LT", "Value": ["\ud800"]}})]).encode()
    answer = archive.compose(({"Content-Type": JSON}, body))
    assert (answer.status_code, "surrogate" in answer.text) == (400, True)


BULK = {"00420011": {"vr": "OB", "BulkDataURI": "a"}}


@pytest.mark.parametrize(
    ("location", "status"),
    [({"Content-Location": "a"}, 200), ({"Content-Location": "b"}, 400), ({}, 400)],
)
def test_bulk_data_belongs_to_metadata(
    archive: Served, location: dict[str, str], status: int
) -> None:
    """JSON may be bulk data as well, where it has a location."""
    for kind in ("application/pdf", "application/json"):
        part = ({"Content-Type": kind, **location}, b"[]")
        if not location and kind == "application/json":
            continue  # it is metadata then, of no instance
        assert archive.compose(described(metadata(**BULK)), part).status_code == status
    assert len(archive.files()) == (status == 200)


@pytest.mark.parametrize(
    "wrong",
    [
        metadata(**{"00420011": {"vr": "OB", "BulkDataURI": ["a"]}}),
        metadata(**{"0020000D": uid("../x")}),
        metadata(**{"00080018": uid("")}),
        {},
    ],
)
def test_one_wrong_instance_leaves_the_others(archive: Served, wrong: dict[str, Any]) -> None:
    answer = archive.compose(described(wrong, metadata(2)))
    assert (answer.status_code, answer.text.count(CANNOT_UNDERSTAND)) == (202, 1)
    assert len(archive.files()) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/dicom"),
        (b"--a1b2c3--\r\n", multipart()["Content-Type"]),
        (b"", multipart()["Content-Type"]),
        (b"x", "multipart/related"),
    ],
)
def test_a_body_without_an_instance_is_refused(
    archive: Served, body: bytes, content_type: str
) -> None:
    assert archive.post(body, headers={"Content-Type": content_type}).status_code in (400, 409)
    assert archive.files() == []


def test_metadata_of_nothing_is_refused(archive: Served) -> None:
    assert archive.compose(({"Content-Type": JSON}, b"[]")).status_code == 400


def test_a_broken_file_gives_up_its_place_at_once(
    archive: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of many of them would fill the disk otherwise."""
    left: list[int] = []
    new_file = archive.storage.new_file

    def counted() -> Any:
        left.append(len(list(archive.folder.rglob("*.part"))))
        return new_file()

    monkeypatch.setattr(archive.storage, "new_file", counted)
    data = make_instance()
    archive.post(multipart_body([b"x", data[:-9], data[:-9]]), "dicomweb/studies/9")
    archive.post(multipart_body([data, data]), "dicomweb/studies/9")
    assert left == [0] * 5
    wrong = metadata(**{"0020000D": uid("../x")})
    archive.compose(described(wrong, wrong))
    assert left == [0] * 7
