"""`retrieve` of frames, as they are stored and as pictures."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series, tree
from tests.functional.archive import BOUNDARY, LEVELS, Archive, Scripted, json_answer
from tests.functional.archives import make_image, path_of
from tests.functional.origin import Answer, Request, serving

INSTANCE = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
PLACE = "1.2.3/1.2.3.4/1.2.3.4.1"
AS_STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
OCTETS = "application/octet-stream"
JPEG = "1.2.840.10008.1.2.4.50"


def picture(number: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n frame %d IEND\xaeB`\x82" % number


def parts_answer(*parts: tuple[str, bytes], **how: Any) -> Answer:
    """A multipart answer whose parts have media types of their own; "" for none."""
    body = b""
    for kind, data in parts:
        head = f"Content-Type: {kind}\r\n" if kind else ""
        body += f"--{BOUNDARY}\r\n{head}\r\n".encode() + data + b"\r\n"
    headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
    return Answer(200, body + f"--{BOUNDARY}--\r\n".encode(), headers, **how)


EXTENSIONS = {
    OCTETS: ".raw",
    "": ".raw",  # as it was asked for
    "image/jpeg": ".jpg",
    "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80": ".jls",
    "IMAGE/JP2": ".jp2",
    "image/x-dicom-rle": ".rle",
    "video/mpeg2": ".mpg",
    "application/x-unheard-of": ".bin",
    "../../evil": ".bin",
}


def test_frames_are_named_by_their_number_and_by_the_type_they_came_in(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    numbers = list(range(5, 5 + 2 * len(EXTENSIONS), 2))
    path = f"{INSTANCE}/frames/{','.join(map(str, numbers))}"
    answer = parts_answer(*((kind, b"of " + kind.encode()) for kind in EXTENSIONS))
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"/{path}", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == {
        f"{PLACE}_frame_{number}{extension}": b"of " + kind.encode()
        for number, (kind, extension) in zip(numbers, EXTENSIONS.items(), strict=True)
    }
    (request,) = origin.requests
    assert request.target == f"/dicomweb/{path}"
    assert request.headers["accept"] == AS_STORED
    assert request.headers["accept-encoding"] == "identity"


def test_ranges_of_frames_are_written_out(dcmweb: Dcmweb, tmp_path: Path) -> None:
    answer = parts_answer(*((OCTETS, b"frame %d" % n) for n in (1, 3, 4, 5)))
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/1,3-5", "-o", "out")
    assert result.code == 0
    assert [r.path for r in origin.requests] == [f"/dicomweb/{INSTANCE}/frames/1,3,4,5"]
    assert tree(tmp_path / "out") == {
        f"{PLACE}_frame_{n}.raw": b"frame %d" % n for n in (1, 3, 4, 5)
    }


@pytest.mark.parametrize("frames", ["0", "x", "3-1", "1,,2"])
def test_what_is_no_list_of_frames_is_a_usage_error_before_any_request(
    dcmweb: Dcmweb, frames: str
) -> None:
    with serving(lambda _: Answer(404)) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/{frames}")
    assert result.code == 2
    assert origin.requests == []


@pytest.mark.parametrize("together", [1, 2, 4])
def test_frames_are_asked_for_one_by_one_where_others_come_together(
    dcmweb: Dcmweb, tmp_path: Path, together: int
) -> None:
    """Nobody knows then which of them have come."""
    wrong = parts_answer(*[(OCTETS, b"which one?")] * together)

    def answer(request: Request) -> Answer:
        named = request.path.rpartition("/")[2]
        if "," in named:
            return wrong
        return Answer(404) if named == "6" else parts_answer((OCTETS, named.encode()))

    with serving(answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/4,6-7", "-o", "out")
    assert result.code == 1
    assert f"{INSTANCE}/frames/6 failed: " in result.err
    assert "retrieved 2, skipped 0, failed 1;" in result.last
    assert tree(tmp_path / "out") == {f"{PLACE}_frame_{n}.raw": b"%d" % n for n in (4, 7)}


def test_one_part_for_several_frames_is_none_of_them(dcmweb: Dcmweb, tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        named = request.path.rpartition("/")[2]
        return Answer(200, named.encode(), {"Content-Type": OCTETS})

    with serving(answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/1,2", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == {f"{PLACE}_frame_{n}.raw": b"%d" % n for n in (1, 2)}


def test_what_comes_beside_the_one_frame_asked_for_is_not_kept_in_its_place(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    answer = parts_answer((OCTETS, b"first"), (OCTETS, b"second"))
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "retrieve", f"{INSTANCE}/frames/2", "-o", "out")
    assert result.code == 8
    assert "other frames" in result.err
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (parts_answer((OCTETS, b"a"), (OCTETS, b"b"), (OCTETS, b"c")), 8),
        (parts_answer(), 8),
        (parts_answer((OCTETS, b""), (OCTETS, b"b")), 8),
        (Answer(200, b'{"error": "busy"}', {"Content-Type": "application/json"}), 8),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), 8),
        (Answer(400, json.dumps({"Details": "no such frame"}).encode()), 5),
        (Answer(404), 3),
        (Answer(406), 5),
    ],
    ids=["too many", "none", "an empty one", "an error", "a web page", "400", "404", "406"],
)
def test_an_answer_that_is_not_the_frames_asked_for_ends_with_the_code_of_its_kind(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, code: int
) -> None:
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", f"{INSTANCE}/frames/1,2")
    assert result.code == code
    assert "Error: " in result.err
    if code == 5 and answer.body:
        assert "no such frame" in result.err


@pytest.mark.parametrize("cut", [30, 120, -3])
def test_frames_of_an_answer_that_is_cut_are_whole_or_absent(
    dcmweb: Dcmweb, tmp_path: Path, cut: int
) -> None:
    frames = {f"{PLACE}_frame_{n}.raw": bytes([n]) * 40 for n in (1, 2)}
    whole = parts_answer(*((OCTETS, data) for data in frames.values()))
    end = cut % len(whole.body)
    broken = Answer(200, whole.body, whole.headers, close=True, cut=end)
    with serving(lambda _: broken) as origin:
        arguments = ("--retries", "1", origin.url, "retrieve", f"{INSTANCE}/frames/1,2")
        result = dcmweb(*arguments, "-o", "out")
        assert result.code == 8
        assert tree(tmp_path / "out").items() <= frames.items()
        origin.handler = lambda _: whole
        assert dcmweb(*arguments, "-o", "out").code == 0
    assert tree(tmp_path / "out") == frames


# All frames of instances, as pictures.


@dataclass
class Images:
    """A study with an image of one frame, one of three, and a report.

    Rows and NumberOfFrames are told in search results, or in the metadata only.
    """

    told_in_rows: bool = True
    failing: tuple[str, ...] = ()  # ends of paths
    failure: Answer = field(default=Answer(400, b'{"message": "cannot render"}'))

    def __post_init__(self) -> None:
        self.archive = Scripted(*make_series(3))

    def attributes(self, uid: str) -> dict[str, Any]:
        count = {"1.2.3.4.1": 1, "1.2.3.4.2": 3, "1.2.3.4.3": 0}[uid]
        if not count:
            return {"00080060": {"vr": "CS", "Value": ["SR"]}}
        found = {"00280010": {"vr": "US", "Value": [16]}}
        return found | ({"00280008": {"vr": "IS", "Value": [str(count)]}} if count > 1 else {})

    def __call__(self, request: Request) -> Answer:
        path = request.path.removeprefix("/dicomweb/")
        if path.endswith(self.failing or "?"):
            return self.failure
        if path.endswith("/instances") and self.told_in_rows:
            return self.rows(path, request.query)
        return self.archive(request) if path.endswith(LEVELS) else self.content(path, request)

    def rows(self, path: str, query: str) -> Answer:
        rows = self.archive.rows(path, query)
        told = [row | self.attributes(row["00080018"]["Value"][0]) for row in rows]
        return json_answer([] if "offset" in query else told)

    def content(self, path: str, request: Request) -> Answer:
        if path.endswith("/metadata"):
            return json_answer([self.attributes(path.split("/")[5])])
        if match := re.search(r"/frames/(\d+)/rendered$", path):
            kind = request.headers["accept"].partition(";")[0]
            return Answer(200, picture(int(match[1])), {"Content-Type": kind})
        if match := re.search(r"/frames/([\d,]+)$", path):
            numbers = [int(number) for number in match[1].split(",")]
            return parts_answer(*(("image/jpeg", b"stored %d" % n) for n in numbers))
        return Answer(404)


PICTURES = {
    "1.2.3/1.2.3.4/1.2.3.4.1_frame_1.png": picture(1),
    **{f"1.2.3/1.2.3.4/1.2.3.4.2_frame_{n}.png": picture(n) for n in (1, 2, 3)},
}


@pytest.mark.parametrize(
    ("path", "told_in_rows"),
    [("", True), ("", False), ("studies/1.2.3", False), ("studies/1.2.3/series/1.2.3.4", True)],
)
def test_every_frame_becomes_a_picture_and_what_is_no_image_is_skipped(
    dcmweb: Dcmweb, tmp_path: Path, path: str, told_in_rows: bool
) -> None:
    with serving(Images(told_in_rows)) as origin:
        result = dcmweb(
            *("-m", origin.url, "retrieve", *filter(None, [path]), "-o", "out"),
            *("--type", "image/png"),
        )
    assert result.code == 0
    assert tree(tmp_path / "out") == PICTURES
    assert "instances/1.2.3.4.3 skipped: " in result.err
    assert "retrieved 4, skipped 1, failed 0;" in result.last
    rendered = [r for r in origin.requests if r.path.endswith("/rendered")]
    assert {r.headers["accept"] for r in rendered} == {"image/png"}
    asked_for_metadata = any(r.path.endswith("/metadata") for r in origin.requests)
    assert asked_for_metadata or told_in_rows


def test_one_frame_of_an_instance_can_be_had_as_a_picture(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Images()) as origin:
        result = dcmweb(
            *(origin.url, "retrieve", f"{INSTANCE}/frames/2", "-o", "out"),
            *("--type", "image/jpeg"),
        )
    assert result.code == 0
    assert tree(tmp_path / "out") == {f"{PLACE}_frame_2.jpg": picture(2)}
    assert [r.path for r in origin.requests] == [f"/dicomweb/{INSTANCE}/frames/2/rendered"]


@pytest.mark.parametrize("failure", [Answer(500), Answer(404), Answer(400, b'{"error": "no"}')])
def test_a_frame_that_fails_in_the_middle_is_named_and_the_others_come(
    dcmweb: Dcmweb, tmp_path: Path, failure: Answer
) -> None:
    failing = "instances/1.2.3.4.2/frames/2/rendered"
    with serving(Images(failing=(failing,), failure=failure)) as origin:
        result = dcmweb(
            *("--retries", "0", origin.url, "retrieve", "-o", "out", "--type", "image/png")
        )
    lost = "1.2.3/1.2.3.4/1.2.3.4.2_frame_2.png"
    assert result.code == 1
    assert f"instances/1.2.3.4.2/frames/2 failed: answered {failure.status}" in result.err
    assert "retrieved 3, skipped 1, failed 1;" in result.last
    assert tree(tmp_path / "out") == {k: v for k, v in PICTURES.items() if k != lost}


@pytest.mark.parametrize("path", ["/frames/1/rendered", "/metadata"])
def test_an_instance_that_fails_is_named_and_the_others_come(
    dcmweb: Dcmweb, tmp_path: Path, path: str
) -> None:
    images = Images(told_in_rows=False, failing=(f"1.2.3.4.2{path}",))
    with serving(images) as origin:
        result = dcmweb(
            *("--retries", "0", origin.url, "retrieve", "-o", "out", "--type", "image/png")
        )
    assert result.code == 1
    assert re.search(r"instances/1\.2\.3\.4\.2\S* failed: .*cannot render", result.err)
    lost = "4.2_" if path == "/metadata" else "4.2_frame_1."
    assert tree(tmp_path / "out") == {k: v for k, v in PICTURES.items() if lost not in k}


def test_jpeg_with_a_transfer_syntax_means_the_frames_as_they_are_stored(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    with serving(Images()) as origin:
        result = dcmweb(
            *(origin.url, "retrieve", "studies/1.2.3", "-o", "out"),
            *("--type", f"image/jpeg;transfer-syntax={JPEG}"),
        )
    assert result.code == 0
    assert tree(tmp_path / "out") == {
        name.replace(".png", ".jpg"): b"stored %d" % int(name[-5]) for name in PICTURES
    }
    asked = {r.path: r.headers["accept"] for r in origin.requests if "/frames/" in r.path}
    accept = f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}'
    assert asked == {
        f"/dicomweb/{INSTANCE}/frames/1": accept,
        f"/dicomweb/{INSTANCE[:-1]}2/frames/1,2,3": accept,
    }


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"close": True}, 0),
        ({"close": True, "cut": 12}, 8),
        ({"cut": 12}, 8),
        ({"chunk": 5, "cut": 25}, 8),
    ],
    ids=["closing", "closing and cut", "length and cut", "chunked and cut"],
)
def test_a_picture_is_written_when_all_of_it_came(
    dcmweb: Dcmweb, tmp_path: Path, how: dict[str, Any], code: int
) -> None:
    answer = Answer(200, picture(1), {"Content-Type": "image/png"}, **how)
    with serving(lambda _: answer) as origin:
        result = dcmweb(
            *("--retries", "0", origin.url, "retrieve", f"{INSTANCE}/frames/1"),
            *("--type", "image/png", "-o", "out"),
        )
    assert result.code == code
    assert tree(tmp_path / "out") == ({} if code else {f"{PLACE}_frame_1.png": picture(1)})


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_what_is_no_picture_is_not_written(dcmweb: Dcmweb, tmp_path: Path, kind: str) -> None:
    with serving(lambda _: Answer(200, b"<html>login</html>", {"Content-Type": kind})) as origin:
        result = dcmweb(
            *(origin.url, "retrieve", f"{INSTANCE}/frames/1", "--type", "image/png", "-o", "out")
        )
    assert result.code == 8
    assert tree(tmp_path / "out") == {}


def test_no_instances_to_take_frames_from_means_nothing_matched(dcmweb: Dcmweb) -> None:
    with serving(Scripted()) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "--type", "image/png")
    assert result.code == 3


def test_the_metadata_is_asked_where_a_row_does_not_tell_the_number_of_frames(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    images = Images()

    def handle(request: Request) -> Answer:
        answer = images(request)
        if not request.path.endswith(LEVELS) or answer.status != 200:
            return answer
        rows = [{k: v for k, v in r.items() if k != "00280008"} for r in json.loads(answer.body)]
        return json_answer(rows)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "--type", "image/png", "-o", "out")
    assert result.code == 0
    assert len(tree(tmp_path / "out")) == 4


@pytest.mark.parametrize("path", [[], ["studies/1.2.3"]])
def test_a_study_whose_instances_are_not_listed_is_no_success(
    dcmweb: Dcmweb, path: list[str]
) -> None:
    images = Images()

    def handle(request: Request) -> Answer:
        return Answer(204) if request.path.endswith("/instances") else images(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", *path, "--type", "image/png", "-o", "out")
    assert result.code == (3 if path else 1)
    assert "studies/1.2.3" in result.err


def test_an_instance_without_metadata_is_not_taken_for_a_document(dcmweb: Dcmweb) -> None:
    images = Images(told_in_rows=False)

    def handle(request: Request) -> Answer:
        return json_answer([]) if request.path.endswith("/metadata") else images(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/1.2.3", "--type", "image/png", "-o", "out")
    assert result.code == 1
    assert "there is no metadata of" in result.err


@pytest.mark.parametrize("mode", [(), ("-j", "4")])
@pytest.mark.parametrize("kind", ["application/octet-stream; transfer-syntax=*", "image/png"])
def test_many_frames_are_asked_for_some_at_a_time(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...], kind: str
) -> None:
    archive = Archive(make_image(250))
    with serving(archive) as origin:
        for name, path in (("one", path_of(make_image(1))), ("all", "studies/1.2.3")):
            result = dcmweb(*mode, origin.url, "retrieve", path, "--type", kind, "-o", name)
            assert result.code == 0, result.err
            assert "retrieved 250, " in result.last
    assert max(len(request.target) for request in origin.requests) < 1000
    assert tree(tmp_path / "one") == tree(tmp_path / "all")
    numbers = {re.search(r"_frame_(\d+)\.", place) for place in tree(tmp_path / "all")}
    assert {int(match[1]) for match in numbers if match} == set(range(1, 251))


def test_a_frame_that_is_shorter_than_its_part_says_is_not_kept(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    head = f"--{BOUNDARY}\r\nContent-Type: {OCTETS}\r\nContent-Length: 100\r\n\r\n"
    body = f"{head}short\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f'multipart/related; type="{OCTETS}"; boundary={BOUNDARY}'}
    with serving(lambda _: Answer(200, body, kind)) as origin:
        path = f"{INSTANCE}/frames/1"
        result = dcmweb("--retries", "0", origin.url, "retrieve", path, "-o", "out")
    assert result.code != 0
    assert "5 of 100 bytes came" in result.err
    assert tree(tmp_path / "out") == {}
