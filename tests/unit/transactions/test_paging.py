"""Queries and their pages: how targets are written, and that no row is lost or doubled."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import NothingMatched, ProtocolError, Refused
from dcmweb.transactions.search import paging_quirks
from dcmweb.transactions.search.listing import Lister
from dcmweb.transactions.search.paging import (
    Page,
    Pages,
    Query,
    fetch_page,
    resource_of,
)
from tests.unit.conftest import Answer, Archive, Row, Serve, row, studies

STUDIES = Query(Resource(), Level.STUDIES)


@pytest.mark.parametrize(
    ("resource", "level", "parameters", "target"),
    [
        (Resource(), Level.STUDIES, [], "studies"),
        (Resource("1.2"), Level.SERIES, [], "studies/1.2/series"),
        (Resource("1", "2"), Level.INSTANCES, [], "studies/1/series/2/instances"),
        (Resource("a/b?"), Level.SERIES, [], "studies/a%2Fb%3F/series"),
        (Resource(), Level.STUDIES, [("a", "1"), ("b", "2"), ("a", "3")], "studies?a=1&b=2&a=3"),
        (Resource(), Level.STUDIES, [("PatientName", "Doe^J*")], "studies?PatientName=Doe^J*"),
        (Resource(), Level.STUDIES, [("d", "2024-2025,x")], "studies?d=2024-2025,x"),
        (
            Resource(),
            Level.STUDIES,
            [("n", "a &c=d+e#f/g%")],
            "studies?n=a%20%26c%3Dd%2Be%23f%2Fg%25",
        ),
        (Resource(), Level.STUDIES, [("n", "Müller")], "studies?n=M%C3%BCller"),
        (Resource(), Level.STUDIES, [("00101002.00100020", "x")], "studies?00101002.00100020=x"),
        (Resource(), Level.STUDIES, [("k&y", "")], "studies?k%26y="),
    ],
)  # fmt: skip
def test_targets(
    resource: Resource, level: Level, parameters: list[tuple[str, str]], target: str
) -> None:
    assert Query(resource, level, tuple(parameters)).target(None, 0) == target


def test_limit_and_offset_come_last() -> None:
    query = Query(Resource(), Level.STUDIES, (("a", "1"),)).including("00201208", "x")
    assert (
        query.target(10, 20)
        == "studies?a=1&includefield=00201208&includefield=x&limit=10&offset=20"
    )
    assert query.target(0, 0) == "studies?a=1&includefield=00201208&includefield=x&limit=0"


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (Answer.rows(studies(2)), Page(studies(2))),
        (Answer.rows([]), Page([])),
        (Answer(200, b""), Page([])),
        (Answer(204, b""), Page([])),
        (Answer(200, b'{"0020000D": {"vr": "UI", "Value": ["1.0"]}}'), Page(studies(1))),
        (Answer.rows(studies(1), 206), Page(studies(1), more=True)),
        (Answer.rows(studies(1), warning="299 - additional ones"), Page(studies(1), more=True)),
        (Answer.rows(studies(1), warning='299 - "fuzzy matching unsupported"'), Page(studies(1))),
    ],
)  # fmt: skip
def test_pages_however_a_server_answers(answer: Answer, page: Page, serve: Serve) -> None:
    context, _ = serve(lambda *_: answer)
    assert fetch_page(context, "studies") == page


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(200, b"<html><title>Login</title>"), ProtocolError, "web page"),
        (Answer(200, b"hello", {"Content-Type": "text/plain"}), ProtocolError, "text/plain"),
        (Answer(200, b'["1.2"]'), ProtocolError, "the answer is JSON, but not DICOM JSON"),
        (Answer(404, b""), NothingMatched, "404"),
        (Answer(400, b"bad parameter"), Refused, "bad parameter"),
    ],
)
def test_answers_that_are_no_page(
    answer: Answer, error: type[Exception], words: str, serve: Serve
) -> None:
    context, server = serve(lambda *_: answer)
    with pytest.raises(error, match=words):
        fetch_page(context, "studies?PatientName=Doe")
    assert len(server.targets) == 1


def test_a_caret_is_escaped_for_a_server_that_wants_it_so(serve: Serve) -> None:
    raw: list[bool] = []

    def strict(*_: Any) -> Answer:
        raw.append(context.session.sends_raw_carets)
        return Answer(400) if context.session.sends_raw_carets else Answer.rows(studies(1))

    context, _ = serve(strict)
    for _attempt in range(2):
        assert fetch_page(context, "studies?PatientName=Doe^J").rows == studies(1)
    assert raw == [True, False, False]


def test_what_fails_with_an_escaped_caret_too_is_an_error(serve: Serve) -> None:
    context, server = serve(lambda *_: Answer(400, b"no"))
    for expected in (2, 3):
        with pytest.raises(Refused):
            fetch_page(context, "studies?PatientName=Doe^J")
        assert len(server.targets) == expected


@pytest.mark.parametrize(
    "archive",
    [
        Archive(studies(7)),
        Archive(studies(7), cap=2),
        Archive(studies(7), cap=1),
        Archive(studies(7), empty=204),
        Archive(studies(7), warns=True),
        Archive(studies(6)),
        Archive([]),
        Archive([], empty=204),
    ],
)
def test_all_rows_come_once_in_order(archive: Archive, serve: Serve) -> None:
    context, server = serve(archive, page_size=3)
    pages = Pages(context, STUDIES)
    assert list(pages) == archive.rows
    assert pages.complete
    assert pages.found == len(archive.rows)
    assert server.targets[0] == "studies?limit=3"
    assert len(server.targets) <= len(archive.rows) + 1


def test_the_offset_moves_on_by_what_came(serve: Serve) -> None:
    context, server = serve(Archive(studies(5), cap=2), page_size=3)
    assert len(list(Pages(context, Query(Resource(), Level.STUDIES, offset=1)))) == 4
    assert server.targets == [f"studies?limit=3&offset={offset}" for offset in (1, 3, 5)]


@pytest.mark.parametrize(("wanted", "asked"), [(2, [2]), (3, [3]), (5, [3, 2]), (7, [3, 3, 1])])
def test_no_more_rows_are_asked_for_than_wanted(
    wanted: int, asked: list[int], serve: Serve
) -> None:
    context, server = serve(Archive(studies(10)), page_size=3)
    pages = Pages(context, STUDIES, wanted=wanted)
    assert list(pages) == studies(wanted)
    assert not pages.complete
    assert [target.split("limit=")[1].split("&")[0] for target in server.targets] == [
        str(size) for size in asked
    ]


def test_fewer_rows_than_wanted_are_all(serve: Serve) -> None:
    context, _ = serve(Archive(studies(4)), page_size=3)
    pages = Pages(context, STUDIES, wanted=9)
    assert list(pages) == studies(4)
    assert pages.complete


def test_pages_are_fetched_as_they_are_needed(serve: Serve) -> None:
    context, server = serve(Archive(studies(9)), page_size=3)
    rows = iter(Pages(context, STUDIES))
    assert server.targets == []
    for _ in range(3):
        next(rows)
    assert len(server.targets) == 1


@pytest.mark.parametrize(
    ("count", "cap", "complete"), [(9, 10, False), (3, 10, False), (2, 10, True)]
)
def test_a_server_that_ignores_the_offset_is_recognised(
    count: int, cap: int, complete: bool, serve: Serve
) -> None:
    said: list[str] = []
    archive = Archive(studies(count), cap, ignores_offset=True)
    context, server = serve(archive, notify=said.append, page_size=3)
    pages = Pages(context, STUDIES)
    assert list(pages) == studies(min(count, 3))
    assert pages.complete is complete
    assert len(server.targets) <= 2 + paging_quirks.FIRST_PAGES_AGAIN
    assert ["ignores offset" in text for text in said] == [] if complete else [True]


def test_the_offset_counts_as_ignored_after_the_first_page_three_times_more(serve: Serve) -> None:
    context, server = serve(Archive(studies(5), ignores_offset=True), page_size=3)
    assert list(Pages(context, STUDIES)) == studies(3)
    assert server.targets == [
        "studies?limit=3",
        "studies?limit=3&offset=3",
        "studies?limit=3&offset=6",
        "studies?limit=3&offset=9",
        "studies?limit=1&offset=1012",  # far off, to be sure
    ]


def test_the_first_page_twice_more_is_still_taken_for_results_that_shift(serve: Serve) -> None:
    """Three rows come in at the front before the second request, and three before the third."""
    archive = Archive(studies(9))
    asked: list[str] = []

    def restless(path: str, parameters: dict[str, str]) -> Answer:
        if 1 <= len(asked) <= 2:
            archive.rows[:0] = [row(f"9.{len(asked)}.{n}") for n in range(3)]
        asked.append(path)
        return archive(path, parameters)

    context, server = serve(restless, page_size=3)
    pages = Pages(context, STUDIES)
    assert list(pages) == studies(9)
    assert pages.complete
    assert not any("limit=1&" in target for target in server.targets)


def test_a_listing_steps_back_by_a_hundred_rows_where_rows_before_were_deleted(
    serve: Serve,
) -> None:
    archive = Archive(studies(400))
    context, server = serve(archive, page_size=150)
    rows = iter(Pages(context, STUDIES, is_thorough=True))
    got = [next(rows) for _ in range(150)]
    del archive.rows[:120]
    assert [*got, *rows] == studies(400)
    assert server.targets[:4] == [
        "studies?limit=150",
        "studies?limit=150&offset=149",  # begins with a row that is not known
        "studies?limit=150&offset=49",  # nor does this: 49 is where row 169 is now
        "studies?limit=150",
    ]


def test_rows_that_come_again_are_remembered_as_long_as_new_ones(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first row stands at the head of each page, so it must not be the first forgotten."""
    monkeypatch.setattr(paging_quirks, "ROWS_REMEMBERED", 4)

    def headed(_: str, parameters: dict[str, str]) -> Answer:
        number = int(parameters.get("offset", 0)) // 3
        new = [row(f"2.{number}.{n}") for n in range(2)] if number < 6 else []
        return Answer.rows([row("1.0"), *new] if new else [])

    context, _ = serve(headed, page_size=3)
    rows = list(Pages(context, STUDIES))
    assert len(rows) == 1 + 6 * 2
    assert rows.count(row("1.0")) == 1


def test_a_server_that_ignores_the_offset_and_caps_its_pages_is_recognised(serve: Serve) -> None:
    """The second request asks for fewer rows, so the first page comes again only in part."""
    context, server = serve(Archive(studies(9), cap=3, ignores_offset=True))
    assert list(Pages(context, STUDIES, wanted=5)) == studies(3)
    assert len(server.targets) <= 2 + paging_quirks.FIRST_PAGES_AGAIN


def test_rows_that_come_again_as_results_shift_are_passed_over(serve: Serve) -> None:
    archive = Archive(studies(6))
    context, _ = serve(archive, page_size=2)
    rows = iter(Pages(context, STUDIES))
    got = [next(rows), next(rows)]
    archive.rows.insert(0, row("9.9"))  # stored meanwhile, and sorted before the others
    assert [*got, *rows] == studies(6)


def test_rows_without_uids_are_told_apart_by_what_they_hold(serve: Serve) -> None:
    rows: list[Row] = [{"00100020": {"vr": "LO", "Value": [str(n)]}} for n in range(4)]
    context, _ = serve(Archive(rows), page_size=2)
    assert list(Pages(context, STUDIES)) == rows


def test_instances_of_the_same_uid_in_other_series_are_not_the_same(serve: Serve) -> None:
    rows = [row("1", f"2.{n}", "3") for n in range(4)]
    context, _ = serve(Archive(rows), page_size=2)
    assert list(Pages(context, Query(Resource(), Level.INSTANCES))) == rows


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_rows_that_share_a_uid_and_differ_all_come_with_one_note(
    page_size: int, serve: Serve
) -> None:
    described = [
        {**row("1.1"), "00081030": {"vr": "LO", "Value": [text]}} for text in ("a", "b", "c")
    ]
    rows = [row("1.0"), described[0], described[1], row("1.2"), described[2], row("1.3")]
    said: list[str] = []
    context, _ = serve(Archive(rows), notify=said.append, page_size=page_size)
    assert list(Pages(context, STUDIES)) == rows
    assert len(said) == 1
    assert "share a UID" in said[0]
    assert "1.1" not in said[0]
    assert list(Pages(context, STUDIES, is_thorough=True)) == rows
    assert len(said) == 1


def test_rows_of_one_page_that_are_the_same_all_come(serve: Serve) -> None:
    rows = [row("1.0"), row("1.1"), row("1.1"), row("1.2")]
    said: list[str] = []
    context, _ = serve(Archive(rows), notify=said.append, page_size=4)
    assert list(Pages(context, STUDIES)) == rows
    assert list(Pages(context, STUDIES, is_thorough=True)) == rows
    assert said == []


def test_a_resource_in_several_rows_is_listed_once(serve: Serve) -> None:
    changed = {**row("1.1"), "00081030": {"vr": "LO", "Value": ["other"]}}
    said: list[str] = []
    context, _ = serve(
        Archive([row("1.1"), row("1.1"), changed, row("1.2")]), notify=said.append, page_size=3
    )
    listed = [study for study, _ in Lister(context).studies()]
    assert listed == [Resource("1.1"), Resource("1.2")]
    assert said == []


def test_rows_that_only_have_another_retrieve_url_come_again(serve: Serve) -> None:
    """Some servers make a new URL for each answer."""
    archive, asked = Archive(studies(3), ignores_offset=True), []

    def fresh_urls(path: str, parameters: dict[str, str]) -> Answer:
        asked.append(path)
        url = {"00081190": {"vr": "UR", "Value": [f"http://x/{len(asked)}"]}}
        archive.rows = [{**one, **url} for one in archive.rows]
        return archive(path, parameters)

    context, _ = serve(fresh_urls, page_size=5)
    assert len(list(Pages(context, STUDIES))) == 3


def test_an_end_that_moves_on_is_the_end_after_five_pages_of_the_same_row(serve: Serve) -> None:
    """A study comes in at the front before each request, so that one is always left over."""
    archive = Archive(studies(3))

    def restless(path: str, parameters: dict[str, str]) -> Answer:
        if "offset" in parameters:
            archive.rows.insert(0, row(f"9.{len(archive.rows)}"))
        return archive(path, parameters)

    context, server = serve(restless, page_size=3)
    pages = Pages(context, STUDIES)
    assert list(pages) == studies(3)
    assert pages.complete
    assert len(server.targets) == 1 + 5


def test_results_that_go_round_in_a_circle_are_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging_quirks, "MOST_STALE_PAGES", 3)

    def circle(_: str, parameters: dict[str, str]) -> Answer:
        return Answer.rows([row("1.1" if "offset" in parameters else "1.0")])

    context, server = serve(circle)
    with pytest.raises(ProtocolError, match="circle"):
        list(Pages(context, STUDIES))
    assert len(server.targets) == 2 + 3 + 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_server_that_turns_down_large_pages_is_asked_for_smaller_ones(
    status: int, serve: Serve
) -> None:
    context, server = serve(Archive(studies(450), most=200, refusal=status), page_size=5000)
    pages = Pages(context, STUDIES)
    assert list(pages) == studies(450)
    assert pages.complete
    assert context.page_size == 200
    list(Pages(context, STUDIES))
    assert [target for target in server.targets if "5000" in target] == ["studies?limit=5000"]


def test_a_query_that_is_refused_is_not_a_matter_of_size(serve: Serve) -> None:
    context, server = serve(lambda *_: Answer(400, b"unknown attribute"), page_size=5000)
    with pytest.raises(Refused, match="unknown attribute"):
        list(Pages(context, STUDIES))
    assert len(server.targets) == 2
    assert context.page_size == 5000


def test_the_limit_of_a_user_is_not_made_smaller(serve: Serve) -> None:
    context, server = serve(Archive(studies(9), most=200))
    with pytest.raises(Refused):
        list(Pages(context, STUDIES, wanted=300, limit=300))
    assert server.targets == ["studies?limit=300"]


def test_a_refused_offset_after_a_short_page_is_the_end(serve: Serve) -> None:
    said: list[str] = []
    context, _ = serve(Archive(studies(5), last_offset=4), notify=said.append, page_size=3)
    pages = Pages(context, STUDIES)
    assert list(pages) == studies(5)
    assert pages.complete
    assert len(said) == 1


@pytest.mark.parametrize(
    "archive",
    [
        Archive(studies(9), last_offset=5),
        Archive(studies(9), cap=2, warns=True, last_offset=5),
    ],
)
def test_a_refused_offset_with_more_to_come_is_an_error(archive: Archive, serve: Serve) -> None:
    context, _ = serve(archive, page_size=3)
    with pytest.raises(Refused):
        list(Pages(context, STUDIES))


def test_an_empty_page_with_more_announced_is_not_the_end_of_all(serve: Serve) -> None:
    context, _ = serve(lambda *_: Answer.rows([], 206))
    pages = Pages(context, STUDIES)
    assert list(pages) == []
    assert not pages.complete


@pytest.mark.parametrize(
    ("level", "parent", "found", "resource"),
    [
        (Level.STUDIES, Resource(), row("1"), Resource("1")),
        (Level.STUDIES, Resource(), row(), None),
        (Level.STUDIES, Resource(), row(".."), None),
        (Level.STUDIES, Resource(), row("1\x1b"), None),
        (Level.STUDIES, Resource(), row({"x": 1}), None),
        (Level.SERIES, Resource("1"), row("", "2"), Resource("1", "2")),
        (Level.SERIES, Resource("1"), row("9", "2"), Resource("1", "2")),
        (Level.SERIES, Resource(), row("", "2"), None),
        (Level.SERIES, Resource("1"), row("1"), None),
        (Level.INSTANCES, Resource("1"), row("", "2", "3"), Resource("1", "2", "3")),
        (Level.INSTANCES, Resource("1", "2"), row("", "", "3"), Resource("1", "2", "3")),
        (Level.INSTANCES, Resource("1"), row("", "", "3"), None),
        (Level.INSTANCES, Resource("1", "2"), row("1", "2"), None),
        (Level.INSTANCES, Resource(), row("1", "2", "3 "), Resource("1", "2", "3")),
    ],
)
def test_the_resource_a_row_stands_for(
    level: Level, parent: Resource, found: Row, resource: Resource | None
) -> None:
    assert resource_of(found, level, parent) == resource


@pytest.mark.parametrize(
    ("count", "cap", "refused_from", "complete"),
    [
        (7, 100, 7, True),
        (8, 7, 7, False),  # one page, and nothing that looks like a limit
        (60, 30, 30, False),
        (31, 30, 30, False),
        (30, 30, 30, True),
        (50, 50, 50, True),
        (90, 50, 50, False),
        (40, 10, 30, False),
        (40, 10, 40, True),
        (27, 10, 27, True),  # the last one is shorter
        (27, 10, 20, False),
        (1, 100, 1, True),
    ],
)
@pytest.mark.parametrize("status", [400, 413])
def test_a_further_page_that_is_refused_is_not_taken_for_the_end(
    count: int,
    cap: int,
    refused_from: int,
    complete: bool,
    status: int,
    serve: Serve,
) -> None:
    """Some servers refuse what is behind the end; others cap pages, and refuse for a moment."""
    archive = Archive(studies(count), cap=cap, last_offset=refused_from - 1, refusal=status)
    context, _ = serve(archive, page_size=100)
    pages = Pages(context, STUDIES)
    assert len(list(pages)) == min(count, refused_from)
    assert pages.complete == complete
    thorough = Pages(context, STUDIES, is_thorough=True)  # whose pages overlap
    found = len(list(thorough))
    assert found >= min(count, refused_from)
    assert complete <= thorough.complete <= (found == count)
