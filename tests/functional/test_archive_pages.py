"""The pages of the archive, as a browser asks for them, and who may not."""

from __future__ import annotations

import html
import io
import re
import shlex
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from PIL import Image

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.archives import Running, changed, path_of, post, read, running, uids
from tests.functional.hostile_folder import ATTACKS, write_hostile_folder

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def look(server: Running, path: str = "", **how: object) -> requests.Response:
    return server("GET", path.lstrip("/"), BROWSER, **how)


def page_of(data: bytes, levels: int = 3) -> str:
    return f"browse/{path_of(data, levels)}"


class _Links(HTMLParser):
    """Finds the addresses and the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        self.links += [str(found[name]) for name in ("href", "src", "action") if found.get(name)]


def parsed(text: str) -> _Links:
    links = _Links()
    links.feed(text)
    return links


def commands_of(text: str) -> list[list[str]]:
    """Read the commands on a page as a shell does, without `dcmweb`."""
    found = re.findall("<code>(dcmweb [^<]*retrieve[^<]*|dcmweb [^<]*search[^<]*)</code>", text)
    return [shlex.split(html.unescape(command))[1:] for command in found]


def patients(text: str) -> list[str]:
    """Read the names in the table of studies."""
    found = re.findall(r'<th scope="row"><a [^>]*><bdi>([^<]*)', text)
    return [html.unescape(name) for name in found]


STUDIES = {
    "Doe^Jane": {"PatientID": "A-1", "StudyDate": "20240229", "StudyDescription": "CT HEAD"},
    "Doe^John": {"PatientID": "a-12", "StudyDate": "20240301", "StudyDescription": "Head w/o"},
    "Müller^Jörg": {"PatientID": "B 7", "StudyDate": "20230101", "StudyDescription": "ankle"},
    "Yamada^Tarou=山田^太郎": {"PatientID": "4711", "StudyDate": "", "StudyDescription": ""},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies to search for, one of them of two modalities."""
    folder = tmp_path_factory.mktemp("pages") / "in"
    files = [
        changed(
            make_instance(f"1.3.{number}", f"1.3.{number}.1", f"1.3.{number}.1.1"),
            SpecificCharacterSet="ISO_IR 192",
            PatientName=name,
            **values,
        )
        for number, (name, values) in enumerate(STUDIES.items(), 1)
    ]
    files.append(
        changed(files[0], SeriesInstanceUID="1.3.1.2", SOPInstanceUID="1.3.1.2.1", Modality="MR")
    )
    write_files(folder, files)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(folder) as archive:
        yield archive


# What clients of DICOMweb get is what they got.


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "application/dicom+json, */*"])
def test_the_root_answers_programs_as_before(server: Running, accept: str | None) -> None:
    answer = server("GET", "", accept)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == f"A dcmweb archive. Its base URL is {server.url}\n"


def test_the_root_answers_browsers_with_a_page(server: Running) -> None:
    answer = look(server)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert patients(answer.text) == [
        "Doe, John",
        "Doe, Jane",
        "Müller, Jörg",
        "Yamada, Tarou (山田 太郎)",
    ]


def test_other_paths_answer_browsers_as_before(server: Running) -> None:
    assert look(server, "studies").headers["Content-Type"] == "text/plain"
    assert look(server, "dicomweb/studies").headers["Content-Type"] == "application/dicom+json"
    assert look(server, "dicomweb/studies/9.9").headers["Content-Type"] == "text/plain"


def test_every_page_keeps_foreign_things_out(server: Running, folder: Path) -> None:
    instance = (folder / "1.dcm").read_bytes()
    paths = ["", page_of(instance, 1), page_of(instance, 2), page_of(instance), "browse/studies/9"]
    paths += [f"{page_of(instance)}/pictures/1", "browse/static/page.css", "browse/static/none"]
    paths += [f"{page_of(instance, 1)}/files.zip"]
    for path in paths:
        answer = look(server, path, headers={"Origin": "http://localhost:3000"})
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
        assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(policy)
        assert "unsafe" not in str(policy)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"].startswith(("no-store", "private"))
        assert "Access-Control-Allow-Origin" not in answer.headers
        for tag, found in parsed(answer.text if "html" in str(answer.headers) else "").elements:
            assert tag != "style"
            assert not [name for name in found if name.startswith("on") or name == "style"]
            assert tag != "script" or found["src"]


def test_a_page_of_nothing_says_so_as_a_page(server: Running) -> None:
    for path, status in [("browse/studies/9.9", 404), ("?page=0", 400), ("?since=1.1.24", 400)]:
        answer = look(server, path)
        assert answer.status_code == status
        assert "<h1>" in answer.text
    assert server("POST", "browse/studies/1.3.1", BROWSER).status_code == 405


# Searches.


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=doe", ["Doe, John", "Doe, Jane"]),
        ("name=ja+doe", ["Doe, Jane"]),
        ("name=muller", ["Müller, Jörg"]),
        ("name=山田", ["Yamada, Tarou (山田 太郎)"]),
        ("id=A-1", ["Doe, John", "Doe, Jane"]),
        ("id=b+7", ["Müller, Jörg"]),
        ("since=2024-02-29", ["Doe, John", "Doe, Jane"]),
        ("until=2024-02-29", ["Doe, Jane", "Müller, Jörg"]),
        ("since=2024-02-01&until=2024-02-29", ["Doe, Jane"]),
        ("modality=MR", ["Doe, Jane"]),
        ("modality=C*", ["Doe, John", "Doe, Jane", "Müller, Jörg", "Yamada, Tarou (山田 太郎)"]),
        ("description=head", ["Doe, John", "Doe, Jane"]),
        ("description=h?ad", ["Doe, John", "Doe, Jane"]),
        ("description=head&name=john&id=A", ["Doe, John"]),
        ("description=%5BHEAD", []),
        ("name=nobody", []),
        ("id=%00", []),
    ],
)
def test_a_search_finds_what_its_command_finds(
    dcmweb: Dcmweb, server: Running, query: str, found: list[str]
) -> None:
    text = look(server, f"?{query}").text
    assert patients(text) == found
    (command,) = commands_of(text)
    result = dcmweb(*command[:-2], "--format", "csv", "--fields", "PatientName")
    assert result.code == 0, result.err
    assert sorted(result.out.splitlines()[1:]) == sorted(
        f'"{name}"' if "," in name else name for name in found
    )


def test_a_long_list_comes_page_by_page(tmp_path: Path) -> None:
    files = [make_instance(f"1.4.{n}", f"1.4.{n}.1", f"1.4.{n}.1.1") for n in range(120)]
    write_files(tmp_path / "in", files)
    seen: list[str] = []
    with running(tmp_path / "in") as server:
        path = "?name=test"
        while path:
            text = look(server, path).text
            seen += re.findall(r"/browse/studies/([0-9.]+)", text)
            assert "120 studies found" in text
            following = re.search(r'rel="next" href="([^"]+)"', text)
            path = html.unescape(following[1]) if following else ""
    assert sorted(seen) == sorted(f"1.4.{n}" for n in range(120))
    assert len(seen) == 120


# Studies, series, instances.


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = make_series(5)
    numbered = [changed(data, InstanceNumber=9 - n) for n, data in enumerate(files)]
    numbered[1] = changed(numbered[1], NumberOfFrames=2, PixelData=b"\1\2" * 512)
    write_files(tmp_path / "in", numbered)
    with running(tmp_path / "in") as server:
        series = page_of(files[0], 2)
        ends = [
            look(server, f"{series}/pictures/{n}/at").url.rpartition(".")[2] for n in range(1, 7)
        ]
        assert look(server, f"{series}/pictures/7/at").status_code == 404
        assert 'data-count="6" data-number="3"' in look(server, series).text
        chosen = look(server, f"{series}?image=2&center=10&width=20").text
    assert ends == ["5", "4", "3", "2", "2", "1"]
    assert "/pictures/2?center=10.0&amp;width=20.0" in chosen


def test_a_window_changes_a_picture_and_a_cached_one_is_not_made_again(
    server: Running, folder: Path
) -> None:
    picture = f"{page_of((folder / '1.dcm').read_bytes())}/pictures/1"
    first = look(server, picture)
    assert first.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(first.content)).size == (16, 16)
    other = look(server, f"{picture}?center=-5000&width=1")
    assert other.content != first.content
    again = look(server, picture, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "Content-Type" not in again.headers
    stale = look(server, picture, headers={"If-None-Match": other.headers["ETag"]})
    assert (stale.status_code, stale.content) == (200, first.content)
    for wrong in ("center=x&width=1", "center=1&width=0", "side=9999", "side=x"):
        assert look(server, f"{picture}?{wrong}").status_code == 400


def test_a_thumbnail_fits_its_size(server: Running, folder: Path) -> None:
    series = page_of((folder / "1.dcm").read_bytes(), 2)
    assert (
        f"/{series}/pictures/middle?side=240" in look(server, series.rpartition("/series")[0]).text
    )
    small = look(server, f"{series}/pictures/middle?side=240")
    assert Image.open(io.BytesIO(small.content)).size == (240, 240)


def test_a_zip_has_the_files_as_they_are(server: Running, folder: Path) -> None:
    instances = [(folder / f"{n}.dcm").read_bytes() for n in (1, 5)]
    answer = look(server, f"{page_of(instances[0], 1)}/files.zip")
    assert answer.headers["Content-Disposition"] == "attachment; filename=1.3.1.zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"/".join(uids(data)) + ".dcm": data for data in instances}
    one = look(server, f"{page_of(instances[1], 2)}/files.zip")
    assert zipfile.ZipFile(io.BytesIO(one.content)).namelist() == ["1.3.1/1.3.1.2/1.3.1.2.1.dcm"]


def test_the_links_of_an_instance_give_its_file_and_metadata(server: Running, folder: Path) -> None:
    instance = (folder / "2.dcm").read_bytes()
    links = parsed(look(server, page_of(instance)).text).links
    file, json = (link for link in links if link.startswith("/dicomweb/") and "accept" in link)
    assert look(server, file).content == instance
    assert look(server, json).json()[0]["00100020"]["Value"] == ["a-12"]
    (bulk,) = (link for link in links if "/bulkdata/" in link)
    assert look(server, bulk).content == read(instance).PixelData


def test_the_commands_of_pages_work(
    dcmweb: Dcmweb, server: Running, folder: Path, tmp_path: Path
) -> None:
    instance = (folder / "1.dcm").read_bytes()
    for levels, count in ((1, 2), (2, 1), (3, 1)):
        for command in commands_of(look(server, page_of(instance, levels)).text):
            result = dcmweb(*command, cwd=tmp_path)
            assert result.code == 0, result.err
        assert len(list(tmp_path.rglob("data/**/*.dcm"))) == count
        for path in tmp_path.rglob("data/**/*.dcm"):
            path.unlink()


# Who may look.


def test_pages_need_the_credentials_of_the_archive(folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [(folder / "1.dcm").read_bytes()])
    instance = (folder / "1.dcm").read_bytes()
    with running(tmp_path / "in", "--user", "joe:secret", "--page-can-delete") as server:
        for path in ("", page_of(instance, 1), f"{page_of(instance)}/pictures/1"):
            refused = look(server, path)
            assert refused.status_code == 401
            assert "basic" in refused.headers["WWW-Authenticate"].lower()
            assert "Doe" not in refused.text
            assert look(server, path, auth=("joe", "wrong")).status_code == 401
            assert look(server, path, auth=("joe", "secret")).status_code == 200
        assert "dcmweb --user joe http" in look(server, auth=("joe", "secret")).text
        delete = f"{page_of(instance, 1)}/delete"
        assert server("POST", delete, BROWSER).status_code == 401


def test_a_page_is_not_served_under_a_foreign_name(server: Running, folder: Path) -> None:
    for path in ("", page_of((folder / "1.dcm").read_bytes())):
        answer = look(server, path, headers={"Host": f"rebound.example:{server.port}"})
        assert answer.status_code == 421
        assert "Doe" not in answer.text


# Deletion.


def token_of(server: Running, path: str) -> str:
    found = re.search('name="token" value="([^"]+)"', look(server, f"{path}/delete").text)
    assert found
    return found[1]


def test_a_page_cannot_delete_unless_it_may(server: Running, folder: Path) -> None:
    study = page_of((folder / "1.dcm").read_bytes(), 1)
    for path in (study, page_of((folder / "1.dcm").read_bytes())):
        assert "elete" not in look(server, path).text
        assert look(server, f"{path}/delete").status_code == 403
        answer = server("POST", f"{path}/delete", BROWSER, headers={"Origin": server.root})
        assert answer.status_code == 403
    assert look(server, study).status_code == 200


def test_a_deletion_is_confirmed_and_removes_what_it_says(tmp_path: Path) -> None:
    old, new = make_instance("1.5", "1.5.1", "1.5.1.1"), make_instance("1.5", "1.5.1", "1.5.1.2")
    write_files(tmp_path / "in", [old])
    with running(tmp_path / "in", "--page-can-delete") as server:
        post(server, [new])
        series = page_of(new, 2)
        asked = look(server, f"{series}/delete").text
        assert "Delete 2 instances?" in asked
        assert "1 file that the archive stored will be removed" in asked
        assert "1 file that was in the folder before will stay there" in asked
        headers = {"Origin": server.root, "Sec-Fetch-Site": "same-origin"}
        form = {"token": token_of(server, series)}
        answer = server(
            "POST", f"{page_of(new)}/delete", BROWSER, data=form, headers=headers,
            allow_redirects=False,
        )  # fmt: skip
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/{series}")
        assert server.files() == {"1.dcm": old}
        answer = server("POST", f"{series}/delete", BROWSER, data=form, headers=headers)
        assert answer.url == f"{server.root}/"
        assert look(server, series).status_code == 404
        assert server.files() == {"1.dcm": old}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {},
        {"Origin": "{root}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "{root}", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_form_of_another_page_does_not_delete(tmp_path: Path, headers: dict[str, str]) -> None:
    data = make_instance()
    write_files(tmp_path / "in", [data])
    with running(tmp_path / "in", "--page-can-delete") as server:
        given = {name: value.format(root=server.root) for name, value in headers.items()}
        form = {"token": token_of(server, page_of(data, 1))}
        path = f"{page_of(data, 1)}/delete"
        assert server("POST", path, BROWSER, data=form, headers=given).status_code == 403
        own = {"Origin": server.root, "Sec-Fetch-Site": "same-origin"}
        for wrong in ({}, {"token": ""}, {"token": "x" * 43}, {"token": "ü"}):
            assert server("POST", path, BROWSER, data=wrong, headers=own).status_code == 403
        huge = {**form, "other": "x" * 20_000}
        assert server("POST", path, BROWSER, data=huge, headers=own).status_code == 413
        assert look(server, page_of(data, 1)).status_code == 200


# Values that are attacks.


def test_no_value_of_a_file_becomes_part_of_a_page(tmp_path: Path) -> None:
    write_hostile_folder(tmp_path / "in")
    with running(tmp_path / "in", "--page-can-delete") as server:
        waiting, seen, texts = ["/"], set[str](), []
        while waiting:
            address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            answer = look(server, address)
            assert answer.status_code == 200, (address, answer.text)
            if "html" not in answer.headers["Content-Type"]:
                continue
            texts.append(answer.text)
            found = parsed(answer.text)
            for tag, attributes in found.elements:
                assert tag not in ("b", "style"), address
                assert not [name for name in attributes if name.startswith("on")], address
                if tag == "script":
                    assert str(attributes["src"]).startswith("/browse/static/"), address
            for link in found.links:
                assert link.startswith(("/", "#")), (address, link)
                assert urljoin(server.url, link).startswith(server.root), (address, link)
                if "/bulkdata/" not in link and not re.search("[?]image=[0-9]|^#", link):
                    waiting.append(link)
    whole = "".join(texts)
    assert len(texts) > 4 * len(ATTACKS)
    assert "49" not in re.findall(r"\$\{?7\*7|>49<", whole)
    assert "\x1b" not in whole
    assert "\u202e" not in whole


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("1.2.8.1", "This picture cannot be shown: <bdi>frame 1 cannot be decoded"),
        ("1.2.8.2", "no picture that can be shown"),
        ("1.2.8.3", "the pixel data of the instance ends before it"),
        ("1.2.8.5", "the instance has no pixel data"),
        ("1.2.8.6", "no picture that can be shown"),
        ("1.2.8.7", "no picture that can be shown"),
    ],
)
def test_a_picture_that_cannot_be_shown_says_why(tmp_path: Path, study: str, words: str) -> None:
    write_hostile_folder(tmp_path / "in")
    with running(tmp_path / "in") as server:
        path = f"browse/studies/{study}/series/{study}.1/instances/{study}.1.1"
        assert words in look(server, path).text
        if "no picture" not in words:
            answer = look(server, f"{path}/pictures/1")
            assert answer.headers["Content-Type"].startswith("image/svg+xml")
            assert "<text" in answer.text


def test_templates_and_scripts_are_part_of_the_package() -> None:
    from importlib.resources import files

    folder = files("dcmweb.archive.pages")
    names = {entry.name for part in ("static", "templates") for entry in (folder / part).iterdir()}
    assert {"base.html", "studies.html", "page.css", "viewer.js", "icon.svg"} <= names


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    files = make_series(2)
    paths = write_files(tmp_path / "in", files)
    with running(tmp_path / "in") as server:
        paths[0].unlink()
        series = look(server, page_of(files[0], 2))
        assert (series.status_code, "cannot be shown" in series.text) == (200, True)
        instance = look(server, page_of(files[0]))
        assert instance.status_code == 200
        assert "its file is not in the folder any more" in instance.text
        assert str(tmp_path) not in series.text + instance.text
        with zipfile.ZipFile(io.BytesIO(look(server, f"{page_of(files[0], 1)}/files.zip").content)):
            pass
