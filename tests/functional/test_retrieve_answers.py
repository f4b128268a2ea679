"""`retrieve` where a server answers with something else than what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcmweb.dicom.resources import Resource
from tests.conftest import Dcmweb, make_instance, make_series, tree
from tests.functional.archive import (
    BOUNDARY,
    LEVELS,
    Archive,
    Scripted,
    json_answer,
    multipart_body,
)
from tests.functional.archives import make_image, path_of, uids
from tests.functional.origin import Answer, Request, serving

ONE = make_instance()
INSTANCE = path_of(ONE)
STEM = "/".join(uids(ONE))
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 90))
EXPLICIT = "1.2.840.10008.1.2.1"
OCTETS = "application/octet-stream"


def named(request: Request) -> str:
    return request.path.rpartition("/")[2]


def parts(kind: str, *bodies: bytes, status: int = 200) -> Answer:
    header = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
    return Answer(status, multipart_body(bodies, kind), header)


def accepts(request: Request) -> str:
    return request.headers["accept"]


# Servers that want another form of Accept.


def metadata_answer() -> Answer:
    return Archive(ONE)(Request("GET", f"/dicomweb/{INSTANCE}/metadata", {}, b"", 0))


KINDS = {
    "instance": (INSTANCE, Answer(200, ONE, {"Content-Type": "application/dicom"}), ".dcm"),
    "frames": (f"{INSTANCE}/frames/1", Answer(200, b"x", {"Content-Type": OCTETS}), ".raw"),
    "bulk data": (f"{INSTANCE}/bulkdata/1", Answer(200, b"x", {"Content-Type": OCTETS}), ".raw"),
    "rendered": (
        f"{INSTANCE}/rendered",
        Answer(200, b"\xff\xd8\xff\xd9", {"Content-Type": "image/jpeg"}),
        ".jpg",
    ),
    "metadata": (f"{INSTANCE}/metadata", metadata_answer(), ".json"),
}
OF_OCTETS = f'multipart/related; type="{OCTETS}"'
FORMS = {
    "instance": ["application/dicom; transfer-syntax=*", "*/*", "application/dicom"],
    "frames": ["*/*", f"{OCTETS}; transfer-syntax=*", OF_OCTETS, OCTETS],
    "bulk data": ["*/*", OF_OCTETS, OCTETS],
    "rendered": ["*/*", "image/jpeg"],
    "metadata": ["application/dicom+json", "application/json"],
}


@pytest.mark.parametrize("status", [400, 406, 415])
@pytest.mark.parametrize(
    ("kind", "form"), [(kind, form) for kind, forms in FORMS.items() for form in forms]
)
def test_a_server_that_takes_one_form_of_accept_alone_gets_it(
    dcmweb: Dcmweb, tmp_path: Path, kind: str, form: str, status: int
) -> None:
    path, answer, extension = KINDS[kind]
    refusal = Answer(status, b"Not this", {"Content-Type": "text/plain"})
    with serving(lambda r: answer if accepts(r) == form else refusal) as origin:
        result = dcmweb(origin.url, "retrieve", path, "-o", "out")
    assert result.code == 0, result.err
    (name,) = tree(tmp_path / "out")
    assert name.endswith(extension)
    forms = [accepts(r) for r in origin.requests]
    assert len(forms) == len(set(forms))
    has_no_syntax = kind in ("instance", "frames") and "*" not in form
    assert ("(transfer-syntax=*)" in result.err) == has_no_syntax


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_takes_no_form_is_asked_in_each_once(dcmweb: Dcmweb, kind: str) -> None:
    with serving(lambda _: Answer(406, b"Not this")) as origin:
        result = dcmweb(origin.url, "retrieve", KINDS[kind][0], "-o", "out")
    assert result.code == 5
    assert "406 Not Acceptable: Not this" in result.err
    forms = [accepts(r) for r in origin.requests]
    assert len(forms) == len(set(forms)) > 1


def test_the_form_that_worked_is_remembered_for_the_run(dcmweb: Dcmweb, tmp_path: Path) -> None:
    frame = Answer(200, b"frame", {"Content-Type": OCTETS})
    with serving(lambda r: frame if accepts(r) == OCTETS else Answer(406)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/1-9", "-o", "out")
    assert result.code == 0
    assert len(tree(tmp_path / "out")) == 9
    singles = [accepts(r) for r in origin.requests if "," not in r.path]
    assert singles == [OCTETS] * 9


@pytest.mark.parametrize("xml", ["multipart", "single"])
@pytest.mark.parametrize("status", [200, 406])
def test_searches_and_metadata_are_read_from_xml_where_there_is_nothing_else(
    dcmweb: Dcmweb, tmp_path: Path, xml: str, status: int
) -> None:
    archive = Archive(ONE)
    wanted = 'multipart/related; type="application/dicom+xml"'

    def handle(request: Request) -> Answer:
        if accepts(request) != wanted and status != 200:
            return Answer(status)
        answer = archive(replace(request, headers={**request.headers, "accept": wanted}))
        if xml == "multipart" or answer.status == 204:
            return answer
        body = re.search(rb"<\?xml.*</NativeDicomModel>", answer.body, re.DOTALL)
        return Answer(200, body[0] if body else b"", {"Content-Type": "application/dicom+xml"})

    with serving(handle) as origin:
        assert dcmweb(origin.url, "search", "--count").out == "1\n"
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata")
    assert json.loads(result.out)[0]["00080018"]["Value"] == ["1.2.3.4.5"]


# Metadata that servers have of smaller parts only, or in another encoding.


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500, 501])
@pytest.mark.parametrize("deepest", ["series", "instances"])
@pytest.mark.parametrize("kind", ["json", "xml"])
def test_metadata_comes_by_series_or_instance_where_the_server_has_none_of_a_study(
    dcmweb: Dcmweb, tmp_path: Path, status: int, deepest: str, kind: str
) -> None:
    files = [*make_series(2), *make_series(1, series="1.2.3.5")]
    archive = Archive(*files)

    def handle(request: Request) -> Answer:
        is_refused = named(request) == "metadata" and f"/{deepest}/" not in request.path
        return Answer(status) if is_refused else archive(request)

    with serving(handle) as origin:
        options = ("--type", "application/dicom+xml") if kind == "xml" else ()
        arguments = ("--retries", "0", origin.url, "retrieve", "studies/1.2.3/metadata", *options)
        printed = dcmweb(*arguments)
        saved = dcmweb(*arguments, "-o", "out")
    assert (printed.code, saved.code) == (0, 0), printed.err
    assert printed.out.count("1.2.3.4.2") == printed.out.count("1.2.3.5.1") > 0
    assert sorted(tree(tmp_path / "out")) == sorted(
        name.replace(".dcm", f".{kind}") for name in archive.tree()
    )


def test_metadata_that_nothing_has_is_one_error(dcmweb: Dcmweb) -> None:
    archive = Archive(*make_series(3))
    with serving(lambda r: Answer(501) if named(r) == "metadata" else archive(r)) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata", "-o", "out")
    assert result.code == 5
    assert len([line for line in result.err.splitlines() if "501" in line]) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_and_xml_are_read_in_each_unicode_encoding(
    dcmweb: Dcmweb, tmp_path: Path, encoding: str
) -> None:
    archive = Archive(ONE)

    def handle(request: Request) -> Answer:
        answer = archive(request)
        return (
            replace(answer, body=answer.body.decode().encode(encoding)) if answer.body else answer
        )

    with serving(handle) as origin:
        assert dcmweb(origin.url, "search", "--count").out == "1\n"
        one = dcmweb(origin.url, "retrieve", f"{INSTANCE}/metadata")
        layout = dcmweb(
            origin.url, "retrieve", f"{INSTANCE}/frames/1", "-o", "out", "--layout", "{PatientID}"
        )
    assert json.loads(one.out)[0]["00080018"]["Value"] == ["1.2.3.4.5"]
    assert "secret-id-17" not in layout.err


def test_parts_that_are_not_well_formed_xml_are_not_printed(dcmweb: Dcmweb) -> None:
    answer = parts("application/dicom+xml", b"hello <x")
    with serving(lambda _: answer) as origin:
        result = dcmweb(
            *(origin.url, "retrieve", "studies/1.2.3/metadata", "--type", "application/dicom+xml")
        )
    assert result.code == 8
    assert "hello" not in result.out
    assert "not well-formed" in result.err


# Kinds of answers that are not what was asked for.


WRONG = {
    "metadata as JSON": ("application/dicom+json", b'[{"00080018": {"vr": "UI"}}]'),
    "says: over quota": ("application/json", b'{"error": {"message": "over quota"}}'),
    "a ZIP archive": ("application/zip", b"PK\3\4"),
    "an image": ("image/png", b"\x89PNG"),
    "a PDF document": ("application/pdf", b"%PDF-1.4"),
    "text": ("text/plain", b"Doe^Jane"),
    "a web page": ("text/html", b"<html><title>Index of /</title></html>"),
}
ASKED = [INSTANCE, "studies/1.2.3", f"{INSTANCE}/frames/1", f"{INSTANCE}/rendered"]
RIGHT = {  # what may be that which was asked for
    f"{INSTANCE}/metadata": ("metadata as JSON", "says: over quota"),
    f"{INSTANCE}/frames/1": ("an image",),
    f"{INSTANCE}/bulkdata/1": ("a ZIP archive", "an image", "a PDF document", "text"),
    f"{INSTANCE}/rendered": ("an image", "a PDF document", "text"),
    "zip": ("a ZIP archive",),
}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (path, words)
        for path in (*ASKED, f"{INSTANCE}/metadata", f"{INSTANCE}/bulkdata/1", "zip")
        for words in WRONG
        if words not in RIGHT.get(path, ())
    ],
)
def test_answers_of_a_wrong_kind_are_named(dcmweb: Dcmweb, words: str, path: str) -> None:
    kind, body = WRONG[words]
    options = ("--type", "application/zip") if path == "zip" else ()
    answer = Answer(200, body, {"Content-Type": kind})
    with serving(lambda r: Answer(404) if named(r) in LEVELS else answer) as origin:
        result = dcmweb(
            *("--retries", "0", origin.url, "retrieve", "-o", "out"),
            *(path.replace("zip", INSTANCE), *options),
        )
    assert result.code == 8
    assert words in result.err
    assert "Doe" not in result.err


@pytest.mark.parametrize("kind", ["application/dicom", OCTETS, ""])
@pytest.mark.parametrize(
    ("words", "body"),
    [("JSON", b'{"a": 1}'), ("a ZIP archive", b"PK\3\4..."), ("a JPEG image", b"\xff\xd8\xff\xe0")],
)
def test_content_that_is_not_dicom_is_named_whatever_it_is_called(
    dcmweb: Dcmweb, kind: str, words: str, body: bytes
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    with serving(lambda _: Answer(200, body, headers)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", INSTANCE, "-o", "out")
    assert result.code == 8
    assert f"what the server sent is {words}, not an instance" in result.err


@pytest.mark.parametrize("path", [*ASKED[2:], INSTANCE, f"{INSTANCE}/metadata", "zip"])
def test_accepted_without_content_is_not_taken_for_the_whole(dcmweb: Dcmweb, path: str) -> None:
    options = ("--type", "application/zip") if path == "zip" else ()
    with serving(lambda _: Answer(202)) as origin:
        result = dcmweb(
            *("--retries", "0", origin.url, "retrieve", "-o", "out"),
            *(path.replace("zip", INSTANCE), *options),
        )
        found = dcmweb("--retries", "0", origin.url, "search", "--count")
    assert (result.code, found.code) == (5, 5)
    assert "202 Accepted" in result.err
    assert found.out == ""


@pytest.mark.parametrize("path", [f"{INSTANCE}/frames/1", f"{INSTANCE}/rendered", INSTANCE])
def test_a_part_of_something_is_not_all_of_it(dcmweb: Dcmweb, tmp_path: Path, path: str) -> None:
    answer = Answer(206, b"\xff\xd8\xff\xd9", {"Content-Type": "image/jpeg"})
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", path, "-o", "out")
    assert result.code != 0
    assert "206" in result.err
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize(("listed", "code"), [(2, 1), (3, 0)])
def test_206_of_a_study_is_explained_by_what_is_listed_beside_it_or_a_failure(
    dcmweb: Dcmweb, tmp_path: Path, listed: int, code: int
) -> None:
    archive = Scripted(*make_series(listed))

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if not request.path.endswith("studies/1.2.3"):
            return answer
        some = Scripted(*make_series(2)).files.values()
        return parts("application/dicom", *some, status=206)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "-o", "out")
    assert result.code == code
    assert len(tree(tmp_path / "out")) == listed
    assert ("studies/1.2.3 failed: the server says that it sent only a part" in result.err) == code


# Another transfer syntax than the one that was asked for.


@pytest.mark.parametrize("path", [INSTANCE, "studies/1.2.3"])
@pytest.mark.parametrize(("asked", "is_noted"), [(JPEG_LS, True), (EXPLICIT, False), ("*", False)])
def test_another_transfer_syntax_is_kept_with_a_note(
    dcmweb: Dcmweb, tmp_path: Path, path: str, asked: str, is_noted: bool
) -> None:
    archive = Scripted(*make_series(2), ONE)
    kind = f"application/dicom; transfer-syntax={asked}"
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", path, "-o", "out", "--type", kind, "--json")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree(path)
    note = (
        f"the server sent Explicit VR Little Endian ({EXPLICIT}) instead of "
        f"JPEG-LS Lossless Image Compression ({JPEG_LS})"
    )
    assert result.err.count(note) == is_noted
    *events, _summary = map(json.loads, result.out.splitlines())
    for event in events:
        assert event["type"] == "retrieved"
        assert event.get("reason", "") == (note if is_noted else "")


FRAMES = {
    (f"{OCTETS}; transfer-syntax={JPEG}", b"frame"): ".jpg",
    (f"{OCTETS}; transfer-syntax={JPEG_2000}", b"frame"): ".jp2",
    (f"{OCTETS}; transfer-syntax={EXPLICIT}", b"\xff\xd8\xff"): ".raw",
    (f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.107", b"frame"): ".h265",
    (OCTETS, b"frame"): ".raw",
    (OCTETS, b"\xff\xd8\xff"): ".raw",
}


@pytest.mark.parametrize(("kind", "body"), FRAMES)
def test_frames_have_the_extension_of_their_transfer_syntax(
    dcmweb: Dcmweb, tmp_path: Path, kind: str, body: bytes
) -> None:
    with serving(lambda _: parts(kind, body)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/1", "-o", "out")
    assert result.code == 0
    (name,) = tree(tmp_path / "out")
    assert name.endswith(f"_frame_1{FRAMES[kind, body]}")


@pytest.mark.parametrize(
    ("asked", "came", "note"),
    [
        ("image/jp2", "image/jpeg", "image/jpeg instead of image/jp2"),
        (f"image/jpeg; transfer-syntax={JPEG}", OCTETS, f"{OCTETS} instead of image/jpeg"),
        (f"{OCTETS}; transfer-syntax={EXPLICIT}", f"{OCTETS}; transfer-syntax={EXPLICIT}", ""),
        ("image/jpeg", f"image/jpeg; transfer-syntax={JPEG}", ""),
    ],
)
def test_frames_in_another_type_are_kept_with_a_note(
    dcmweb: Dcmweb, tmp_path: Path, asked: str, came: str, note: str
) -> None:
    asked = asked if "transfer-syntax" in asked else f"{asked}; transfer-syntax=*"
    with serving(lambda _: parts(came, b"a frame", b"another")) as origin:
        result = dcmweb(
            origin.url, "retrieve", f"{INSTANCE}/frames/1,2", "-o", "out", "--type", asked
        )
    assert result.code == 0
    assert len(tree(tmp_path / "out")) == 2
    assert result.err.count("instead of") == bool(note)
    assert note in result.err


# Frames, of which some do not come.


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize("suffix", ["", "/rendered"])
@pytest.mark.parametrize("lost", [{1}, {2}, {1, 2, 3}, {1, 2, 4, 5}])
def test_frames_that_come_are_not_lost_with_those_that_do_not(
    dcmweb: Dcmweb, tmp_path: Path, status: int, suffix: str, lost: set[int]
) -> None:
    def handle(request: Request) -> Answer:
        numbers = re.findall("[0-9]+", request.path.rpartition("frames/")[2])
        if lost & set(map(int, numbers)):
            return Answer(status, b"cannot")
        return Answer(200, b"of %s" % numbers[0].encode(), {"Content-Type": "image/jpeg"})

    with serving(handle) as origin:
        arguments = ("--retries", "0", origin.url, "retrieve", "-o", "out")
        result = dcmweb(*arguments, f"{INSTANCE}/frames/1-6{suffix}")
    assert result.code == 1
    assert len(tree(tmp_path / "out")) == 6 - len(lost)
    for number in lost:
        assert f"frames/{number} failed: answered {status}" in result.err


@pytest.mark.parametrize("suffix", ["", "/rendered"])
@pytest.mark.parametrize("workers", [(), ("-m",)])
def test_frames_that_cannot_be_had_are_not_all_asked_for_many_times(
    dcmweb: Dcmweb, suffix: str, workers: tuple[str, ...]
) -> None:
    archive = Archive(make_image(30))
    path = path_of(make_image(30))

    def handle(request: Request) -> Answer:
        return Answer(500, b"no codec") if "/frames/" in request.path else archive(request)

    with serving(handle) as origin:
        arguments = ("--retries", "2", *workers, origin.url, "retrieve", "-o", "out")
        result = dcmweb(*arguments, f"{path}/frames/1-30{suffix}")
    assert result.code in (1, 5)
    assert "no codec" in result.err
    asked = [r.path for r in origin.requests if "/frames/" in r.path and "," not in r.path]
    assert set(asked) == {f"/dicomweb/{path}/frames/{n}{suffix}" for n in range(1, 31)}
    assert len(asked) <= 30 + 3 * 2 * (len(workers) * 4 + 1)


# Files that something is in the way of.


@pytest.mark.parametrize(
    ("path", "lost", "code"),
    [
        ("/metadata", ".json", 1),
        ("/series/1.2.3.4/metadata", ".json", 1),
        ("/series/1.2.3.4/instances/1.2.3.4.2/frames/1-3", "_frame_2.jpg", 1),
        ("/series/1.2.3.4/instances/1.2.3.4.2/frames/1-3/rendered", "_frame_2.jpg", 1),
        ("/series/1.2.3.4/instances/1.2.3.4.2/frames/2", "_frame_2.jpg", 7),
        ("/series/1.2.3.4/instances/1.2.3.4.2/metadata", ".json", 7),
    ],
)
def test_a_folder_where_a_file_has_to_be_fails_that_item_by_name_and_path(
    dcmweb: Dcmweb, tmp_path: Path, path: str, lost: str, code: int
) -> None:
    archive = Archive(*make_series(3))
    place = tmp_path / "out" / "1.2.3" / "1.2.3.4" / f"1.2.3.4.2{lost}"
    place.mkdir(parents=True)

    def handle(request: Request) -> Answer:
        if "/frames/" not in request.path:
            return archive(request)
        numbers = re.findall("[0-9]+", request.path.rpartition("frames/")[2])
        return parts("image/jpeg", *(b"a frame" for _ in numbers))

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", f"studies/1.2.3{path}", "-o", "out")
    assert result.code == code
    assert f"cannot write into {place.relative_to(tmp_path)}" in result.err
    assert len(tree(tmp_path / "out")) == (2 if code == 1 else 0)
    assert place.is_dir()


# Bulk data behind a proxy.


def bulk_data_named(uri: Callable[[str], str]) -> Callable[[Request], Answer]:
    """A server whose instance has bulk data where `uri` says, and the data itself."""

    def handle(request: Request) -> Answer:
        if named(request) == "metadata":
            tags = dict(zip(("0020000D", "0020000E", "00080018"), uids(ONE), strict=True))
            row: dict[str, Any] = {t: {"vr": "UI", "Value": [v]} for t, v in tags.items()}
            element = {"vr": "OB", "BulkDataURI": uri(request.headers["host"])}
            return json_answer([{**row, "7FE00010": element}])
        if request.path == f"/dicomweb/{INSTANCE}/bulk/1":
            return Answer(200, b"data", {"Content-Type": OCTETS})
        return Answer(404)

    return handle


@pytest.mark.parametrize(
    "start",
    [
        "http://pacs.example:8042/dicom-web",
        "https://{host}/dicomweb",
        "http://{host}/inner",
        "http://user:password@pacs.example/a/b/c",
        "//pacs.example/x",
    ],
)
def test_bulk_data_with_an_inner_address_is_had_below_the_base_url(
    dcmweb: Dcmweb, tmp_path: Path, start: str
) -> None:
    handle = bulk_data_named(lambda host: f"{start.format(host=host)}/{INSTANCE}/bulk/1")
    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/bulkdata", "-o", "out")
    assert result.code == 0, result.err
    assert list(tree(tmp_path / "out").values()) == [b"data"]
    assert result.err.count("same paths below BASE_URL") == 1
    assert "password" not in result.err


@pytest.mark.parametrize(
    "path",
    [
        "studies/1.2.3/series/1.2.3.4/instances/9.9/bulk/1",
        f"{INSTANCE}0/bulk/1",
        f"{INSTANCE}/../../secret",
        "bulk/1",
    ],
)
def test_bulk_data_of_something_else_is_not_looked_for_below_the_base_url(
    dcmweb: Dcmweb, tmp_path: Path, path: str
) -> None:
    with serving(bulk_data_named(lambda _: f"http://u:hidden@pacs.example/{path}")) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/bulkdata", "-o", "out")
    assert result.code == 1
    assert f"lies on another server: http://pacs.example/{path}" in result.err
    assert len(origin.requests) == 1
    assert tree(tmp_path / "out") == {}


# Counts that an includefield brings.


class CountsOfFiles(Scripted):
    """Answers an includefield with the count in the file, as Orthanc does."""

    counts_itself = True
    in_file = 896

    def search(self, path: str, query: str) -> Answer:
        tags = {"studies": "00201208", "series": "00201209"}
        tag = tags.get(path.rpartition("/")[2], "")
        rows = [dict(row) for row in self.rows(path, query)]
        for row in rows:
            count = self.in_file if f"includefield={tag}" in query else len(self.files)
            if tag and (self.counts_itself or f"includefield={tag}" in query):
                row[tag] = {"vr": "IS", "Value": [count]}
        offset = int((re.findall("offset=([0-9]+)", query) or ["0"])[0])
        limit = int((re.findall("limit=([0-9]+)", query) or ["1000"])[0])
        return json_answer(rows[offset : offset + limit])


@pytest.mark.parametrize("counts_itself", [True, False])
@pytest.mark.parametrize("in_file", [1, 2, 896])
@pytest.mark.parametrize("path", ["", "studies/1.2.3", "studies/1.2.3/series/1.2.3.4"])
@pytest.mark.parametrize("workers", [(), ("-m",)])
def test_the_listing_decides_where_counts_are_those_of_files(
    dcmweb: Dcmweb, path: str, counts_itself: bool, in_file: int, workers: tuple[str, ...]
) -> None:
    archive = CountsOfFiles(*make_series(2))
    archive.counts_itself, archive.in_file = counts_itself, in_file
    with serving(archive) as origin:
        result = dcmweb(*workers, origin.url, "retrieve", *filter(None, [path]), "-o", "out")
        counts = [
            json.loads(line)
            for line in dcmweb(
                origin.url,
                "search",
                "--format",
                "ndjson",
                "--fields",
                "NumberOfStudyRelatedInstances",
            ).out.splitlines()
        ]
    assert result.code == 0, result.err
    assert "retrieved 2" in result.last
    assert counts == [{"00201208": {"vr": "IS", "Value": [2 if counts_itself else in_file]}}]


@pytest.mark.parametrize(("in_file", "sent"), [(1, 2), (896, 1), (896, 2)])
def test_metadata_is_compared_with_the_listing_where_counts_are_those_of_files(
    dcmweb: Dcmweb, in_file: int, sent: int
) -> None:
    archive, counts = Archive(*make_series(2)), CountsOfFiles(*make_series(2))
    counts.counts_itself, counts.in_file = False, in_file

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if named(request) in LEVELS:
            return counts(request)
        if request.path.endswith("studies/1.2.3/metadata"):
            return replace(answer, body=json.dumps(json.loads(answer.body)[:sent]).encode())
        return answer

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3/metadata")
    assert result.code == 0
    assert len(json.loads(result.out)) == 2


def test_what_would_be_deleted_is_counted_by_the_listing_then(dcmweb: Dcmweb) -> None:
    archive = CountsOfFiles(*make_series(2))
    archive.counts_itself = False
    with serving(archive) as origin:
        result = dcmweb(origin.url, "delete", "studies/1.2.3", "--dry-run")
    assert result.code == 0
    assert "896" not in result.err
    assert "2 instances" in result.err


# Paths as they are printed.


@pytest.mark.parametrize("uid", ["1.2 3", "a/b", "50%", "%2F", "c?d", "\u00e4.1"])
def test_paths_that_a_search_prints_are_retrieved_and_deleted(
    dcmweb: Dcmweb, tmp_path: Path, uid: str
) -> None:
    archive = Scripted(ONE)
    (data,) = archive.files.values()
    archive.files = {(uid, f"{uid}.1", f"{uid}.2"): data}

    def handle(request: Request) -> Answer:
        path = request.path.removeprefix("/dicomweb/")
        if path == str(Resource(uid, f"{uid}.1", f"{uid}.2")) and request.method == "GET":
            return Answer(200, b"frame", {"Content-Type": "image/jpeg"})
        return archive(request)

    with serving(handle) as origin:
        for level in LEVELS:
            printed = dcmweb(origin.url, "search", level, "--format", "uids").out
            dry = dcmweb(origin.url, "retrieve", "-", "--dry-run", "-o", "out", text=printed)
            assert dry.code == 0, dry.err
            assert str(Resource(uid, f"{uid}.1", f"{uid}.2")) in dry.err
        gone = dcmweb(origin.url, "delete", "-", "--yes", text=printed)
    assert gone.code == 0
    assert archive.files == {}
