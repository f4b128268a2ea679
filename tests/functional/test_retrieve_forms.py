"""`retrieve` of what PS3.18 has beside instances: metadata, renditions, thumbnails, bulk data."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
from PIL import Image

from tests.conftest import Dcmweb, make_instance, make_series, tree
from tests.functional.archive import Archive, Scripted, json_answer, multipart_answer
from tests.functional.archives import make_image, path_of, uids
from tests.functional.origin import Answer, Request, serving

MULTI = make_image(10)
INSTANCE = path_of(MULTI)
STEM = "/".join(uids(MULTI))
XML = "application/dicom+xml"
UIDS = ("0020000D", "0020000E", "00080018")


def names(folder: Path) -> list[str]:
    return sorted(path.removeprefix(STEM) for path in tree(folder))


# Renditions.


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/rendered", (), [".jpg"]),
        ("/rendered", ("--type", "image/png"), [".png"]),
        ("/rendered", ("--type", "image/gif"), [".gif"]),
        ("/frames/2,9/rendered", (), ["_frame_2.jpg", "_frame_9.jpg"]),
        ("/frames/2/rendered", ("--type", "image/png"), ["_frame_2.png"]),
        ("/thumbnail", (), ["_thumbnail.jpg"]),
        ("/frames/3/thumbnail", ("--type", "image/png"), ["_frame_3_thumbnail.png"]),
        ("/frames/1,5-7", (), [f"_frame_{n}.raw" for n in (1, 5, 6, 7)]),
        ("", ("--type", "image/png"), sorted(f"_frame_{n}.png" for n in range(1, 11))),
        ("/bulkdata", (), ["_7FE00010.raw"]),
        ("/bulkdata/7FE00010", (), ["_bulkdata-7FE00010.raw"]),
        ("/metadata", (), [".json"]),
        ("/metadata", ("--type", XML), [".xml"]),
    ],
)
def test_every_form_of_an_instance_has_its_file(
    dcmweb: Dcmweb, tmp_path: Path, path: str, options: tuple[str, ...], expected: list[str]
) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE + path, "-o", "out", *options)
    assert result.code == 0, result.err
    assert names(tmp_path / "out") == expected
    assert f"retrieved {len(expected)}, " in result.last


@pytest.mark.parametrize(("level", "place"), [(1, "thumbnail.jpg"), (2, "thumbnail.jpg")])
def test_a_study_and_a_series_have_a_thumbnail_in_their_folder(
    dcmweb: Dcmweb, tmp_path: Path, level: int, place: str
) -> None:
    with serving(Archive(MULTI)) as origin:
        path = f"{path_of(MULTI, level)}/thumbnail"
        assert dcmweb(origin.url, "retrieve", path, "-o", "out").code == 0
    assert list(tree(tmp_path / "out")) == ["/".join([*uids(MULTI)[:level], place])]


def test_a_study_that_is_rendered_is_so_frame_by_frame(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb("-m", origin.url, "retrieve", f"{path_of(MULTI, 1)}/rendered", "-o", "out")
    assert result.code == 0
    assert names(tmp_path / "out") == sorted(f"_frame_{n}.jpg" for n in range(1, 11))


def test_viewport_window_and_quality_go_to_the_server(dcmweb: Dcmweb, tmp_path: Path) -> None:
    options = ("--viewport", "40x30", "--window", "300,500", "--quality", "20")
    with serving(Archive(MULTI)) as origin:
        arguments = (origin.url, "retrieve", "-o", "out", *options)
        assert dcmweb(*arguments, f"{INSTANCE}/rendered").code == 0
        assert dcmweb(*arguments, INSTANCE, "--type", "image/png").code == 0
    queries = {r.query for r in origin.requests if "rendered" in r.path}
    assert queries == {"viewport=40,30&window=300,500,linear&quality=20"}
    for data in tree(tmp_path / "out").values():
        assert max(Image.open(io.BytesIO(data)).size) <= 40


@pytest.mark.parametrize(
    "options",
    [
        ("--viewport", "0,10"),
        ("--viewport", "10"),
        ("--viewport", "10,10,x,0,1,1"),
        ("--window", "40"),
        ("--window", "40,0"),
        ("--window", "40,400,cubic"),
        ("--quality", "0"),
        ("--quality", "101"),
        ("--type", "application/dicom"),
        ("--layout", "../{PatientID}"),
        ("--layout", "/{PatientID}"),
        ("--layout", "{PatientID"),
        ("--layout", "{PatientId}"),
        ("--layout", ""),
    ],
)
def test_what_no_server_could_do_is_refused_here(dcmweb: Dcmweb, options: tuple[str, str]) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/rendered", *options)
    assert result.code == 2, result.err
    assert not origin.requests


@pytest.mark.parametrize("kind", ["application/dicom+json", XML])
def test_metadata_is_asked_for_by_its_path(dcmweb: Dcmweb, kind: str) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE, "--type", kind)
    assert result.code == 2
    assert "/metadata" in result.err
    assert not origin.requests


def test_a_viewport_of_what_is_not_rendered_is_not_passed_over(dcmweb: Dcmweb) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE, "--viewport", "40,30")
    assert result.code == 2
    assert "not rendered" in result.err


def test_a_login_page_is_no_rendition(dcmweb: Dcmweb, tmp_path: Path) -> None:
    page = Answer(200, b"<html>Please log in", {"Content-Type": "text/html"})
    with serving(lambda _: page) as origin:
        for form in ("rendered", "thumbnail", "bulkdata/7FE00010", "metadata"):
            result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/{form}", "-o", "out")
            assert result.code == 8
            assert "web page" in result.err
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("form", ["rendered", "thumbnail", "frames/1", "frames/1/rendered"])
def test_an_empty_picture_is_none(dcmweb: Dcmweb, tmp_path: Path, form: str) -> None:
    empty = Answer(200, b"", {"Content-Type": "image/png"})
    with serving(lambda _: empty) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/{form}", "-o", "out")
    assert result.code == 8
    assert "sent nothing" in result.err
    assert tree(tmp_path / "out") == {}


def test_who_cannot_be_reached_after_a_redirect_is_named(dcmweb: Dcmweb) -> None:
    moved = Answer(302, b"", {"Location": "http://127.0.0.1:1/moved"})
    with serving(lambda _: moved) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", f"{INSTANCE}/rendered")
    assert result.code == 6
    assert "no connection to 127.0.0.1:1 " in result.err


def test_a_server_without_thumbnails_has_a_way_out(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(404)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/thumbnail")
    assert result.code == 3
    assert "--viewport" in result.err


@pytest.mark.parametrize("cut", [0, 1, 300, -2])
def test_a_rendition_that_breaks_off_is_asked_for_again(
    dcmweb: Dcmweb, tmp_path: Path, cut: int
) -> None:
    archive = Archive(MULTI)
    answers = 0

    def handle(request: Request) -> Answer:
        nonlocal answers
        answers += 1
        answer = archive(request)
        end = len(answer.body) + cut if cut < 0 else cut
        return Answer(
            200, answer.body, answer.headers, close=True, cut=end if answers < 3 else None
        )

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/rendered", "-o", "out")
    assert result.code == 0
    assert answers == 3
    (picture,) = tree(tmp_path / "out").values()
    Image.open(io.BytesIO(picture)).load()


# Metadata.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"a": 1}]', "item 1 is an object without DICOM attributes"),
        (b'[{"0020000D": {"vr": "UI", "Value": ["1.2.4"]}}]', "metadata of something else"),
    ],
    ids=["?", "other"],
)
@pytest.mark.parametrize("output", [(), ("-o", "out")], ids=["stdout", "files"])
def test_metadata_of_something_else_is_not_passed_on(
    dcmweb: Dcmweb, tmp_path: Path, body: bytes, words: str, output: tuple[str, ...]
) -> None:
    with serving(lambda _: Answer(200, body)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/metadata", *output)
    assert result.code == 8
    assert words in result.err
    assert result.out == ""
    assert not (tmp_path / "out").exists() or tree(tmp_path / "out") == {}


def test_metadata_is_printed_as_the_server_has_it(dcmweb: Dcmweb) -> None:
    files = make_series(3)
    with serving(Archive(*files)) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata")
        one = dcmweb(origin.url, "retrieve", f"{path_of(files[0])}/metadata", "-o", "-")
    assert result.code == 0
    found = json.loads(result.out)
    assert result.out == json.dumps(found, indent=2, sort_keys=True) + "\n"
    assert sorted(d["00080018"]["Value"][0] for d in found) == [uids(data)[2] for data in files]
    assert json.loads(one.out)[0] in found


def test_metadata_of_several_resources_is_one_document(dcmweb: Dcmweb) -> None:
    files = make_series(2) + make_series(2, "1.2.4", "1.2.4.1")
    with serving(Archive(*files)) as origin:
        paths = ("studies/1.2.3/metadata", "studies/1.2.4/metadata")
        result = dcmweb(origin.url, "retrieve", *paths)
        listed = dcmweb(origin.url, "retrieve", "-", text="\n".join(paths))
        broken = dcmweb(origin.url, "retrieve", paths[0], "studies/6.6.6/metadata", paths[1])
    assert len(json.loads(result.out)) == 4
    assert listed.out == result.out
    assert broken.code == 1
    assert json.loads(broken.out) == json.loads(result.out)
    assert "studies/6.6.6/metadata failed" in broken.err


def test_metadata_as_xml_is_one_well_formed_document(dcmweb: Dcmweb) -> None:
    files = make_series(2)
    with serving(Archive(*files)) as origin:
        study = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata", "--type", XML)
        one = dcmweb(origin.url, "retrieve", f"{path_of(files[0])}/metadata", "--type", XML)
    assert len(ElementTree.fromstring(study.out)) == 2
    assert ElementTree.fromstring(one.out).tag.endswith("}NativeDicomModel")


@pytest.mark.parametrize("status", [400, 406, 415])
def test_a_server_without_xml_has_its_json_written_as_xml(dcmweb: Dcmweb, status: int) -> None:
    archive = Archive(*make_series(2))

    def handle(request: Request) -> Answer:
        return Answer(status) if "xml" in request.headers["accept"] else archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata", "--type", XML)
    assert result.code == 0
    assert len(ElementTree.fromstring(result.out)) == 2


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("is_there", [True, False])
def test_metadata_that_an_answer_lacks_is_asked_for_by_instance(
    dcmweb: Dcmweb, tmp_path: Path, status: int, is_there: bool
) -> None:
    archive = Archive(*make_series(3))

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith("1.2.3/metadata"):
            headers = {**answer.headers, "Warning": '299 pacs "1 is not accessible"'}
            body = json.dumps(json.loads(answer.body)[:2]).encode()
            return Answer(status, body, headers)
        is_lost = request.path.endswith("1.2.3.4.3/metadata") and not is_there
        return Answer(404) if is_lost else answer

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata")
        saved = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata", "-o", "out")
    assert result.code == saved.code == (0 if is_there else 1)
    assert len(tree(tmp_path / "out")) == (3 if is_there else 2)
    if is_there:
        assert len(json.loads(result.out)) == 3
    else:
        for err in (result.err, saved.err):
            assert "1.2.3.4.3/metadata failed: answered 404" in err


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("levels", [2, 4, 6])
def test_metadata_with_206_is_incomplete_even_if_nothing_is_listed_beside_it(
    dcmweb: Dcmweb, tmp_path: Path, levels: int, lists: bool
) -> None:
    archive = Archive(make_instance())
    path = "/".join(path_of(make_instance()).split("/")[:levels])

    def handle(request: Request) -> Answer:
        if not request.path.endswith("/metadata"):
            return archive(request) if lists else Answer(404)
        headers = {"Warning": '299 pacs "2 objects no longer accessible"'}
        return replace(archive(request), status=206, headers=headers)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", f"{path}/metadata")
        saved = dcmweb(origin.url, "retrieve", f"{path}/metadata", "-o", "out")
    assert result.code == saved.code == 1
    for err in (result.err, saved.err):
        assert f"{path}/metadata failed: " in err
        assert "2 objects no longer accessible" in err
    assert len(tree(tmp_path / "out")) == 1


@pytest.mark.parametrize("how", ["cut", "closed early"])
def test_metadata_that_breaks_off_is_asked_for_again(dcmweb: Dcmweb, how: str) -> None:
    archive = Archive(*make_series(3))
    answers = 0

    def handle(request: Request) -> Answer:
        nonlocal answers
        answer = archive(request)
        if not request.path.endswith("/metadata"):
            return answer
        answers += 1
        if answers == 3:
            return answer
        half = len(answer.body) // 2
        if how == "cut":
            return Answer(200, answer.body, answer.headers, cut=half)
        return Answer(200, answer.body[:half], answer.headers, close=True)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata")
    assert result.code == 0
    assert len(json.loads(result.out)) == 3


@pytest.mark.parametrize(
    "body", [b'[{"00080018": }]', b"[1]", b"[{}{}]", b"[{},,{}]", b'"x"', b"\xff\xfe", b"[\xff]"]
)
def test_metadata_that_is_malformed_is_no_success(dcmweb: Dcmweb, body: bytes) -> None:
    answer = Answer(200, body, {"Content-Type": "application/dicom+json"})
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/metadata")
    assert result.code == 8, result.err


def test_metadata_of_something_else_is_not_saved(dcmweb: Dcmweb, tmp_path: Path) -> None:
    other = [{tag: {"vr": "UI", "Value": ["../../evil"]} for tag in UIDS}]
    with serving(lambda _: json_answer(other)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/metadata", "-o", "out")
    assert result.code == 8
    assert tree(tmp_path / "out") == {}


# Bulk data.


def test_bulk_data_uris_lead_to_bulk_data(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive(MULTI)) as origin:
        found = json.loads(dcmweb(origin.url, "retrieve", f"{INSTANCE}/metadata").out)
        uri = found[0]["7FE00010"]["BulkDataURI"]
        result = dcmweb(origin.url, "retrieve", uri, "-o", "out")
        listed = dcmweb(origin.url, "retrieve", "-", "-o", "listed", text=f"{uri}\n")
    assert result.code == listed.code == 0
    (data,) = tree(tmp_path / "out").values()
    assert data == pydicom.dcmread(io.BytesIO(MULTI)).PixelData
    assert tree(tmp_path / "listed") == tree(tmp_path / "out")


def bulk_data_at(uri: str, more: dict[str, Any] | None = None) -> Scripted:
    """A server whose one instance has bulk data in the Pixel Data, where it says."""
    archive = Scripted(MULTI)
    dataset = {
        tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(UIDS, uids(MULTI), strict=True)
    }
    dataset |= {"7FE00010": {"vr": "OW", "BulkDataURI": uri}, **(more or {})}
    instances = archive.retrieve

    def retrieve(path: str) -> Answer:
        if path.endswith("metadata"):
            return json_answer([dataset])
        if "bulk" in path:
            return Answer(200, path.encode(), {"Content-Type": "application/octet-stream"})
        return instances(path)

    archive.retrieve = retrieve  # type: ignore[method-assign]
    return archive


@pytest.mark.parametrize("uri", ["bulkdata/7FE00010", "./bulk/a", "/dicomweb/x/bulk"])
def test_bulk_data_may_be_named_relative_to_the_instance(
    dcmweb: Dcmweb, tmp_path: Path, uri: str
) -> None:
    with serving(bulk_data_at(uri)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{path_of(MULTI, 1)}/bulkdata", "-o", "out")
    assert result.code == 0, result.err
    assert list(tree(tmp_path / "out")) == [f"{STEM}_7FE00010.raw"]


def test_bulk_data_in_sequences_is_named_by_the_way_to_it(dcmweb: Dcmweb, tmp_path: Path) -> None:
    item = {"00420011": {"vr": "OB", "BulkDataURI": "bulk/inner"}}
    sequence = {"00081140": {"vr": "SQ", "Value": [{}, item]}}
    with serving(bulk_data_at("bulk/outer", sequence)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/bulkdata", "-o", "out")
    assert result.code == 0
    assert names(tmp_path / "out") == ["_00081140-2-00420011.raw", "_7FE00010.raw"]


def test_bulk_data_on_another_server_is_named_and_not_asked_for(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    with (
        serving(lambda _: Answer(200, b"bait")) as elsewhere,
        serving(bulk_data_at(f"{elsewhere.url}/bulk")) as origin,
    ):
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/bulkdata", "-o", "out")
    assert result.code == 1
    assert "lies on another server" in result.err
    assert not elsewhere.requests
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize("refusal", [None, Answer(401)], ids=["unreachable", "401"])
def test_another_server_that_cannot_be_asked_does_not_end_the_run(
    dcmweb: Dcmweb, tmp_path: Path, refusal: Answer | None
) -> None:
    content = Answer(200, b"data", {"Content-Type": "application/octet-stream"})
    with serving(lambda _: content) as origin, serving(lambda _: refusal or content) as elsewhere:
        url = elsewhere.url if refusal else "http://127.0.0.1:1"
        text = f"{url}/there\n{INSTANCE}/bulkdata/1\n"
        listed = dcmweb("--retries", "0", origin.url, "retrieve", "-", "-o", "out", text=text)
    assert listed.code == 1
    assert f"{url}/there failed: " in listed.err
    assert "BASE_URL" not in listed.err
    assert "retrieved 1, skipped 0, failed 1;" in listed.last


def test_bulk_data_elsewhere_that_a_user_names_is_had_without_credentials(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    content = Answer(200, b"data", {"Content-Type": "application/octet-stream"})
    with serving(lambda _: content) as elsewhere, serving(lambda _: Answer(500)) as origin:
        url = f"{elsewhere.url}/bucket/object?signature=x"
        environment = {"DCMWEB_TOKEN": "very-secret"}
        result = dcmweb(origin.url, "retrieve", url, "-o", "out", env=environment)
    assert result.code == 0, result.err
    assert list(tree(tmp_path / "out").values()) == [b"data"]
    assert "authorization" not in elsewhere.requests[0].headers


# ZIP archives.


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_server(archive: Archive, content: bytes, parameters: bool = True) -> object:
    def handle(request: Request) -> Answer:
        accept = request.headers["accept"]
        if not accept.startswith("application/zip"):
            return archive(request)
        if ";" in accept and not parameters:
            return Answer(406)
        return Answer(200, content, {"Content-Type": "application/zip"})

    return handle


@pytest.mark.parametrize("parameters", [True, False])
@pytest.mark.parametrize("path", ["", "studies/1.2.3", "studies/1.2.3/series/1.2.3.4"])
def test_a_zip_archive_is_saved_as_it_comes(
    dcmweb: Dcmweb, tmp_path: Path, path: str, parameters: bool
) -> None:
    archive = Archive(*make_series(3))
    content = zipped({**archive.tree(), "DICOMDIR": b""})
    with serving(zip_server(archive, content, parameters)) as origin:  # type: ignore[arg-type]
        paths = [path] if path else []
        result = dcmweb(origin.url, "retrieve", *paths, "--type", "application/zip", "-o", "out")
    assert result.code == 0, result.err
    name = "1.2.3/1.2.3.4.zip" if "series" in path else "1.2.3.zip"
    assert tree(tmp_path / "out") == {name: content}


@pytest.mark.parametrize("fault", ["one is missing", "bits are wrong", "cut short"])
def test_a_zip_archive_without_all_of_it_is_no_success(
    dcmweb: Dcmweb, tmp_path: Path, fault: str
) -> None:
    archive = Archive(*make_series(3))
    files = archive.tree()
    if fault == "one is missing":
        files.popitem()
    content = bytearray(zipped(files))
    if fault == "bits are wrong":
        content[700] ^= 1
    if fault == "cut short":
        del content[-100:]
    with serving(zip_server(archive, bytes(content))) as origin:  # type: ignore[arg-type]
        arguments = (origin.url, "retrieve", "studies/1.2.3", "--type", "application/zip")
        result = dcmweb(*arguments, "-o", "out", "--retries", "1")
    assert result.code == 8, result.err
    assert tree(tmp_path / "out") == {}


# Standard output.


def test_one_item_goes_to_stdout_when_it_is_whole(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/bulkdata/7FE00010", "-o", "-")
    assert result.code == 0
    assert result.data == pydicom.dcmread(io.BytesIO(MULTI)).PixelData
    assert not list(tmp_path.glob("*.*"))


def test_what_breaks_off_does_not_reach_stdout(dcmweb: Dcmweb) -> None:
    answer = multipart_answer([MULTI], cut=len(MULTI) // 2)
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE, "-o", "-", "--retries", "0")
    assert result.code in (6, 8)
    assert result.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("studies/1.2.3",),
        (INSTANCE, INSTANCE),
        (INSTANCE, "--json"),
        (INSTANCE, "--manifest", "m"),
        (INSTANCE, "--skip-existing"),
        (f"{INSTANCE}/bulkdata",),
    ],
)
def test_more_than_one_item_does_not_go_to_stdout(
    dcmweb: Dcmweb, arguments: tuple[str, ...]
) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "-", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert not origin.requests


def test_several_frames_do_not_go_to_stdout_one_after_another(dcmweb: Dcmweb) -> None:
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/1,2", "-o", "-")
    assert result.code == 2
    assert result.out == ""
    with serving(Archive(MULTI)) as origin:
        result = dcmweb(origin.url, "retrieve", INSTANCE, "--type", "image/png", "-o", "-")
    assert result.code == 2
    assert result.out == ""
    assert "/frames/1" in result.err
