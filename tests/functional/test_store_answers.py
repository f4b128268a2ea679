"""How the answers to a store are read: what counts as stored, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, json_answer, sent_parts, store_response
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import as_xml, became, outcomes, posts, taking, uids

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.3.4"  # of the series; those of the instances end in 1, 2, 3
HTML = b"<!DOCTYPE html><title>Sign in</title>"
JSON = {"Content-Type": "application/dicom+json"}
XML = {"Content-Type": "application/dicom+xml"}
UPLOADED, EXISTS, FAILED, UNKNOWN = "uploaded", "already there", "failed", "unknown"

Module = dict[str, Any]


def element(vr: str, *values: Any) -> Module:
    return {"vr": vr, "Value": list(values)}


def referenced(number: int, **more: Module) -> Module:
    return {"00081150": element("UI", CT), "00081155": element("UI", f"{UID}.{number}"), **more}


def refused(number: int, reason: int, detail: Module | None = None) -> Module:
    """A response module in which one instance has failed."""
    item = referenced(number, **{"00081197": element("US", reason)}, **(detail or {}))
    return {"00081198": element("SQ", item)}


# What a response module says.


@pytest.mark.parametrize("kind", ["json", "json in an array", "xml"])
@pytest.mark.parametrize("status", [200, 202, 400, 409])
def test_instances_are_what_the_response_module_says_of_each(
    dcmweb: Dcmweb, tmp_path: Path, status: int, kind: str
) -> None:
    place = "http://example.org/studies/1.2.3/x"
    module = {
        "00081190": element("UR", "http://example.org/studies/1.2.3"),
        "00081199": element(
            "SQ",
            referenced(1, **{"00081190": element("UR", place)}),
            referenced(3, **{"00081196": element("US", 0xB000)}),
        ),
        **refused(2, 0x0122),
    }
    content: Any = [module] if "array" in kind else module
    body = as_xml(module) if kind == "xml" else json.dumps(content).encode()
    write_files(tmp_path / "in", make_series(3))
    with serving(lambda _: Answer(status, body, XML if kind == "xml" else JSON)) as origin:
        result = dcmweb(origin.url, "store", "in")
    own = f"{origin.url}/studies/1.2.3/series/{UID}/instances/{UID}.3"
    assert outcomes(result) == {
        "1.dcm": (UPLOADED, place),
        "2.dcm": (FAILED, "SOP Class not supported (0122H)"),
        "3.dcm": (UPLOADED, f"{own}, but: data elements were coerced (B000H)"),
    }
    assert (result.code, result.out) == (1, "")
    assert "in 2 files: stored 2, skipped 0, failed 1;" in result.last
    assert len(origin.requests) == 1


TAKEN = "instance 1.2.3 already exists"
REASONS = [
    (0x0110, {}, FAILED, "processing failure (0110H)"),
    (0x0110, {"00090097": TAKEN}, EXISTS, f"processing failure (0110H): {TAKEN}"),
    (0x0110, {"00091097": TAKEN}, EXISTS, f"processing failure (0110H): {TAKEN}"),
    (0x0110, {"00091097": "bad\x1b[2J"}, FAILED, r"processing failure (0110H): bad\x1b[2J"),
    (0x0111, {}, EXISTS, "duplicate SOP Instance (0111H)"),
    (45070, {}, EXISTS, "already stored, or being stored (B00EH)"),
    (0xA901, {}, FAILED, "the Study Instance UID is not that of the request (A901H)"),
    (0xA9FE, {}, FAILED, "the data set does not match its SOP Class (A9FEH)"),
    (0xC122, {}, FAILED, "transfer syntax not supported (C122H)"),
    (0x1234, {}, FAILED, "unlisted reason (1234H)"),
    (0x0124, {"00000902": "no consent"}, FAILED, "not authorised (0124H): no consent"),
]


def test_reasons_are_said_in_words_and_what_is_there_already_is_no_failure(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    failed: list[Any] = []
    for number, (reason, details, _, _) in enumerate(REASONS, start=1):
        more = {tag: element("LT", text) for tag, text in details.items()}
        failed += refused(number, reason, more)["00081198"]["Value"]
    write_files(tmp_path / "in", make_series(len(REASONS)))
    with serving(lambda _: json_answer({"00081198": element("SQ", *failed)}, 409)) as origin:
        result = dcmweb(origin.url, "store", "in")
    expected = {f"{n:02}.dcm": (was, words) for n, (_, _, was, words) in enumerate(REASONS, 1)}
    assert outcomes(result) == expected
    assert result.code == 1
    assert "stored 0, already there 4, skipped 0, failed 7;" in result.last


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (refused(1, 45070), "(B00EH)"),
        (refused(1, 0x0110, {"00091097": element("LT", TAKEN)}), TAKEN),
    ],
    ids=["Azure", "Google"],
)
def test_a_run_in_which_all_is_there_already_is_a_success(
    dcmweb: Dcmweb, tmp_path: Path, module: Module, words: str
) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(lambda _: json_answer(module, 409)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert became(result) == {"1.dcm": EXISTS}
    assert words in result.err
    assert "in 0 files: stored 0, already there 1, skipped 0, failed 0;" in result.last


@pytest.mark.parametrize(("is_there", "outcome"), [(True, EXISTS), (False, FAILED)])
def test_plain_words_about_what_exists_are_looked_into(
    dcmweb: Dcmweb, tmp_path: Path, is_there: bool, outcome: str
) -> None:
    (data,) = make_series(1)
    write_files(tmp_path / "in", [data])
    refusal = json_answer({"error": {"code": 409, "message": TAKEN.upper()}}, 409)
    archive = Archive(*[data] * is_there)
    with serving(taking(archive, lambda _: refusal)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert became(result) == {"1.dcm": outcome}
    assert result.code == (not is_there)
    assert TAKEN.upper() in result.err


@pytest.mark.parametrize("reason", [0xA700, 0xB00F])
@pytest.mark.parametrize(("times", "outcome"), [(1, UPLOADED), (2, FAILED)])
def test_what_the_server_had_no_resources_for_is_sent_again_by_itself(
    dcmweb: Dcmweb, tmp_path: Path, reason: int, times: int, outcome: str
) -> None:
    archive = Archive()
    sent: list[list[str]] = []

    def store(request: Request) -> Answer:
        sent.append(uids(request))
        if len(sent) > times:
            return archive.store(request)
        good = [(CT, uid) for uid in sent[-1] if uid != f"{UID}.2"]
        return json_answer(store_response(good, [(CT, f"{UID}.2", reason)]), 202)

    write_files(tmp_path / "in", make_series(3))
    with serving(taking(archive, store)) as origin:
        result = dcmweb("--retries", "1", origin.url, "store", "in")
    assert sent == [[f"{UID}.1", f"{UID}.2", f"{UID}.3"], [f"{UID}.2"]]
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": outcome, "3.dcm": UPLOADED}
    assert result.code == (outcome == FAILED)
    assert result.last.endswith("1 retry")


def test_an_instance_that_is_named_as_stored_and_as_failed_is_failed(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    module = {"00081199": element("SQ", referenced(1)), **refused(1, 0x0110)}
    write_files(tmp_path / "in", make_series(1))
    with serving(lambda _: json_answer(module)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": FAILED})


@pytest.mark.parametrize("tag", ["0008119A", "00081198"], ids=["other failures", "nameless"])
def test_failures_without_a_uid_are_those_of_the_instances_without_a_word(
    dcmweb: Dcmweb, tmp_path: Path, tag: str
) -> None:
    nameless = {"00081197": element("US", 0xC000), "00091097": element("LT", "no DICOM")}
    module = {
        "00081199": element("SQ", referenced(1), referenced(3)),
        tag: element("SQ", nameless),
    }
    write_files(tmp_path / "in", make_series(3))
    with serving(lambda _: json_answer(module, 202)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": FAILED, "3.dcm": UPLOADED}
    assert outcomes(result)["2.dcm"][1].endswith("(C000H): no DICOM")
    assert len(origin.requests) == 1


# Which instance is meant.


@pytest.mark.parametrize("named", [f"{UID}.1", f"{UID}.9"], ids=["data set", "file meta"])
@pytest.mark.parametrize("outcome", [UPLOADED, FAILED])
def test_an_instance_may_be_called_as_its_file_meta_information_does(
    dcmweb: Dcmweb, tmp_path: Path, named: str, outcome: str
) -> None:
    (data,) = make_series(1)
    write_files(tmp_path / "in", [data.replace(f"{UID}.1".encode(), f"{UID}.9".encode(), 1)])
    good, bad = store_response([(CT, named)]), store_response(failed=[(CT, named, 0x0110)])
    with serving(lambda _: json_answer(good if outcome == UPLOADED else bad)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (outcome == FAILED, {"1.dcm": outcome})
    assert len(origin.requests) == 1


def test_a_name_in_the_file_meta_information_does_not_stand_for_another_instance(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    one, two = make_series(2)
    misnamed = one.replace(f"{UID}.1".encode(), f"{UID}.2".encode(), 1)
    archive = Archive()

    def store(request: Request) -> Answer:
        good = [archive.add(part) for part in sent_parts(request) if part == two]
        return json_answer(store_response(good))

    write_files(tmp_path / "in", [misnamed, two])
    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (1, {"1.dcm": UNKNOWN, "2.dcm": UPLOADED})
    assert list(archive.files.values()) == [two]


def test_files_of_the_same_uid_do_not_share_a_request(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = [*make_series(2), *make_series(2)]
    write_files(tmp_path / "in", files)
    refusal = json_answer({**store_response([(CT, f"{UID}.1")]), **refused(2, 0x0110)})
    with serving(lambda r: Archive().store(r) if files[0] in r.body else refusal) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert [sent_parts(request) for request in posts(origin)] == [files[:2], files[2:]]
    assert list(became(result).values()) == [UPLOADED, UPLOADED, UPLOADED, FAILED]


# Success that does not say of what.

SILENT = {
    "no content": Answer(204),
    "nothing": Answer(200),
    "an empty object": Answer(200, b"{}", JSON),
    "an empty array": Answer(200, b"[]", JSON),
    "an empty model": Answer(200, as_xml({}), XML),
    "half a module": Answer(200, b'{"00081199": {"vr": "SQ", "Val', JSON),
    "text": Answer(200, b"Thank you!", {"Content-Type": "text/plain"}),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_an_answer_does_not_mention_is_searched_for(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    archive = Archive()

    def store(request: Request) -> Answer:
        for part, uid in zip(sent_parts(request), uids(request), strict=True):
            if uid != f"{UID}.2":
                archive.add(part)
        return SILENT[name]

    write_files(tmp_path / "in", make_series(3))
    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 1
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": UNKNOWN, "3.dcm": UPLOADED}
    assert "a search finds it" in outcomes(result)["1.dcm"][1]
    assert ("Thank you!" in outcomes(result)["2.dcm"][1]) == (name == "text")
    assert "in 2 files: stored 2, skipped 0, failed 0, unknown 1;" in result.last
    assert [uids(request) for request in posts(origin)][1:] == [[f"{UID}.2"]]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(500),
        Answer(200, HTML, {"Content-Type": "text/html"}),
        json_answer([{"00080018": element("UI", f"{UID}.7")}]),
        json_answer([{}]),
    ],
    ids=["404", "500", "a web page", "another instance", "no UID"],
)
def test_a_search_that_does_not_find_it_leaves_an_instance_unknown(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer
) -> None:
    write_files(tmp_path / "in", make_series(1))
    with serving(lambda r: Answer(200) if r.method == "POST" else answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert result.code == 1
    assert became(result) == {"1.dcm": UNKNOWN}
    assert "without a word about it" in result.err


def test_a_web_page_in_place_of_success_ends_the_run(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(lambda _: Answer(200, HTML, {"Content-Type": "text/html"})) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 8
    assert "answers with a web page, not with DICOMweb" in result.err
    assert became(result) == {"1.dcm": FAILED, "2.dcm": FAILED}
    assert result.last.endswith("stopped early")
