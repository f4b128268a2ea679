"""What `store` sends again, by what the server received: the bounds of `docs/sending.md`."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, Scripted, json_answer, sent_parts, store_response
from tests.functional.origin import Answer, Handler, Origin, Request, serving
from tests.functional.storing import as_xml, became, first, outcomes, posts, taking, uids

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.3.4"  # of the series; those of the instances end in 1, 2, 3
HTML = {"Content-Type": "text/html"}
PAGE = b"<!DOCTYPE html><html><head><title>Bad Gateway</title></head></html>"
NOT_FOUND = Answer(404, PAGE, HTML)
UPLOADED, FAILED, UNKNOWN = "uploaded", "failed", "unknown"
MEGABYTE = 1_000_000


def received(origin: Origin) -> Counter[str]:
    """In how many requests each instance was."""
    return Counter(uid for request in posts(origin) for uid in uids(request))


def keeping(archive: Archive, answer: Answer) -> Handler:
    """A server that stores all it gets, and gives an answer that says nothing of that."""

    def store(request: Request) -> Answer:
        for part in sent_parts(request):
            archive.add(part)
        return answer

    return store


def keeping_the_first(archive: Archive, answer: Answer) -> Handler:
    def store(request: Request) -> Answer:
        archive.add(sent_parts(request)[0])
        return answer

    return store


# Dialects without faults. A file is sent twice at most.

Make = Callable[[Archive], Handler]


def with_status(archive: Archive, status: int) -> Handler:
    return lambda request: replace(archive.store(request), status=status)


def in_xml(archive: Archive) -> Handler:
    def store(request: Request) -> Answer:
        if request.headers["accept"] != "application/dicom+xml":
            return Answer(406)
        good = [archive.add(part) for part in sent_parts(request)]
        content_type = {"Content-Type": "application/dicom+xml"}
        return Answer(200, as_xml(store_response(good)), content_type)

    return store


def single(archive: Archive) -> Handler:
    def store(request: Request) -> Answer:
        is_single = request.headers["content-type"] == "application/dicom"
        return archive.store(request) if is_single else Answer(415)

    return store


DIALECTS: dict[str, tuple[Make, int]] = {
    "as the standard has it": (lambda archive: archive.store, 1),
    "201": (lambda archive: with_status(archive, 201), 1),
    "206": (lambda archive: with_status(archive, 206), 1),
    "207": (lambda archive: with_status(archive, 207), 1),
    "201 without a body": (lambda archive: keeping(archive, Answer(201)), 1),
    "204": (lambda archive: keeping(archive, Answer(204)), 1),
    "text": (lambda a: keeping(a, Answer(200, b"ok", {"Content-Type": "text/plain"})), 1),
    "202 with text": (lambda archive: keeping(archive, Answer(202, b"queued")), 1),
    "single instances": (single, 2),
    "XML": (in_xml, 2),
    "the first of each, silently": (lambda archive: keeping_the_first(archive, Answer(200)), 2),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_in_a_dialect_without_faults_no_file_is_sent_more_than_twice(
    dcmweb: Dcmweb, tmp_path: Path, name: str
) -> None:
    make, most = DIALECTS[name]
    archive = Archive()
    files = make_series(20)
    write_files(tmp_path / "in", files)
    with serving(taking(archive, make(archive))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert sorted(archive.files.values()) == sorted(files)
    assert len(received(origin)) == 20
    assert max(received(origin).values()) == most


def test_results_for_each_instance_are_read_from_207(dcmweb: Dcmweb, tmp_path: Path) -> None:
    module = store_response([(CT, f"{UID}.1"), (CT, f"{UID}.3")], [(CT, f"{UID}.2", 0x0122)])
    write_files(tmp_path / "in", make_series(3))
    with serving(lambda _: json_answer(module, 207)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, len(origin.requests)) == (1, 1)
    assert became(result) == {"1.dcm": UPLOADED, "2.dcm": FAILED, "3.dcm": UPLOADED}


# What a server accepted, and stores later.


@pytest.mark.parametrize("option", [[], ["--verify"]])
def test_what_is_accepted_is_asked_for_later_and_not_sent_again(
    dcmweb: Dcmweb, tmp_path: Path, option: list[str]
) -> None:
    archive = Archive()
    arrived: list[tuple[float, bytes]] = []

    def handle(request: Request) -> Answer:
        if request.method == "POST":
            arrived.extend((time.monotonic() + 0.5, part) for part in sent_parts(request))
            return Answer(202)
        while arrived and arrived[0][0] < time.monotonic():
            archive.add(arrived.pop(0)[1])
        return archive(request)

    write_files(tmp_path / "in", make_series(9))
    with serving(handle) as origin:
        result = dcmweb(origin.url, "store", "in", *option)
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert set(received(origin).values()) == {1}
    assert "accepted (202), but a search finds it" in outcomes(result)["1.dcm"][1]


def test_what_is_accepted_and_never_listed_is_unknown(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [*make_series(5), *make_series(5)])
    with serving(taking(Archive(), lambda _: Answer(202))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (1, {UNKNOWN})
    assert set(received(origin).values()) == {2}  # of two files each
    assert "accepted (202); not listed yet" in outcomes(result)["01.dcm"][1]


def test_verify_settles_what_was_unknown(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive()
    searches: list[str] = []

    def handle(request: Request) -> Answer:
        if request.method == "POST":
            return keeping(archive, Answer(200))(request)
        searches.append(request.query)
        return Answer(500) if "SOPInstanceUID" in request.query else archive(request)

    write_files(tmp_path / "in", make_series(1))
    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in", "--verify")
    assert result.code == 0
    assert "1.dcm unknown: answered 200 without a word about it" in result.err
    assert "Verified: the server lists 1 of 1 instance\n" in result.err
    assert "stored 1, skipped 0, failed 0;" in result.last
    assert "unknown 1:" not in result.err
    assert set(received(origin).values()) == {1}


def test_a_server_that_names_nothing_and_has_no_search_is_not_sent_all_twice(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(30))
    with serving(lambda r: Answer(200) if r.method == "POST" else Answer(501)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (1, {UNKNOWN})
    assert received(origin).total() == 30 + 3


# Answers that are lost.


def test_what_was_stored_though_a_proxy_answered_is_found_by_asking(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(20))
    with serving(taking(archive, keeping(archive, Answer(502, PAGE, HTML)))) as origin:
        result = dcmweb("--retries", "1", origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert set(received(origin).values()) == {2}
    assert "answered 502 Bad Gateway" in outcomes(result)["01.dcm"][1]


@pytest.mark.parametrize("answer", [Answer(504, PAGE, HTML), Answer(cut=-1)], ids=["504", "broken"])
@pytest.mark.parametrize(("can_search", "outcome"), [(True, FAILED), (False, UNKNOWN)])
def test_what_never_got_an_answer_is_failed_if_the_search_says_no_and_else_unknown(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, can_search: bool, outcome: str
) -> None:
    write_files(tmp_path / "in", make_series(2))
    archive = Archive()
    search = archive if can_search else lambda _: Answer(501)
    with serving(taking(search, lambda _: answer)) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in")
    assert set(became(result).values()) == {outcome}
    assert max(received(origin).values()) == 2
    words = "a search does not find it" if can_search else "the server cannot be asked"
    assert words in outcomes(result)["1.dcm"][1]


@pytest.mark.parametrize("bad", [1, 11, 20])
def test_a_server_that_dies_at_one_file_leaves_the_others_stored(
    dcmweb: Dcmweb, tmp_path: Path, bad: int
) -> None:
    archive = Archive()

    def store(request: Request) -> Answer:
        for part, uid in zip(sent_parts(request), uids(request), strict=True):
            if uid == f"{UID}.{bad}":
                return Answer(cut=-1)
            archive.add(part)
        return json_answer(store_response([(CT, uid) for uid in uids(request)]))

    write_files(tmp_path / "in", make_series(20))
    with serving(taking(archive, store)) as origin:
        result = dcmweb("--retries", "1", origin.url, "store", "in")
    assert result.code == 1
    culprit = f"{bad:02}.dcm"
    assert became(result) == {f"{n:02}.dcm": UPLOADED for n in range(1, 21)} | {culprit: FAILED}
    counts = received(origin)
    assert counts.pop(f"{UID}.{bad}") <= 2 + 1 + 2  # with all, in a group, by itself
    assert max(counts.values()) <= 4


def test_a_large_file_is_not_sent_again_if_the_server_has_it(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    large = make_series(1)[0] + b"\0" * 2 * MEGABYTE
    write_files(tmp_path / "in", [large])
    with serving(taking(archive, keeping(archive, Answer(cut=-1)))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, became(result)) == (0, {"1.dcm": UPLOADED})
    assert len(posts(origin)) == 1


def test_files_that_were_never_sent_are_not_unknown(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/dicomweb"
    write_files(tmp_path / "in", make_series(3))
    result = dcmweb("--retries", "0", url, "store", "in")
    assert result.code == 6
    assert set(became(result).values()) == {FAILED}
    assert "no connection to" in outcomes(result)["1.dcm"][1]


def test_files_without_an_answer_are_unknown_when_the_server_has_gone(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    servers: list[Origin] = []

    def store(_: Request) -> Answer:
        servers[0].close()  # nobody listens any more
        return Answer(cut=-1)

    write_files(tmp_path / "in", make_series(3))
    with serving(store) as origin:
        servers.append(origin)
        result = dcmweb("--retries", "1", origin.url, "store", "in")
    assert result.code == 6
    assert set(became(result).values()) == {UNKNOWN}
    assert "it was sent, and no answer came" in outcomes(result)["1.dcm"][1]


def test_a_batch_at_which_a_server_stalls_is_split_at_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive()

    def store(request: Request) -> Answer:
        if f"{UID}.7" in uids(request):
            return Answer(200, b"{}", stall=0)
        return archive.store(request)

    write_files(tmp_path / "in", make_series(9))
    with serving(taking(archive, store)) as origin:
        result = dcmweb("--timeout", "1", "--retries", "1", origin.url, "store", "in")
    assert result.code == 1
    expected = {f"{n}.dcm": UPLOADED for n in range(1, 10)} | {"7.dcm": FAILED}
    assert became(result) == expected
    counts = received(origin)
    assert counts.pop(f"{UID}.7") == 1 + 1 + 2
    assert max(counts.values()) <= 3


def test_a_server_that_stalls_at_everything_stops_the_run(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(9))
    with serving(lambda _: Answer(200, b"{}", stall=0)) as origin:
        result = dcmweb("--timeout", "1", "--retries", "0", origin.url, "store", "in")
    assert result.code == 6
    assert set(became(result).values()) == {UNKNOWN}
    assert len(posts(origin)) == 1


# Servers in trouble.


@pytest.mark.parametrize("status", [424, 507])
def test_a_server_in_trouble_is_tried_with_one_file(
    dcmweb: Dcmweb, tmp_path: Path, status: int
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(20))
    trouble: list[Handler] = [lambda _: Answer(status, b"no room")]
    with serving(taking(archive, first(trouble, archive.store))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert [len(sent_parts(request)) for request in posts(origin)] == [20, 1, 19]


@pytest.mark.parametrize("status", [424, 507])
def test_a_server_that_stays_in_trouble_stops_the_run(
    dcmweb: Dcmweb, tmp_path: Path, status: int
) -> None:
    write_files(tmp_path / "in", [*make_series(20), *make_series(20)])
    with serving(lambda _: Answer(status, b"no room")) as origin:
        result = dcmweb("--retries", "2", origin.url, "store", "in", "--failed-to", "failed")
    assert result.code == 5
    assert "no room" in result.err
    failed = len((tmp_path / "failed").read_text().splitlines())
    assert failed >= 20
    assert f"failed {failed}; " in result.last
    assert [len(sent_parts(request)) for request in posts(origin)] == [20, 1, 1]


def test_nobody_waits_a_day_for_a_server_in_trouble(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(lambda _: Answer(507, headers={"Retry-After": "86400"})) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (5, {FAILED})
    assert len(posts(origin)) == 1


def test_one_request_is_sent_again_when_the_server_says(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(20))
    busy: list[Handler] = [lambda _: Answer(503, headers={"Retry-After": "0"})]
    with serving(taking(archive, first(busy, archive.store))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert set(received(origin).values()) == {2}


@pytest.mark.parametrize(("status", "code"), [(400, 1), (422, 1), (500, 5)])
def test_a_server_that_refuses_everything_gets_no_file_more_than_three_times(
    dcmweb: Dcmweb, tmp_path: Path, status: int, code: int
) -> None:
    write_files(tmp_path / "in", make_series(30))
    with serving(lambda _: Answer(status)) as origin:
        result = dcmweb("--retries", "0", origin.url, "store", "in", "--failed-to", "failed")
    assert (result.code, set(became(result).values()) - {FAILED}) == (code, set())
    assert len((tmp_path / "failed").read_text().splitlines()) == 30
    assert max(received(origin).values()) <= 3


# Requests that are too large.


def limited(archive: Archive, most: int) -> Handler:
    """A server that has a web page for what is too large, as IIS 10 has (404.13)."""
    return lambda r: archive.store(r) if len(r.body) <= most else NOT_FOUND


def test_a_page_in_place_of_413_means_smaller_requests(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive()
    files = [one + b"\0" * MEGABYTE for one in make_series(6)]
    write_files(tmp_path / "in", files)
    with serving(taking(archive, limited(archive, 3_100_000))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert set(received(origin).values()) == {2}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_file_that_is_too_large_fails_by_name_and_the_others_are_stored(
    dcmweb: Dcmweb, tmp_path: Path, is_first: bool
) -> None:
    archive = Archive()
    one, two, three = make_series(3)
    files = [one, two, three]
    files[0 if is_first else 1] += b"\0" * 9 * MEGABYTE
    write_files(tmp_path / "in", files)
    with serving(taking(archive, limited(archive, MEGABYTE))) as origin:
        result = dcmweb(origin.url, "store", "in")
    large = "1.dcm" if is_first else "2.dcm"
    expected = dict.fromkeys(["1.dcm", "2.dcm", "3.dcm"], UPLOADED) | {large: FAILED}
    assert (result.code, became(result)) == (1, expected)
    assert "may be too large" in outcomes(result)[large][1]
    assert set(received(origin).values()) == {1}


@pytest.mark.parametrize("size", [0, 2 * MEGABYTE], ids=["small", "large"])
def test_a_page_that_says_not_found_to_all_is_a_wrong_address(
    dcmweb: Dcmweb, tmp_path: Path, size: int
) -> None:
    write_files(tmp_path / "in", [make_series(1)[0] + b"\0" * size])
    with serving(lambda _: NOT_FOUND) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 3
    assert "check the path" in result.err
    assert len(posts(origin)) == 1


def test_a_page_that_says_not_found_to_a_small_request_is_an_error_later_as_well(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive()
    write_files(tmp_path / "in", make_series(1) * 3)
    with serving(taking(archive, first([archive.store], lambda _: NOT_FOUND))) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert result.code == 3
    assert list(became(result).values()) == [UPLOADED, FAILED]


# Servers that store under other UIDs.


def renaming(*, urls: bool) -> Handler:
    """A gateway that gives new UIDs; its search knows these alone."""
    held: list[str] = []

    def handle(request: Request) -> Answer:
        if request.method != "POST":
            return json_answer(
                [
                    {
                        "0020000D": {"vr": "UI", "Value": ["9.9"]},
                        "0020000E": {"vr": "UI", "Value": ["9.9.1"]},
                        "00080018": {"vr": "UI", "Value": [uid]},
                    }
                    for uid in (held if "offset" not in request.query else [])
                ]
            )
        new = []
        for _ in sent_parts(request):
            held.append(f"9.9.1.{len(held) + 1}")
            new.append(held[-1])
        module = store_response([(CT, uid) for uid in new])
        for item in module["00081199"]["Value"] if urls else ():
            (uid,) = item["00081155"]["Value"]
            place = f"http://gateway/studies/9.9/series/9.9.1/instances/{uid}"
            item["00081190"] = {"vr": "UR", "Value": [place]}
        return json_answer(module)

    return handle


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


@pytest.mark.parametrize("urls", [False, True], ids=["without URLs", "with URLs"])
def test_an_instance_that_gets_another_uid_is_stored_under_that(
    dcmweb: Dcmweb, tmp_path: Path, urls: bool
) -> None:
    write_files(tmp_path / "in", make_series(1))
    arguments = ("store", "in", "--manifest", "m")
    with serving(renaming(urls=urls)) as origin:
        result = dcmweb(origin.url, *arguments, "--verify")
        again = dcmweb(origin.url, *arguments)
    assert (result.code, again.code) == (0, 0)
    assert "the server stores it as 9.9.1.1" in outcomes(result)["1.dcm"][1]
    assert "Verified: the server lists 1 of 1 instance\n" in result.err
    (event, *_) = events(tmp_path / "m")
    assert (event["type"], event["instance"]) == ("stored", "9.9.1.1")
    assert event.get("study") == ("9.9" if urls else None)
    assert "done before 1" in again.last
    assert len(posts(origin)) == 1


def test_several_instances_that_get_other_uids_are_unknown_and_the_rest_goes_one_by_one(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", [*make_series(4), *make_series(4)])
    with serving(renaming(urls=False)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, list(became(result).values())) == (1, [UNKNOWN] * 4 + [UPLOADED] * 4)
    assert "by UIDs that were not sent" in outcomes(result)["1.dcm"][1]
    assert [len(sent_parts(request)) for request in posts(origin)] == [4, 1, 1, 1, 1]


def test_an_answer_that_names_what_another_request_sent_is_not_taken_for_new_uids(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Scripted()
    late = [json_answer(store_response([(CT, "1.2.3.4.1")]))]

    def store(request: Request) -> Answer:
        if len(uids(request)) > 1:
            return Answer(409)
        return late.pop() if late and uids(request) == ["1.2.3.4.2"] else archive.store(request)

    with serving(taking(archive, store)) as origin:
        result = dcmweb(origin.url, "store", "in", "--manifest", "m")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert [key[2] for key in archive.files] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    assert [event["instance"] for event in events(tmp_path / "m")[:3]] == [
        key[2] for key in archive.files
    ]


def test_uids_without_their_leading_zeros_are_those_that_were_sent(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    files = [
        one.replace(b"1.2.3.4.%d\0" % n, b"1.2.3.4.0%d" % n)
        for n, one in enumerate(make_series(3), start=1)
    ]
    write_files(tmp_path / "in", files)
    module = store_response([(CT, f"{UID}.{n}") for n in (3, 1, 2)])
    with serving(lambda _: json_answer(module)) as origin:
        result = dcmweb(origin.url, "store", "in")
    assert (result.code, set(became(result).values())) == (0, {UPLOADED})
    assert "the server stores it as 1.2.3.4.1" in outcomes(result)["1.dcm"][1]
    assert len(origin.requests) == 1
