"""Pages where forms, numbers and values are not as they should be; without a network."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.http import parse_options_header
from werkzeug.test import Client, create_environ
from werkzeug.wrappers import Request

from dcmweb.archive.app import Archive
from dcmweb.archive.pages import metadata, studies
from dcmweb.archive.pages.deletion import DeletionForm
from dcmweb.archive.pages.downloads import zip_file
from dcmweb.archive.pages.html import command_line, note_picture, page, static
from dcmweb.archive.pages.paging import whole
from dcmweb.archive.pages.series import Stack, _frames
from dcmweb.archive.storage.folder import Storage
from dcmweb.dicom.resources import Resource
from tests.conftest import make_instance, make_series, write_files
from tests.functional.archives import changed

BROWSER = {"Accept": "text/html"}
SERIES = "/browse/studies/1.2.3/series/1.2.3.4"
ATTACK = '"><script>alert(1)</script>'


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    one, two = make_series(2)
    write_files(tmp_path / "folder", [changed(one, NumberOfFrames="1000000000"), two])
    storage = Storage(str(tmp_path / "folder"))
    yield storage
    storage.close()


@pytest.fixture
def client(storage: Storage) -> Client:
    return Client(Archive(storage))


def form(token: str | None, host: str = "localhost:8080", **headers: str) -> Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = {} if token is None else {"token": token}
    environ = create_environ("/", method="POST", data=data, headers=given)
    environ["HTTP_HOST"] = host
    return Request(environ)


OWN = {"Origin": "http://localhost:8080", "Sec_Fetch_Site": "same-origin"}


@pytest.mark.parametrize(
    ("headers", "token", "is_allowed", "status"),
    [
        (OWN, "right", True, 200),
        ({"Origin": OWN["Origin"]}, "right", True, 200),  # of a browser without Sec-Fetch-Site
        (OWN, "right", False, 403),
        (OWN, "wrong", True, 403),
        (OWN, "", True, 403),
        (OWN, None, True, 403),
        (OWN, "é", True, 403),
        ({}, "right", True, 403),
        ({**OWN, "Origin": "null"}, "right", True, 403),
        ({**OWN, "Origin": "http://localhost:81"}, "right", True, 403),
        ({**OWN, "Sec_Fetch_Site": "same-site"}, "right", True, 403),
        ({**OWN, "Sec_Fetch_Site": "none"}, "right", True, 403),
        (OWN, "right" + "x" * 20_000, True, 413),
    ],
)
def test_a_form_that_deletes_is_one_of_the_archive(
    headers: dict[str, str], token: str | None, is_allowed: bool, status: int
) -> None:
    pages = DeletionForm(is_allowed=is_allowed)
    given = token.replace("right", pages.token) if token else token
    try:
        pages.check(form(given, **headers))
        code = 200
    except HTTPException as error:
        code = error.code or 0
    assert code == status


def test_each_start_has_a_token_of_its_own() -> None:
    assert DeletionForm(is_allowed=True).token != DeletionForm(is_allowed=True).token


@pytest.mark.parametrize("text", ["0", "-1", "1.0", "x", "²", "1" * 10, "1_0", " 1", "٣"])
def test_a_number_of_a_page_counts_from_one(text: str) -> None:
    with pytest.raises(BadRequest):
        whole({"page": text}, "page")
    assert whole({"page": ""}, "page", 7) == 7


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("3", 3),
        (None, 1),
        ("", 1),
        ("x", 1),
        ("-5", 1),
        ("0", 1),
        ("9" * 5000, 1),
        ("9" * 12, 10**6),
    ],
)
def test_frames_are_counted_up_to_a_limit(text: str | None, frames: int) -> None:
    assert _frames(text) == frames


@pytest.mark.parametrize("number", [0, 3 * 10**6, -1])
def test_pictures_that_are_not_there_are_not_found(storage: Storage, number: int) -> None:
    with pytest.raises(NotFound):
        Stack(storage, Resource("1.2.3", "1.2.3.4")).at(number)


def test_a_picture_whose_instance_has_gone_is_not_found(storage: Storage) -> None:
    stack = Stack(storage, Resource("1.2.3", "1.2.3.4"))
    assert len(stack) == 10**6 + 1
    (Path(storage.folder) / "1.dcm").unlink()
    with pytest.raises(NotFound):
        stack.at(1)
    storage.delete(Resource("1.2.3"))
    with pytest.raises(NotFound):
        stack.at(10**6 + 1)


@pytest.mark.parametrize("name", ["../templates/base.html", "/etc/passwd", "x", "page.css/..", ""])
def test_only_what_pages_are_made_of_is_served(name: str) -> None:
    with pytest.raises(NotFound):
        static(name, Request(create_environ("/")))


def test_what_is_written_into_a_picture_is_text() -> None:
    reason = f"{ATTACK} & \x1b[31m \u202e " + "long " * 200 + "x" * 200
    text = note_picture(reason).get_data(as_text=True)
    assert "<script" not in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert len(text) < 1500
    assert max(map(len, re.findall(">([^<]+)</text>", text.replace("&lt;", "<")))) <= 38
    assert note_picture("\ud800").get_data()


def test_a_command_is_one_for_any_shell() -> None:
    assert command_line(["http://a", "x; rm -rf '"], "$(id)") == (
        "dcmweb --user '$(id)' http://a 'x; rm -rf '\"'\"''"
    )


PATHS = ["/", "/browse/studies/1.2.3", SERIES, f"{SERIES}/instances/1.2.3.4.2", "/browse/nothing",
         "/browse/static/page.css", f"{SERIES}/pictures/1", f"{SERIES}/pictures/2/at",
         "/browse/studies/1.2.3/files.zip", "/browse/studies/9", "/?page=x"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_all_parts_of_pages_keep_foreign_things_out(client: Client, path: str) -> None:
    headers = client.get(path, headers=BROWSER).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    for part in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    if path.endswith("/at"):
        return
    may_be_kept = "static" in path or "pictures" in path
    assert headers.get("Cache-Control") in (
        ("private, no-cache", None) if may_be_kept else ("no-store",)
    )


@pytest.mark.parametrize("below", ["", "/files.zip", "/series/9", "/series/9/instances/9"])
def test_what_is_not_there_has_no_page(client: Client, below: str) -> None:
    assert client.get(f"/browse/studies/9{below}", headers=BROWSER).status_code == 404


def test_pages_delete_only_if_they_may_and_by_their_own_form(storage: Storage) -> None:
    path = f"{SERIES}/delete"
    for may, status in ((False, 403), (True, 200)):
        client = Client(Archive(storage, pages_can_delete=may))
        asked = client.get(path)
        assert asked.status_code == status
        assert client.post(path, headers={"Origin": "http://localhost"}).status_code == 403
    assert asked.headers["Referrer-Policy"] == "same-origin"  # or there is no Origin with the form
    assert storage.index.find(Resource("1.2.3"))


def test_a_file_that_has_gone_is_said_to_be_without_its_path(
    client: Client, storage: Storage
) -> None:
    (Path(storage.folder) / "2.dcm").unlink()
    for path in (f"{SERIES}/instances/1.2.3.4.2", f"{SERIES}?image=1000001"):
        answer = client.get(path, headers=BROWSER)
        assert answer.status_code == 200
        assert storage.folder not in answer.text
    assert "not in the folder any more" in client.get(f"{SERIES}/instances/1.2.3.4.2").text


def test_values_of_searches_are_text(client: Client) -> None:
    for name in ("name", "id", "description", "modality"):
        text = client.get("/", query_string={name: ATTACK}, headers=BROWSER).text
        assert "<script>alert" not in text
        assert "&#34;&gt;&lt;script&gt;" in text
    long = client.get("/", query_string={"name": "x" * 2000}, headers=BROWSER)
    assert long.status_code == 400
    for date in ("1.1.24", "2024-1-1", "20240101", "2024-01-01x", ATTACK):
        answer = client.get("/", query_string={"since": date}, headers=BROWSER)
        assert (answer.status_code, "<script>alert" in answer.text) == (400, False)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom knows how long they may be
def test_of_spellings_and_modalities_only_some_are_shown(tmp_path: Path) -> None:
    """There may be more than a command line or a form can hold."""
    wild = ["CT", "X" * 65, "A\nB", ""]
    files = [
        changed(
            make_instance("1.7", "1.7.1", f"1.7.1.{n}"),
            PatientID="".join(c.upper() if n >> i & 1 else c for i, c in enumerate("abcdef")),
            Modality=wild[n % 4],
        )
        for n in range(studies._MOST_SPELLINGS + 1)
    ]
    write_files(tmp_path / "folder", files)
    storage = Storage(str(tmp_path / "folder"))
    search = studies.StudySearch.parse({"id": "abc"})
    assert search.keys(storage)
    assert studies.StudySearch.parse({"id": "abcdef"}).keys(storage) is None
    assert studies.Modalities(storage).list() == ["CT"]
    storage.close()


def test_a_value_of_several_lines_is_found_without_much_ado(tmp_path: Path) -> None:
    """Were the line end not any character, a search with many wildcards would take for ever."""
    data = changed(make_instance(), PatientID="Ab\nC\x07[31m")
    write_files(tmp_path / "folder", [data])
    storage = Storage(str(tmp_path / "folder"))
    search = studies.StudySearch.parse({"id": "a*c*m"})
    assert search.keys(storage) == ["PatientID=*Ab\nC\x07[31m*"]
    text = Client(Archive(storage)).get("/?id=a*c*m", headers=BROWSER).text
    assert "\x07" not in text
    assert "PatientID=*Ab" in text
    storage.close()


def test_metadata_has_limits_of_rows_and_characters(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = storage.index.find(Resource("1.2.3", "1.2.3.4", "1.2.3.4.2"))
    assert entry
    item: dict[str, Any] = {}
    for _ in range(metadata._DEEPEST + 10):
        item = {"00081140": {"vr": "SQ", "Value": [item]}}
    long = {"00104000": {"vr": "LT", "Value": ["\x07\u202e" + "x" * 10**6]}}
    monkeypatch.setattr(metadata, "file_metadata", lambda *_, **__: {**item, **long})
    rows, has_more = metadata.metadata_rows(storage, entry)
    assert (max(row.depth for row in rows), has_more) == (metadata._DEEPEST, False)
    assert max(len(row.text) for row in rows) < metadata._LONGEST + 100
    assert not {"\x07", "\u202e"} & set("".join(row.text for row in rows))
    monkeypatch.setattr(metadata, "MOST_ROWS", 5)
    rows, has_more = metadata.metadata_rows(storage, entry)
    assert (len(rows), has_more) == (5, True)


def test_a_zip_has_what_is_still_there(client: Client, storage: Storage) -> None:
    (Path(storage.folder) / "1.dcm").unlink()
    answer = client.get("/browse/studies/1.2.3/files.zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.namelist() == ["1.2.3/1.2.3.4/1.2.3.4.2.dcm"]
    entries = list(storage.index.entries(Resource()))  # of which one goes only now
    data = zip_file(storage, Resource("1.2.3"), entries).get_data()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["1.2.3/1.2.3.4/1.2.3.4.2.dcm"]


def test_the_name_of_a_zip_is_one_of_a_file(storage: Storage) -> None:
    for uid in ("../x", 'a"b', "a\\b", "a\nb", "."):
        headers = zip_file(storage, Resource(uid), []).headers
        name = parse_options_header(headers["Content-Disposition"])[1]["filename"]
        assert not set('/\\"\n') & set(name)
        assert headers["Cache-Control"] == "no-store"


def test_a_page_can_hold_any_text() -> None:
    assert page("error.html", 500, reason="x", name="\ud800").data


@pytest.mark.parametrize("query", ["side=1", "side=241", "side=10000", "side=-1"])
def test_pictures_have_few_sizes(client: Client, query: str) -> None:
    assert client.get(f"{SERIES}/pictures/1?{query}").status_code == 400


def test_what_is_not_found_is_quoted_in_part(client: Client) -> None:
    answer = client.get(f"/browse/static/{'x' * 5000}", headers=BROWSER)
    assert answer.status_code == 404
    assert len(answer.text) < 3000
