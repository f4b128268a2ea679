"""`check`: what the server has, compared with files, by counts and by UIDs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.archive import Archive, Scripted, json_answer
from tests.functional.origin import Answer, Handler, Request, serving

COUNT = "00201208"  # Number of Study Related Instances
FIVE = [make_series(n, f"1.{n}", f"1.{n}.1") for n in range(1, 6)]  # n instances in study 1.n


def flat(series: Iterable[list[bytes]]) -> list[bytes]:
    return [file for one in series for file in one]


class Counting(Scripted):
    """A server that counts the instances of studies, by a function of their true number."""

    def __init__(self, *files: bytes, **how: Any) -> None:
        super().__init__(*files, **how)
        self.lie: Callable[[str, int], int] = lambda _, count: count

    def rows(self, path: str, query: str) -> list[dict[str, Any]]:
        rows = super().rows(path, query)
        if path == "studies":
            for row in rows:
                uid = row["0020000D"]["Value"][0]
                count = sum(key[0] == uid for key in self.files)
                row[COUNT] = {"vr": "IS", "Value": [self.lie(uid, count)]}
        return rows


def rows(text: str) -> list[str]:
    """What a table says: status, instances and path of each row."""
    return [" ".join(line.split()[:3]) for line in text.splitlines()[1:]]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# What is equal, missing, extra.


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--each"], ["--one-way"]])
@pytest.mark.parametrize("page", [2, 1000])
def test_a_folder_that_was_stored_is_equal(
    dcmweb: Dcmweb, tmp_path: Path, mode: list[str], page: int
) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    with serving(Archive(*flat(FIVE), page=page)) as origin:
        result = dcmweb(origin.url, "check", "in", *mode)
    assert (result.code, result.out) == (0, "")
    assert "in/notes.txt skipped: not a DICOM file\n" in result.err
    assert "Checked 16 items: equal 15, skipped 1, failed 0, missing 0, extra 0" in result.last


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--bytes"]])
def test_each_row_is_of_the_largest_resource_whose_instances_have_the_same(
    dcmweb: Dcmweb, tmp_path: Path, mode: list[str]
) -> None:
    series = [make_series(2, "1.2", f"1.2.{n}") for n in range(1, 5)]
    here = [*series[0], *series[1], series[2][0], *make_series(3, "1.8", "1.8.1")]
    there = [series[0][0], *series[1], *series[2], *series[3], *make_series(4, "1.9", "1.9.1")]
    write_files(tmp_path / "in", here)
    with serving(Archive(*there)) as origin:
        result = dcmweb(origin.url, "check", "in", *mode)
        equal = dcmweb(origin.url, "check", "in", *mode, "--show", "equal")
    assert result.code == 1
    assert sorted(rows(result.out)) == [
        "extra 1 studies/1.2/series/1.2.3/instances/1.2.3.2",
        "extra 2 studies/1.2/series/1.2.4",
        "extra 4 studies/1.9",
        "missing 1 studies/1.2/series/1.2.1/instances/1.2.1.2",
        "missing 3 studies/1.8",
    ]
    assert sorted(rows(equal.out)) == [
        "equal 1 studies/1.2/series/1.2.1/instances/1.2.1.1",
        "equal 1 studies/1.2/series/1.2.3/instances/1.2.3.1",
        "equal 2 studies/1.2/series/1.2.2",
    ]
    assert "equal 4, skipped 0, failed 0, missing 4, extra 7, different 0;" in result.last


def test_each_instance_has_a_row_where_that_is_wanted(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE[:2]))
    with serving(Archive(*flat(FIVE[1:3]))) as origin:
        result = dcmweb(origin.url, "check", "in", "--each", "--show", "equal,missing,extra")
    assert rows(result.out) == [
        "missing 1 studies/1.1/series/1.1.1/instances/1.1.1.1",
        *(f"equal 1 studies/1.2/series/1.2.1/instances/1.2.1.{n}" for n in (1, 2)),
        *(f"extra 1 studies/1.3/series/1.3.1/instances/1.3.1.{n}" for n in (1, 2, 3)),
    ]


def test_one_way_ignores_what_only_the_server_has(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [*FIVE[0], *FIVE[2][:2]])
    with serving(Archive(*flat(FIVE))) as origin:
        result = dcmweb(origin.url, "check", "in", "--one-way")
        thorough = dcmweb(origin.url, "check", "in", "--one-way", "--thorough")
        origin.handler = Archive(*FIVE[0], *FIVE[2][:1])
        lacks = dcmweb(origin.url, "check", "in", "--one-way")
    assert (result.code, thorough.code, lacks.code) == (0, 0, 1)
    assert "equal 3," in result.last
    assert rows(lacks.out) == ["missing 1 studies/1.3/series/1.3.1/instances/1.3.1.2"]
    # Of a few studies, only these are asked for, rather than all that the server has.
    assert {request.path for request in origin.requests} == {
        "/dicomweb/studies/1.1/instances",
        "/dicomweb/studies/1.3/instances",
    }


def test_an_instance_in_two_files_counts_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [*FIVE[1], *FIVE[1]])
    with serving(Archive(*FIVE[1])) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 0
    assert "equal 2," in result.last


def test_several_masks_and_files_are_one_side(dcmweb: Dcmweb, tmp_path: Path) -> None:
    for number, files in enumerate(FIVE[:2]):
        write_files(tmp_path / f"in{number}", files)
    with serving(Archive(*flat(FIVE[:2]))) as origin:
        assert dcmweb(origin.url, "check", "in0", "in1/*.dcm").code == 0
        result = dcmweb(origin.url, "check", "in0", "in1", "in7")
    assert result.code == 1
    assert rows(result.out) == ["failed in7 no"]
    assert "in7  no such file, or nothing matches\n" in result.out


def test_an_instance_in_another_series_is_different(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance("1.2", "1.2.1", "1.2.3"), *FIVE[4]])
    moved = make_instance("1.2", "1.2.9", "1.2.3")
    with serving(Archive(moved, *FIVE[4])) as origin:
        result = dcmweb(origin.url, "check", "in", "--thorough")
    assert result.code == 1
    assert rows(result.out) == ["different 1 studies/1.2"]
    assert "the other side has it in series 1.2.1" in result.out


def test_the_uid_in_the_file_meta_information_may_be_the_one_it_is_known_by(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    file = make_instance("1.2", "1.2.1", "1.2.1.1").replace(
        b"\x02\x00\x03\x00UI\x08\x001.2.1.1\0", b"\x02\x00\x03\x00UI\x08\x001.2.1.7\0"
    )
    write_files(tmp_path / "in", [file, *FIVE[3]])
    there = Scripted(make_instance("1.2", "1.2.1", "1.2.1.7"), *FIVE[3])
    with serving(there) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 0


# Counts, and servers that count wrongly.


def test_studies_whose_counts_agree_cost_one_row_each(dcmweb: Dcmweb, tmp_path: Path) -> None:
    files = flat(make_series(2, f"1.{n}", f"1.{n}.1") for n in range(40))
    write_files(tmp_path / "in", files)
    with serving(Counting(*files)) as origin:
        result = dcmweb(origin.url, "check", "in", "--show", "equal", "--format", "csv")
    listings = [r for r in origin.requests if r.path.endswith("/instances")]
    assert result.code == 0
    assert len({request.path for request in listings}) == 3  # a sample
    assert "equal by the number of their instances: 37; --thorough" in result.err
    assert result.out.count("as many instances on both sides; UIDs were not compared") == 37


def test_only_a_thorough_check_finds_an_instance_that_took_the_place_of_another(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    other = [make_instance("1.2", "1.2.1", f"1.2.1.{n}") for n in (1, 9)]
    with serving(Counting(*FIVE[0], *other, *flat(FIVE[2:]))) as origin:
        assert dcmweb(origin.url, "check", "in").code == 0
        result = dcmweb(origin.url, "check", "in", "--thorough")
    assert result.code == 1
    assert rows(result.out) == [
        "missing 1 studies/1.2/series/1.2.1/instances/1.2.1.2",
        "extra 1 studies/1.2/series/1.2.1/instances/1.2.1.9",
    ]


@pytest.mark.parametrize("lie", [lambda _, count: count + 1, lambda *_: 3, lambda *_: 0])
def test_counts_that_are_not_those_of_listings_are_not_trusted(
    dcmweb: Dcmweb, tmp_path: Path, lie: Any
) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    server = Counting(*(file for one in FIVE for file in one[:-1]))  # each lacks its last
    server.lie = lie
    with serving(server) as origin:
        result = dcmweb(origin.url, "check", "in")
        thorough = dcmweb(origin.url, "check", "in", "--thorough")
    assert result.code == thorough.code == 1
    assert "equal 15," not in result.err
    assert "missing 1 studies/1.5/series/1.5.1/instances/1.5.1.5" in rows(thorough.out)
    assert "equal 10, skipped 0, failed 0, missing 5, extra 0" in thorough.last


def test_the_study_that_is_equal_by_a_count_that_lies_is_found_by_the_sample(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    """All counts are those of the folder; no listing is."""
    write_files(tmp_path / "in", flat(FIVE))
    server = Counting(*flat(one[:1] for one in FIVE))
    server.lie = lambda uid, _: int(uid[-1])
    with serving(server) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 1
    assert "its counts are not trusted" in result.err
    assert "equal 1, skipped 0, failed 14, missing 0," in result.last


def test_a_server_that_counts_more_than_it_lists_is_not_equal(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", FIVE[4])
    server = Counting(*FIVE[4])
    server.lie = lambda *_: 9
    with serving(server) as origin:
        result = dcmweb(origin.url, "check", "in")
        one_way = dcmweb(origin.url, "check", "in", "--one-way")
        thorough = dcmweb(origin.url, "check", "in", "--thorough")
    assert (result.code, one_way.code, thorough.code) == (1, 0, 0)
    assert "the server counts 9 instances, but lists 5" in result.out


def test_a_server_without_counts_is_listed(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    with serving(Scripted(*flat(FIVE), page=3)) as origin:
        assert dcmweb(origin.url, "check", "in").code == 0
    listed = {r.path for r in origin.requests if r.path.endswith("/instances")}
    assert len(listed) == 5


def test_a_count_that_an_includefield_brought_is_not_trusted(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    """Some servers answer it with what is in the file."""

    class OnlyAsked(Counting):
        def rows(self, path: str, query: str) -> list[dict[str, Any]]:
            found = super().rows(path, query)
            if "includefield" not in query:
                for row in found:
                    row.pop(COUNT, None)
            return found

    write_files(tmp_path / "in", flat(FIVE))
    server = OnlyAsked(*flat(one[:1] for one in FIVE))
    server.lie = lambda uid, _: int(uid[-1])
    with serving(server) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 1
    assert "missing 10," in result.last


# Failures are never equal.


def failing(archive: Handler, part: str, answer: Answer) -> Handler:
    return lambda request: answer if part in request.target else archive(request)


@pytest.mark.parametrize("mode", [[], ["-m"]])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(400, b"no"),
        Answer(200, b"<html>", {"Content-Type": "text/html"}),
        Answer(200, b'[{"0020000D"', {"Content-Type": "application/dicom+json"}),
        Answer(200, b"[{}]", {"Content-Type": "application/dicom+json"}),
        Answer(204),
        Answer(404),
        json_answer([{"00080018": {"vr": "UI", "Value": [".."]}}]),
    ],
)
def test_a_study_that_cannot_be_listed_is_failed_and_the_others_are_compared(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, mode: list[str]
) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    handler = failing(Archive(*flat(FIVE)), "/studies/1.3/", answer)
    with serving(handler) as origin:
        result = dcmweb(origin.url, "check", "in", "--thorough", "--retries", "0", *mode)
    assert result.code == 1
    assert rows(result.out) == ["failed 3 studies/1.3"]
    assert "equal 12, skipped 0, failed 3," in result.last


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500), 5),
        (Answer(401), 4),
        (Answer(404), 3),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), 8),
        (Answer(200, b"[{}, {", {"Content-Type": "application/dicom+json"}), 8),
        (Answer(200, b"[]", length=90, cut=2), 8),
    ],
)
@pytest.mark.parametrize("form", [["--format", "table"], ["--format", "uids", "--show", "missing"]])
def test_studies_that_cannot_be_listed_stop_the_run(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, code: int, form: list[str]
) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, "check", "in", "--retries", "0", *form)
    assert (result.code, result.out) == (code, "")
    assert "stopped early" in result.err


def test_a_listing_that_ends_too_early_is_not_equal(dcmweb: Dcmweb, tmp_path: Path) -> None:
    """The server ignores offset: of its studies, only the first 50 can be had."""
    files = [make_instance(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1") for n in range(50)]
    write_files(tmp_path / "in", files)
    archive = Counting(*files, page=50)

    def handle(request: Request) -> Answer:
        query = "&".join(p for p in request.query.split("&") if not p.startswith("offset="))
        return archive.search(request.path.removeprefix("/dicomweb/"), query)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert (result.code, result.out) == (8, "")


def test_what_may_be_in_a_file_that_cannot_be_read_is_not_extra(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    """Or `check --show extra --format uids | delete -` would delete it."""
    write_files(tmp_path / "in", FIVE[0])
    (tmp_path / "in" / "cut.dcm").write_bytes(FIVE[1][0][:200])
    (tmp_path / "in" / "dangling.dcm").symlink_to("nowhere")
    with serving(Archive(*flat(FIVE[:2]))) as origin:
        result = dcmweb(origin.url, "check", "in")
        extra = dcmweb(origin.url, "check", "in", "--show", "extra", "--format", "uids")
        one_way = dcmweb(origin.url, "check", "in", "--one-way")
    assert (result.code, extra.code, one_way.code) == (1, 1, 1)
    assert "unknown 2 studies/1.2" in rows(result.out)
    assert extra.out == ""
    assert "in/cut.dcm failed: " in extra.err
    assert "failed 2, missing 0, extra 0" in one_way.last


def test_what_may_be_a_study_without_a_uid_is_not_missing(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE[:2]))

    class Nameless(Counting):
        def rows(self, path: str, query: str) -> list[dict[str, Any]]:
            found = super().rows(path, query)
            return [*found, {COUNT: {"vr": "IS", "Value": [2]}}] if path == "studies" else found

    with serving(Nameless(*FIVE[0])) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 1
    assert "unknown 2 studies/1.2" in rows(result.out)


@pytest.mark.parametrize("mode", [[], ["--one-way"]])
def test_nothing_to_compare_with_is_not_equal(
    dcmweb: Dcmweb, tmp_path: Path, mode: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a")
    with serving(Archive()) as origin:
        for name in ("empty", "text", "nowhere", "no*.dcm"):
            result = dcmweb(origin.url, "check", name, *mode)
            assert (result.code, result.out) == (3, ""), name


def test_a_file_without_a_study_is_failed(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [*FIVE[0], make_instance("", "1.2.1", "1.2.1.1")])
    with serving(Archive(*FIVE[0])) as origin:
        result = dcmweb(origin.url, "check", "in")
    assert result.code == 1
    assert "it has no Study Instance UID" in result.out


# Certain studies.


def test_only_the_studies_that_are_named_are_compared(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE[:3]))
    with serving(Archive(*flat(FIVE[1:]))) as origin:
        good = dcmweb(origin.url, "check", "in", "studies/1.2", "studies/1.3")
        bad = dcmweb(origin.url, "check", "in", "studies/1.1", "studies/1.4", "studies/1.99")
        listed = dcmweb(origin.url, "check", "in", "-", text="studies/1.1\nstudies/1.2\n")
        one_way = dcmweb(origin.url, "check", "in", "studies/1.4", "--one-way")
    assert (good.code, bad.code, listed.code, one_way.code) == (0, 1, 1, 1)
    assert sorted(rows(bad.out)) == [
        "extra 4 studies/1.4",
        "failed ? studies/1.99",
        "missing 1 studies/1.1",
    ]
    assert rows(listed.out) == ["missing 1 studies/1.1"]
    assert "there is nothing to look for" in one_way.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to compare with"),
        (["in", "studies/1.2/series/1.2.1"], "is not a study"),
        (["in", "studies/"], "lacks a UID"),
        (["in", "--show", "odd"], "not a kind of row"),
        (["in", "--format", "uids"], "add --show missing"),
        (["in", "--format", "paths", "--show", "extra"], "no file here"),
        (["in", "--json", "--show", "equal"], "leave out"),
        (["http://127.0.0.1:1/x", "--format", "paths"], "a server has none"),
        (["http://127.0.0.1:1/x", "in"], "cannot be compared together"),
        (["http://me@127.0.0.1:1/x"], "there is no password for user me; set DCMWEB_TO_PASSWORD"),
        (["URL"], "the same server"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], words: str
) -> None:
    write_files(tmp_path / "in", FIVE[0])
    with serving(Archive(*FIVE[0])) as origin:
        given = [argument.replace("URL", f"{origin.url}/") for argument in arguments]
        result = dcmweb(origin.url, "check", *given)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert origin.requests == []


# Output.


def test_lists_lead_to_both_sides_being_equal(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [*FIVE[0], *FIVE[1][:1], *FIVE[3]])
    archive = Archive(*FIVE[1][1:], *FIVE[2], *FIVE[3][:2])
    with serving(archive) as origin:
        check = [origin.url, "check", "in"]
        missing = dcmweb(*check, "--format", "paths", "-0")
        stored = dcmweb(origin.url, "store", "--files-from", "-", "-0", text=missing.out)
        extra = dcmweb(*check, "--show", "extra", "--format", "uids")
        retrieved = dcmweb(origin.url, "retrieve", "-", "-o", "in", text=extra.out)
        after = dcmweb(*check, "--thorough")
    assert missing.out.count("\0") == 1 + 1 + 2
    assert extra.out.splitlines() == [
        "studies/1.3",
        "studies/1.2/series/1.2.1/instances/1.2.1.2",
    ]
    assert (stored.code, retrieved.code, after.code) == (0, 0, 0)


def test_extra_studies_can_be_deleted(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", FIVE[0])
    archive = Archive(*flat(FIVE[:3]))
    with serving(archive) as origin:
        extra = dcmweb(origin.url, "check", "in", "--show", "extra", "--format", "uids")
        deleted = dcmweb(origin.url, "delete", "-", "--yes", text=extra.out)
        after = dcmweb(origin.url, "check", "in")
    assert (deleted.code, after.code) == (0, 0)


def test_paths_are_written_as_the_bytes_they_are(dcmweb: Dcmweb, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"\xfcber.dcm", b"#1.dcm", b"new\nline.dcm"]
    for name, data in zip(names, FIVE[2], strict=True):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(data)
    with serving(Archive()) as origin:
        check = [origin.url, "check", *(os.fsdecode(name) for name in names), "--format", "paths"]
        lines = dcmweb(*check, cwd=folder)
        nulls = dcmweb(*check, "-0", cwd=folder)
    assert lines.data == b"\xfcber.dcm\n./#1.dcm\n"
    assert "1 file left out, whose names no line can hold; use -0" in lines.err
    assert sorted(nulls.data.split(b"\0")) == sorted([b"", *names])


def test_events_have_all_and_the_summary(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE[:2]))
    with serving(Archive(*flat(FIVE[1:3]))) as origin:
        result = dcmweb(origin.url, "check", "in", "--json", "--thorough")
    *found, summary = events(result.out)
    assert [(one["type"], one["item"], one["instances"]) for one in found] == [
        ("missing", "studies/1.1", 1),
        ("equal", "studies/1.2", 2),
        ("extra", "studies/1.3", 3),
    ]
    kept = ("type", "equal", "missing", "extra", "different", "failed")
    assert [summary[name] for name in kept] == ["summary", 2, 1, 3, 0, 0]


def test_csv_has_its_header_always_and_a_table_when_there_are_rows(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", FIVE[0])
    header = "status,instances,path,study,series,instance,file,reason\n"
    with serving(Archive(*FIVE[0])) as origin:
        assert dcmweb(origin.url, "check", "in", "--format", "csv").out == header
        origin.handler = Archive()
        result = dcmweb(origin.url, "check", "in", "--format", "csv", "--each")
    assert result.out.splitlines()[1] == (
        "missing,1,studies/1.1/series/1.1.1/instances/1.1.1.1,1.1,1.1.1,1.1.1.1,in/1.dcm,"
        "the server does not list it"
    )


def test_quiet_says_nothing_where_nothing_is_wrong(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    with serving(Archive(*flat(FIVE))) as origin:
        result = dcmweb(origin.url, "check", "in", "-q")
        origin.handler = Archive(*flat(FIVE[1:]))
        bad = dcmweb(origin.url, "check", "in", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert rows(bad.out) == ["missing 1 studies/1.1"]
    assert "missing 1: the server does not list it: studies/1.1\n" in bad.err
    assert "missing 1, extra 0" in bad.last
