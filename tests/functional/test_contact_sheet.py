"""`retrieve --contact-sheet`: a picture of each series, and what it says where there is none."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

import dcmweb as library
from dcmweb.errors import UsageError
from dcmweb.transactions.contact_sheet import options as sheet_options
from dcmweb.transactions.contact_sheet.series import has_picture
from tests.conftest import Dcmweb, Result, make_instance, make_series, tree, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.archives import Running, changed, make_image, path_of, running, sample
from tests.functional.hostile_folder import ATTACKS, write_hostile_folder
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.pictures import jpeg

PIXELS = (np.arange(256).reshape(16, 16) * 3).astype("<i2")


def series(count: int, study: str = "1.2.3", **values: object) -> list[bytes]:
    """Make a series whose pictures differ, numbered against the order of their UIDs."""
    return [
        changed(
            data,
            InstanceNumber=count - n,
            Columns=16,
            WindowCenter=200 + 60 * n,
            WindowWidth=300,
            PixelData=PIXELS.tobytes(),
            **values,
        )
        for n, data in enumerate(make_series(count, study, f"{study}.1"))
    ]


class Page(HTMLParser):
    """What a sheet shows: its pictures, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[bytes] = []
        self.others: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            start, _, data = str(given["src"]).partition(",")
            assert re.fullmatch("data:image/(jpeg|png);base64", start)
            self.pictures.append(base64.b64decode(data))
        elif tag in ("script", "a", "iframe", "link", "b", "object", "form"):
            self.others.append(tag)
        self.others += [name for name in given if name.startswith("on") or name in ("href",)]

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(folder: Path, name: str = "sheet.html") -> Page:
    return Page((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sheet") / "in"
    files = series(5, SeriesDescription="Axial", PatientName="Doe^Jane", StudyDate="20240229")
    files += series(2, "1.2.4", SeriesDescription="Coronal", Modality="MR")
    write_files(folder, [*files, sample("test-SR.dcm")])
    with running(folder) as server:
        yield server


def sheet(dcmweb: Dcmweb, server: Running | Origin, *arguments: str | Path) -> Result:
    url = server.url if isinstance(server, Running) else f"{server.url}"
    return dcmweb(url, "retrieve", *arguments)


def test_the_middle_of_each_series_is_shown_and_nothing_else_is_saved(
    dcmweb: Dcmweb, archive: Running, tmp_path: Path
) -> None:
    result = sheet(dcmweb, archive, "--contact-sheet", "sheet.html")
    assert result.code == 0, result.err
    assert "retrieved 2, skipped 1, failed 0" in result.last
    assert "no picture: Comprehensive SR Storage" in result.err
    assert "Doe" not in result.err
    assert [name for name in tree(tmp_path) if not name.startswith("home")] == ["sheet.html"]
    page = page_of(tmp_path)
    middles = [path_of(series(5)[2]), path_of(series(2, "1.2.4")[1])]
    assert page.pictures == [
        archive.get(f"{path}/rendered?viewport=256,256").content for path in middles
    ]
    for words in ("Doe, Jane", "2024-02-29", "Axial", "MR", "5 instances", "data of patients"):
        assert words in page.words
    assert page.others == []
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src'
    assert policy in (tmp_path / "sheet.html").read_text()


def test_a_picture_has_a_tile_for_each_series(
    dcmweb: Dcmweb, archive: Running, tmp_path: Path
) -> None:
    result = sheet(dcmweb, archive, "--contact-sheet", "sheet.PNG", "-m")
    assert result.code == 0, result.err
    with Image.open(tmp_path / "sheet.PNG") as picture:
        assert picture.size == (3 * 268 + 12, 64 + 256 + 66 + 12)
        tile = picture.crop((12, 64, 12 + 256, 64 + 256)).convert("L")
        assert tile.getextrema()[1] == 255


def test_paths_can_come_from_a_search(dcmweb: Dcmweb, archive: Running, tmp_path: Path) -> None:
    found = dcmweb(archive.url, "search", "series", "Modality=MR", "--format", "uids")
    result = dcmweb(
        archive.url, "retrieve", "-", "--contact-sheet", "sheet.html", text=found.out
    )  # fmt: skip
    assert result.code == 0, result.err
    page = page_of(tmp_path)
    assert ("Coronal" in page.words, "Axial" in page.words) == (True, False)
    one = sheet(dcmweb, archive, path_of(series(5)[0]), "--contact-sheet", "one.html")
    assert one.code == 0, one.err
    page = page_of(tmp_path, "one.html")
    assert "1 instance" in page.words
    rendered = archive.get(f"{path_of(series(5)[0])}/rendered?viewport=256,256")
    assert page.pictures == [rendered.content]


def test_the_middle_frame_of_an_image_with_frames_is_shown(dcmweb: Dcmweb, tmp_path: Path) -> None:
    image = make_image(7)
    archive = Archive(image)
    asked = []

    def handler(request: Request) -> Answer:
        asked.append(request.path)
        return archive(request)

    with serving(handler) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", "sheet.html")
    assert result.code == 0, result.err
    assert f"/{path_of(image)}/frames/4/rendered" in "".join(asked)
    assert "1 instance, 7 frames" in page_of(tmp_path).words


def test_rendering_is_as_asked_for(dcmweb: Dcmweb, archive: Running, tmp_path: Path) -> None:
    options = ["--viewport", "64,64", "--window", "100,50", "--quality", "30"]
    result = sheet(dcmweb, archive, "studies/1.2.4", *options, "--contact-sheet", "sheet.html")
    assert result.code == 0, result.err
    path = path_of(series(2, "1.2.4")[1])
    query = "viewport=64,64&window=100,50,linear&quality=30"
    assert page_of(tmp_path).pictures == [archive.get(f"{path}/rendered?{query}").content]


# What cannot be shown.


def test_a_series_that_cannot_be_decoded_has_a_tile_that_says_so(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_hostile_folder(tmp_path / "in")
    with running(tmp_path / "in") as server:
        result = sheet(
            dcmweb, server, *[f"studies/1.2.8.{n}" for n in (1, 3, 4, 7)],
            "--contact-sheet", "sheet.html", "--failed-to", "failed.txt",
        )  # fmt: skip
    assert result.code == 1
    assert "retrieved 1, skipped 1, failed 2" in result.last
    page = page_of(tmp_path)
    assert "Not shown: " in page.words
    assert "406" in page.words
    assert "no picture: Encapsulated PDF Storage" in page.words
    assert "4 series, 2 of them without their picture" in page.words
    assert (tmp_path / "failed.txt").read_text().splitlines() == [
        "studies/1.2.8.1/series/1.2.8.1.1",
        "studies/1.2.8.3/series/1.2.8.3.1",
    ]


def test_values_that_are_attacks_are_shown_as_they_are(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_hostile_folder(tmp_path / "in")
    with running(tmp_path / "in") as server:
        result = sheet(dcmweb, server, "--contact-sheet", "sheet.html")
        picture = sheet(dcmweb, server, "--contact-sheet", "sheet.png")
    assert (result.code, picture.code) == (1, 1)
    page = page_of(tmp_path)
    assert page.others == []
    assert len(page.pictures) >= len(ATTACKS)
    assert ATTACKS["script"] in page.words
    assert "\x1b" not in page.words
    assert "\u202e" not in page.words


@pytest.mark.parametrize("status", [400, 404, 406, 500, 503])
@pytest.mark.parametrize("works", ["bare", "thumbnail", "nothing"])
def test_other_ways_are_tried_where_a_server_refuses_one(
    dcmweb: Dcmweb, tmp_path: Path, status: int, works: str
) -> None:
    archive = Archive(*series(3))
    picture = jpeg()

    def handler(request: Request) -> Answer:
        is_bare = request.path.endswith("/rendered") and "viewport" not in request.query
        if (works, request.path.rpartition("/")[2]) == ("thumbnail", "thumbnail") or (
            works == "bare" and is_bare
        ):
            return Answer(200, picture, {"Content-Type": "image/jpeg"})
        if request.path.endswith(("/rendered", "/thumbnail")):
            return Answer(status, b"no")
        return archive(request)

    with serving(handler) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", "sheet.html", "--retries", "0")
    page = page_of(tmp_path)
    if works == "nothing" or status >= 500:
        assert (result.code, page.pictures) == (1, [])
        assert f"{status}" in page.words
    else:
        assert (result.code, page.pictures) == (0, [picture])


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"\xff\xd8\xff broken", b""])
@pytest.mark.parametrize("form", ["html", "png"])
def test_what_is_no_picture_is_not_shown_as_one(
    dcmweb: Dcmweb, tmp_path: Path, body: bytes, form: str
) -> None:
    archive = Archive(*series(1))

    def handler(request: Request) -> Answer:
        if request.path.endswith(("/rendered", "/thumbnail")):
            return Answer(200, body, {"Content-Type": "image/jpeg"})
        return archive(request)

    with serving(handler) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", f"sheet.{form}", "--retries", "0")
    is_picture = body.startswith(b"\xff\xd8") and form == "html"  # a page does not decode it
    assert result.code == (0 if is_picture else 1), result.err
    assert (tmp_path / f"sheet.{form}").exists()


def test_a_count_that_is_not_that_of_the_list_is_said(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*series(3))

    def handler(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith("/series"):
            counted = b'"00201209": {"vr": "IS", "Value": [%d]}'
            assert isinstance(answer.body, bytes)
            return replace(answer, body=answer.body.replace(counted % 3, counted % 9))
        return answer

    with serving(handler) as origin:
        assert sheet(dcmweb, origin, "--contact-sheet", "sheet.html").code == 0
    assert "3 instances (the server counts 9)" in page_of(tmp_path).words


# Files.


def test_a_run_that_stops_leaves_the_old_sheet(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "sheet.html").write_text("old")
    archive = Archive(*series(1), *series(1, "1.2.4"))

    def handler(request: Request) -> Answer:
        return Answer(401) if "1.2.4" in request.path else archive(request)

    with serving(handler) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", "sheet.html")
    assert result.code == 4
    left = {name: data for name, data in tree(tmp_path).items() if "home" not in name}
    assert left == {"sheet.html": b"old"}
    with serving(archive) as origin:
        assert sheet(dcmweb, origin, "--contact-sheet", "sheet.html").code == 0
    assert len(page_of(tmp_path).pictures) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--contact-sheet", "sheet.pdf"], 2, ".html or .png"),
        (["--contact-sheet", ""], 2, "empty"),
        (["--contact-sheet", "none/sheet.html"], 7, "there is no folder"),
        (["--contact-sheet", "folder.html"], 7, "not a file"),
        (["--contact-sheet", "dicom.html"], 2, "is a DICOM file"),
        (["--contact-sheet", "a.html", "--failed-to", "a.html"], 2, "uses already"),
        (["--contact-sheet", "a.html", "--files-from", "a.html"], 2, "uses already"),
        (["--contact-sheet", "a.html", "-o", "out"], 2, "--output is not for"),
        (["--contact-sheet", "a.html", "--type", "image/png"], 2, "--type is not for"),
        (["--contact-sheet", "a.html", "--manifest", "m"], 2, "--manifest is not for"),
        (["--contact-sheet", "a.html", "--dry-run"], 2, "--dry-run is not for"),
        (["studies/1/metadata", "--contact-sheet", "a.html"], 2, "leave out"),
        (["studies/1.9", "--contact-sheet", "a.html"], 3, "no series in studies/1.9"),
        (["--contact-sheet", "a.html", "--window", "x"], 2, "--window"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "dicom.html").write_bytes(make_instance())
    if "--files-from" in arguments:
        (tmp_path / "a.html").write_text("studies/1.2.3\n")
    before = tree(tmp_path)
    with serving(Archive(*series(1))) as origin:
        result = sheet(dcmweb, origin, *arguments)
    assert result.code == code
    assert words in result.err
    assert tree(tmp_path) == before


def test_an_empty_store_makes_no_sheet(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(lambda _: json_answer([])) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", "sheet.html")
    assert (result.code, (tmp_path / "sheet.html").exists()) == (3, False)


def test_a_picture_without_pillow_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sheet_options, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        sheet_options.SheetOptions(file=str(tmp_path / "sheet.png"))
    assert "dcmweb[pictures]" in caught.value.hint
    assert not sheet_options.SheetOptions(file=str(tmp_path / "sheet.html")).is_picture


def test_the_library_makes_the_same_sheet(archive: Running, tmp_path: Path) -> None:
    with library.Client(archive.url) as client:
        run = client.contact_sheet("studies/1.2.4", tmp_path / "sheet.html")
        (outcome,) = run
    assert (outcome.item, outcome.study) == ("studies/1.2.4/series/1.2.4.1", "1.2.4")
    assert len(page_of(tmp_path).pictures) == 1


def test_uids_of_any_form_are_asked_for(dcmweb: Dcmweb, tmp_path: Path) -> None:
    uid = "a'b\"<c> d"
    named = {"StudyInstanceUID": uid, "SeriesInstanceUID": uid, "SOPInstanceUID": uid}
    with pytest.warns(UserWarning, match="Invalid value"):
        files = [changed(data, **named) for data in series(1)]
    with serving(Archive(*files)) as origin:
        result = sheet(dcmweb, origin, "--contact-sheet", "sheet.html")
    assert result.code == 0, result.err
    assert html.unescape(quote(uid, safe="")) in page_of(tmp_path).words


@pytest.mark.parametrize(
    ("sop_class", "expected"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),  # CT
        ("1.2.840.10008.5.1.4.1.1.481.2", True),  # RT Dose
        ("1.2.840.10008.5.1.4.1.1.66.4", True),  # segmentation
        ("1.2.840.10008.5.1.4.1.1.66.5", False),  # surface segmentation
        ("1.2.840.10008.5.1.4.1.1.77.1.6", True),  # whole slide
        ("1.2.840.10008.5.1.4.1.1.88.59", False),  # key objects
        ("1.2.840.10008.5.1.4.1.1.481.5", False),  # RT plan
        ("1.2.840.10008.5.1.4.1.1.104.1", False),  # PDF
        ("1.3.6.1.4.1.1", True),  # private: the server knows
        ("", True),
    ],
)
def test_classes_without_pixel_data_are_known(sop_class: str, expected: bool) -> None:
    assert has_picture(sop_class) is expected


def test_a_small_picture_is_kept_as_it_is() -> None:
    from dcmweb.transactions.contact_sheet.writing import shrunk

    assert Image.open(io.BytesIO(shrunk(jpeg()))).size == (64, 48)
