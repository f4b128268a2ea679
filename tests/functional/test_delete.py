"""`delete`: of what, how long, and with what words where a server will not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving

STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.1"
STORE = "projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"
OPERATION = "projects/p/locations/l/datasets/d/operations/17"


def three_studies() -> Archive:
    return Archive(*[data for n in "123" for data in make_series(2, f"1.{n}", f"1.{n}.1")])


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("studies/1.2", 4),
        ("/studies/1.2/", 4),
        ("studies/1.2/series/1.2.1", 4),
        ("studies/1.2/series/1.2.1/instances/1.2.1.2", 5),
    ],
)
def test_what_a_path_names_is_deleted_and_nothing_else(
    dcmweb: Dcmweb, path: str, left: int
) -> None:
    archive = three_studies()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "delete", path)
    assert (result.code, result.out) == (0, "")
    assert f" -- {path.strip('/')} deleted\n" in result.err
    assert result.last.startswith("deleted 1, ")
    assert len(archive.files) == left
    assert not archive.matching(path.strip("/"))
    assert [(r.method, r.target) for r in origin.requests] == [
        ("DELETE", f"/dicomweb/{path.strip('/')}")
    ]


@pytest.mark.parametrize(
    ("mode", "failure"),
    [([], Answer(404)), ([], Answer(409)), (["-m"], Answer(405)), (["-m"], Answer(500))],
)
def test_one_of_several_that_fails_is_named_and_the_others_are_deleted(
    dcmweb: Dcmweb, mode: list[str], failure: Answer
) -> None:
    archive = three_studies()

    def handle(request: Request) -> Answer:
        return failure if request.path.endswith("/1.2") else archive(request)

    with serving(handle) as origin:
        result = dcmweb(
            *(*mode, "--retries", "0", origin.url, "delete", "studies/1.1", "studies/1.2"),
            *("--path", "/studies/1.3", "--yes"),
        )
    assert result.code == 1
    assert f"studies/1.2 failed: answered {failure.status}" in result.err
    assert re.search(r"deleted 2, .*failed 1", result.last)
    assert {key[0] for key in archive.files} == {"1.2"}


def test_several_are_not_deleted_unless_somebody_says_yes(dcmweb: Dcmweb) -> None:
    archive = three_studies()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "delete", "studies/1.1", "studies/1.2")
    assert result.code == 2
    assert (
        "2 studies would be deleted, and there is no terminal to ask in; give --yes" in result.last
    )
    assert origin.requests == []


def test_a_malformed_path_in_a_list_keeps_all_from_being_deleted(dcmweb: Dcmweb) -> None:
    with serving(three_studies()) as origin:
        result = dcmweb(origin.url, "delete", "-", "--yes", text="studies/1.1\nstudies/1.2/x\n")
    assert result.code == 2
    assert origin.requests == []


@pytest.mark.parametrize("list_", [["-"], ["--files-from", "-"], ["--files-from", "list"]])
def test_paths_come_from_a_list(dcmweb: Dcmweb, tmp_path: Path, list_: list[str]) -> None:
    archive = three_studies()
    text = "studies/1.1\n\nstudies/1.2\nstudies/1.1\n"
    (tmp_path / "list").write_text(text)
    with serving(archive) as origin:
        result = dcmweb(origin.url, "delete", *list_, "--yes", "-m", text=text)
    assert (result.code, result.out) == (0, "")
    assert result.last.startswith("deleted 2, ")
    assert {key[0] for key in archive.files} == {"1.3"}


@pytest.mark.parametrize("options", [(), ("-m",)])
def test_what_goes_with_its_study_is_not_looked_for_after_that(
    dcmweb: Dcmweb, options: tuple[str, ...]
) -> None:
    archive = three_studies()
    instance = "studies/1.1/series/1.1.1/instances/1.1.1.1"
    paths = [instance, "studies/1.1", "studies/1.1/series/1.1.1", "studies/1.2/series/1.2.1"]
    with serving(archive) as origin:
        result = dcmweb(*options, origin.url, "delete", *paths, "--yes")
    assert result.code == 0
    assert result.last.startswith("deleted 2, ")
    assert {key[0] for key in archive.files} == {"1.3"}


def test_a_dry_run_counts_what_would_go(dcmweb: Dcmweb) -> None:
    archive = three_studies()
    with serving(archive) as origin:
        result = dcmweb(
            *(origin.url, "delete", "studies/1.1", "studies/1.2/series/1.2.1", "studies/9"),
            "--dry-run",
        )
    assert result.code == 1
    assert "studies/1.1 would be deleted: 1 series, 2 instances\n" in result.err
    assert "studies/1.2/series/1.2.1 would be deleted: 2 instances\n" in result.err
    assert "studies/9 failed: " in result.err
    assert "Dry run: planned 2, skipped 0, failed 1" in result.last
    assert len(archive.files) == 6
    assert {request.method for request in origin.requests} == {"GET"}


def test_a_manifest_keeps_what_is_gone_from_being_deleted_again(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = three_studies()

    def busy(request: Request) -> Answer:
        return Answer(403) if request.path.endswith("/1.2") else archive(request)

    arguments = ("delete", "studies/1.1", "studies/1.2", "--yes", "--manifest", "m")
    with serving(busy) as origin:
        first = dcmweb(origin.url, *arguments, "--failed-to", "left")
        origin.handler = archive
        again = dcmweb(origin.url, *arguments, "--json")
    assert (first.code, again.code) == (1, 0)
    assert (tmp_path / "left").read_text() == "studies/1.2\n"
    assert "deleted 1, done before 1, " in again.last
    assert [json.loads(line)["type"] for line in again.out.splitlines()] == [
        *("done_before", "deleted", "summary")
    ]


DONE = {
    "200 {}": Answer(200, b"{}"),
    "200": Answer(200),
    "202": Answer(202),
    "204": Answer(204),
    "text": Answer(200, b"deleted"),
    "at once": Answer(200, json.dumps({"name": OPERATION, "done": True, "response": {}}).encode()),
}


def test_every_way_of_saying_done_is_success_without_a_further_request(dcmweb: Dcmweb) -> None:
    answers = dict(zip([f"studies/1.{n}" for n in range(len(DONE))], DONE.values(), strict=True))
    with serving(lambda r: answers[r.path.removeprefix("/dicomweb/")]) as origin:
        result = dcmweb(origin.url, "delete", *answers, "--yes")
    assert result.code == 0
    assert re.findall(" -- (.*) deleted\n", result.err) == list(answers)
    assert [r.method for r in origin.requests] == ["DELETE"] * len(answers)


# Operations that are waited for.


class Operating:
    """Begins an operation on DELETE; answers to GET with these, one after the other."""

    def __init__(self, *answers: Answer | dict[str, Any]) -> None:
        self.answers = list(answers)

    def __call__(self, request: Request) -> Answer:
        if request.method == "DELETE":
            return Answer(200, json.dumps({"name": OPERATION}).encode())
        answer = self.answers.pop(0)
        if isinstance(answer, Answer):
            return answer
        return Answer(200, json.dumps({"name": OPERATION, **answer}).encode())


def counter(**counts: str) -> dict[str, Any]:
    return {"metadata": {"counter": counts, "logsUrl": "https://logs.example/17"}}


@pytest.mark.parametrize(
    ("base", "version"),
    [
        (f"/v1/{STORE}", "/v1"),
        (f"/v1beta1/{STORE}/", "/v1beta1"),
        (f"/emulator/v1/{STORE}", "/emulator/v1"),
    ],
)
def test_an_operation_is_asked_for_at_the_api_version_of_base_url_until_it_is_done(
    dcmweb: Dcmweb, base: str, version: str
) -> None:
    operating = Operating(
        counter(pending="2"), {**counter(success="2"), "done": True, "response": {}}
    )
    with serving(operating) as origin:
        result = dcmweb(f"http://127.0.0.1:{origin.port}{base}", "delete", STUDY)
    assert result.code == 0
    assert f" -- {STUDY} deleted\n" in result.err
    assert [(r.method, r.target) for r in origin.requests] == [
        ("DELETE", f"{base.rstrip('/')}/{STUDY}"),
        ("GET", f"{version}/{OPERATION}"),
        ("GET", f"{version}/{OPERATION}"),
    ]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"done": True, "error": {"code": 7, "message": "no\x1b[2J permission"}}, r"no\x1b[2J per"),
        ({"done": True, **counter(success="1", failure="2")}, "2 failures"),
    ],
    ids=["error", "failures counted"],
)
def test_an_operation_that_fails_is_a_refusal_with_its_words(
    dcmweb: Dcmweb, end: dict[str, Any], words: str
) -> None:
    with serving(Operating(end)) as origin:
        result = dcmweb(f"http://127.0.0.1:{origin.port}/v1/{STORE}", "delete", STUDY)
    assert result.code == 5
    assert words in result.err
    assert "deleted\n" not in result.err


def test_an_operation_that_cannot_be_asked_for_for_a_moment_is_asked_for_again(
    dcmweb: Dcmweb,
) -> None:
    operating = Operating(Answer(503), Answer(cut=-1), {"done": True, "response": {}})
    with serving(operating) as origin:
        result = dcmweb("--retries", "2", origin.url, "delete", STUDY)
    assert result.code == 0
    assert [r.method for r in origin.requests] == ["DELETE", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("../../v2/elsewhere", 8), ("//elsewhere.invalid/x", 0), ("http://elsewhere.invalid/x", 0)],
)
def test_the_name_of_an_operation_leads_to_no_other_place(
    dcmweb: Dcmweb, name: str, code: int
) -> None:
    def handle(request: Request) -> Answer:
        done = request.method == "GET"
        return Answer(200, json.dumps({"name": name, "done": done}).encode())

    with serving(handle) as origin:
        result = dcmweb(f"http://127.0.0.1:{origin.port}/v1/{STORE}", "delete", STUDY)
    assert result.code == code
    assert all(r.target.startswith("/v1/") for r in origin.requests)
    assert len(origin.requests) == (1 if code else 2)


def test_without_waiting_operations_are_printed_and_waited_for_later(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    operating = Operating(counter(pending="2"), {"done": True}, {"done": True})
    with serving(operating) as origin:
        url = f"http://127.0.0.1:{origin.port}/v1/{STORE}"
        begun = dcmweb(url, "delete", STUDY, "--no-wait", "--manifest", "m")
        asked = len(origin.requests)
        waited = dcmweb(url, "wait", "-", text=begun.out)
        by_url = dcmweb(url, "wait", f"http://127.0.0.1:{origin.port}/v1/{OPERATION}")
    assert (begun.code, begun.out, asked) == (0, f"{OPERATION}\n", 1)
    assert "begun 1" in begun.last
    assert f"{STUDY} begun as operation {OPERATION}" in begun.err
    assert "deleted\n" not in begun.err
    assert json.loads((tmp_path / "m").read_text().splitlines()[-2])["type"] == "begun"
    assert waited.code == by_url.code == 0
    assert f"operation {OPERATION} finished" in waited.err
    assert {r.target for r in origin.requests[1:]} == {f"/v1/{OPERATION}"}


def test_what_was_only_begun_is_not_done_for_a_manifest(dcmweb: Dcmweb) -> None:
    with serving(Operating({"done": True})) as origin:
        url = f"http://127.0.0.1:{origin.port}/v1/{STORE}"
        dcmweb(url, "delete", STUDY, "--no-wait", "--manifest", "m")
        result = dcmweb(url, "delete", STUDY, "--manifest", "m")
    assert "deleted 1" in result.last


def test_operations_begun_are_events_if_events_are_wanted(dcmweb: Dcmweb) -> None:
    with serving(Operating()) as origin:
        url = f"http://127.0.0.1:{origin.port}/v1/{STORE}"
        result = dcmweb(url, "delete", STUDY, "--no-wait", "--json")
    event = json.loads(result.out.splitlines()[0])
    assert (event["type"], event["item"], event["place"]) == ("begun", STUDY, OPERATION)


def test_a_deletion_that_is_done_at_once_has_no_operation_to_print(dcmweb: Dcmweb) -> None:
    with serving(three_studies()) as origin:
        result = dcmweb(origin.url, "delete", "studies/1.2", "--no-wait")
    assert (result.code, result.out) == (0, "")
    assert "deleted 1" in result.last


def test_operations_that_failed_are_named_among_others(dcmweb: Dcmweb, tmp_path: Path) -> None:
    operating = Operating({"done": True, "error": {"message": "no permission"}}, {"done": True})
    with serving(operating) as origin:
        url = f"http://127.0.0.1:{origin.port}/v1/{STORE}"
        result = dcmweb(url, "wait", f"{OPERATION}1", f"{OPERATION}2", "--failed-to", "failed")
        operating.answers.append({"done": True, "error": {"message": "no permission"}})
        alone = dcmweb(url, "wait", OPERATION)
    assert result.code == 1
    assert "no permission" in result.err
    assert "finished 1" in result.last
    assert (tmp_path / "failed").read_text() == f"{OPERATION}1\n"
    assert alone.code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [((), 2), (("http://elsewhere.invalid/v1/op",), 2), (("/",), 2), (("-",), 3), (("..",), 8)],
)
def test_what_is_no_operation_is_not_asked_for(
    dcmweb: Dcmweb, arguments: tuple[str, ...], code: int
) -> None:
    with serving(Operating()) as origin:
        result = dcmweb(f"http://127.0.0.1:{origin.port}/v1/{STORE}", "wait", *arguments)
    assert result.code == code, result.err
    assert not origin.requests


# Servers that will not.


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(404), 3, "404"),
        (Answer(403), 4, "reject"),
        (Answer(405), 5, "--orthanc-api auto"),
        (Answer(409, b'{"errorMessage": "not rejected"}'), 5, "not rejected"),
        (Answer(409), 5, "--reject-as CODE, such as 113001^DCM"),
        (Answer(302, headers={"Location": "/login"}), 5, "/login"),
        (Answer(200, b"<!doctype html><p>hello"), 8, "web page"),
    ],
)
def test_a_refusal_has_its_exit_code_and_says_what_to_do(
    dcmweb: Dcmweb, answer: Answer, code: int, words: str
) -> None:
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "0", origin.url, "delete", STUDY)
    assert result.code == code
    assert words in result.err
    assert result.last.startswith("deleted 0, ")
    assert [r.method for r in origin.requests] == ["DELETE"]


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [""],
        ["studies"],
        [f"{STUDY}/frames"],
        [f"{INSTANCE}/frames/1"],
        [STUDY, "studies"],
        ["--path", ""],
    ],
)
def test_what_cannot_be_deleted_is_a_usage_error_before_any_request(
    dcmweb: Dcmweb, paths: list[str]
) -> None:
    with serving(three_studies()) as origin:
        result = dcmweb(origin.url, "delete", *paths)
    assert result.code == 2
    assert " -- Error: " in result.err
    assert origin.requests == []


LOST = [Answer(cut=-1), Answer(200, b"{}", cut=0), Answer(502), Answer(504)]


@pytest.mark.parametrize("lost", [*LOST, Answer(500), Answer(503)])
def test_what_is_gone_after_an_answer_got_lost_was_deleted(dcmweb: Dcmweb, lost: Answer) -> None:
    answers = [lost, Answer(404)]
    with serving(lambda _: answers.pop(0)) as origin:
        result = dcmweb("--retries", "1", origin.url, "delete", STUDY)
    assert result.code == 0
    assert f"{STUDY} is gone, after an attempt that broke off" in result.err
    assert f"{STUDY} deleted" in result.err


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("then", [None, Answer(500)])
def test_where_the_answer_got_lost_nobody_knows_whether_it_was_deleted(
    dcmweb: Dcmweb, lost: Answer, then: Answer | None
) -> None:
    """What the server says of later attempts does not answer for the first one."""
    answers = [lost, then or lost]

    def handle(request: Request) -> Answer:
        return Answer(204) if request.path.endswith("9.9") else answers.pop(0)

    with serving(handle) as origin:
        result = dcmweb(
            "--retries", "1", origin.url, "delete", STUDY, "studies/9.9", "--json", "--yes"
        )
    events = [json.loads(line) for line in result.out.splitlines()]
    assert {e["item"]: e["type"] for e in events[:-1]} == {
        STUDY: "unknown", "studies/9.9": "deleted"
    }  # fmt: skip
    assert "the server may have done it" in result.err
    assert result.code == 1


@pytest.mark.parametrize("lost", LOST)
def test_one_resource_whose_answer_got_lost_is_counted_as_unknown(
    dcmweb: Dcmweb, lost: Answer
) -> None:
    with serving(lambda _: lost) as origin:
        result = dcmweb("--retries", "0", origin.url, "delete", STUDY, "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [(e["type"], e.get("item")) for e in events[:-1]] == [("unknown", STUDY)]
    assert "failed 0, unknown 1; " in result.err
    assert result.code == events[-1]["exit_code"] > 1


def test_what_was_never_sent_is_failed(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        return Answer(500 if request.path.endswith(STUDY) else 204)

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "delete", STUDY, "studies/9.9", "--yes")
    assert f"{STUDY} failed: answered 500" in result.err


def test_an_error_is_none_the_less_one_for_its_status_200(dcmweb: Dcmweb) -> None:
    body = json.dumps({"error": {"message": "not allowed"}}).encode()
    with serving(lambda _: Answer(200, body)) as origin:
        result = dcmweb(origin.url, "delete", STUDY)
    assert result.code == 5
    assert "not allowed" in result.err
