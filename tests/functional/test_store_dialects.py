"""`store` to servers that refuse whole requests: over one bad part, or as they want others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, Scripted, json_answer, sent_parts, store_response
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import as_xml, became, outcomes, posts, taking, uids

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.3.4"  # of the series; those of the instances end in 1, 2, 3
HTML = b"<!DOCTYPE html><title>Sign in</title>"
JSON = {"Content-Type": "application/dicom+json"}
XML = {"Content-Type": "application/dicom+xml"}
UPLOADED, FAILED = "uploaded", "failed"


def all_but(bad: str, archive: Archive, answer: Answer) -> Callable[[Request], Answer]:
    """A server that stores what it can, and answers so if one instance was among it."""

    def store(request: Request) -> Answer:
        parts = sent_parts(request)
        good = [archive.add(p) for p, uid in zip(parts, uids(request), strict=True) if uid != bad]
        return json_answer(store_response(good)) if len(good) == len(parts) else answer

    return store


# Refusals of a whole request, of which one part is bad.

ORTHANC = {"HttpStatus": 400, "Message": "Bad file format", "OrthancError": "Bad file format"}
REFUSALS = {
    "Orthanc": (json_answer(ORTHANC, 400), "Bad file format"),
    "400": (Answer(400), "status 400"),
    "409": (Answer(409), "status 409"),
    "409 with an empty module": (Answer(409, b"{}", JSON), "status 409"),
    "400 with a web page": (Answer(400, HTML, {"Content-Type": "text/html"}), "an HTML page"),
    "422": (Answer(422, b"no"), "422"),
    "500": (Answer(500), "500"),
    "503": (Answer(503), "503"),
    "a broken connection": (Answer(cut=-1), "broke"),
}


@pytest.mark.parametrize("answer", [Answer(500), Answer(503), Answer(cut=-1)])
def test_the_culprit_is_found_among_many(dcmweb: Dcmweb, tmp_path: Path, answer: Answer) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(64))
    with serving(taking(archive, all_but(f"{UID}.1", archive, answer))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert result.code == 1
    names = sorted(became(result).items())
    assert [outcome for _, outcome in names] == [FAILED] + [UPLOADED] * 63


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("bad", [1, 6])
def test_the_culprit_is_found_and_the_others_are_stored(
    dcmweb: Dcmweb, tmp_path: Path, name: str, bad: int
) -> None:
    answer, words = REFUSALS[name]
    archive = Archive()
    write_files(tmp_path / "in", make_series(8))
    with serving(taking(archive, all_but(f"{UID}.{bad}", archive, answer))) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert result.code == 1
    culprit = f"{bad}.dcm"
    expected = {f"{n}.dcm": UPLOADED for n in range(1, 9)} | {culprit: FAILED}
    assert became(result) == expected
    assert words in outcomes(result)[culprit][1]
    assert "stored 7, skipped 0, failed 1;" in result.last
    assert len(archive.files) == 7
    # Of 8, in groups of 3, 3 and 2, and by themselves; of a broken connection, a search tells more.
    assert len(posts(origin)) == (2 if "broken" in name else 7)


def test_a_refusal_without_a_reason_is_explained_by_what_is_wrong_with_the_file(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    one, two = make_series(2)
    write_files(tmp_path / "in", [one, two[:-100]])
    archive = Archive()
    with serving(taking(archive, all_but(f"{UID}.2", archive, Answer(400)))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": UPLOADED, "2.dcm": FAILED})
    assert outcomes(result)["2.dcm"][1].endswith("it ends inside element (7FE0,0010)")


# Servers that want other requests. Files of the same UID travel in requests of their own.

TWICE = [*make_series(3), *make_series(3)]


def test_a_server_that_takes_single_instances_only_is_asked_once_for_more(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Scripted()

    def store(request: Request) -> Answer:
        multipart = request.headers["content-type"].startswith("multipart")
        return Answer(415) if multipart else archive.store(request)

    write_files(tmp_path / "in", TWICE)
    with serving(store) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert "stored 6, skipped 0, failed 0;" in result.last
    first, *rest = posts(origin)
    assert 'type="application/dicom"' in first.headers["content-type"]
    assert {request.headers["content-type"] for request in rest} == {"application/dicom"}
    assert [request.body for request in rest] == TWICE


@pytest.mark.parametrize("count", [1, 3])
def test_a_server_that_takes_neither_form_is_a_failure(
    dcmweb: Dcmweb, tmp_path: Path, count: int
) -> None:
    write_files(tmp_path / "in", make_series(count))
    with serving(lambda _: Answer(415)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert set(became(result).values()) == {FAILED}
    assert f"stored 0, skipped 0, failed {count};" in result.last
    assert len(posts(origin)) <= 2 + 2 * count


def test_one_instance_of_a_kind_the_server_does_not_take_does_not_change_the_form(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", [*TWICE, *make_series(4)])
    with serving(taking(archive, all_but(f"{UID}.4", archive, Answer(415)))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, list(became(result).values()).count(UPLOADED)) == (1, 9)
    assert all("multipart" in request.headers["content-type"] for request in posts(origin))


def test_a_server_that_answers_in_xml_only_is_asked_for_xml_from_then_on(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    def store(request: Request) -> Answer:
        if request.headers["accept"] != "application/dicom+xml":
            return Answer(406)
        return Answer(200, as_xml(store_response([(CT, uid) for uid in uids(request)])), XML)

    write_files(tmp_path / "in", TWICE)
    with serving(store) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert [request.headers["accept"] for request in posts(origin)] == [
        "application/dicom+json",
        "application/dicom+xml",
        "application/dicom+xml",
    ]


def test_a_server_that_takes_small_requests_only_is_sent_small_ones_from_then_on(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Scripted()
    files = [*make_series(8), *make_series(8)]
    most = 5 * len(files[0])
    write_files(tmp_path / "in", files)
    with serving(
        taking(archive, lambda r: archive.store(r) if len(r.body) < most else Answer(413))
    ) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert "stored 16, skipped 0, failed 0;" in result.last
    assert [len(sent_parts(request)) for request in posts(origin)] == [8, 4, 4, 4, 4]


def test_an_instance_too_large_for_the_server_is_a_failure_of_its_own(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    small = make_series(3)
    large = make_series(4)[3] + b"\0" * 100_000
    write_files(tmp_path / "in", [*small, large])
    with serving(
        taking(archive, lambda r: archive.store(r) if len(r.body) < 50_000 else Answer(413))
    ) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert sorted(archive.files.values()) == sorted(small)
    assert outcomes(result)["4.dcm"][1].startswith("answered 413 ")


@pytest.mark.slow
def test_a_server_that_takes_the_first_of_each_request_gets_them_all(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(100))

    def store(request: Request) -> Answer:
        return json_answer(store_response([archive.add(sent_parts(request)[0])]))

    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert len(archive.files) == 100
    assert len(posts(origin)) == 100
