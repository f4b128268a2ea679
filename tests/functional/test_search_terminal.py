"""`search` for people: tables that fit a terminal, a pager, readable keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Handler, Request, serving

pytest.importorskip("pty")

from tests.functional.terminals import Seen, seen_in_terminal

UIDS = [f"1.2.826.0.1.3680043.8.498.{n:039d}" for n in range(1, 4)]


def study(number: int) -> dict[str, Any]:
    return {
        "00080020": {"vr": "DA", "Value": [f"202401{number % 28 + 1:02d}"]},
        "00080030": {"vr": "TM", "Value": ["101112"]},
        "00080050": {"vr": "SH", "Value": [f"ACC{number:08d}"]},
        "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
        "00081030": {"vr": "LO", "Value": [f"Thorax and abdomen with contrast, number {number}"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"Doe^Jane{number}"}]},
        "00100020": {"vr": "LO", "Value": [f"ID{number:06d}"]},
        "0020000D": {"vr": "UI", "Value": [f"1.2.826.0.1.3680043.8.498.{number:039d}"]},
        "00201206": {"vr": "IS", "Value": [number]},
        "00201208": {"vr": "IS", "Value": [1234]},
    }


def listing(count: int) -> Handler:
    def handle(request: Request) -> Answer:
        rows = [study(number) for number in range(1, count + 1)]
        return json_answer(rows) if rows and "offset" not in request.query else Answer(204)

    return handle


def seen(
    handler: Handler, folder: Path, *arguments: str, columns: int = 80, rows: int = 24
) -> Seen:
    with serving(handler) as origin:
        command = (origin.url, "search", "--format", "table", *arguments)
        return seen_in_terminal(*command, cwd=folder, columns=columns, rows=rows)


@pytest.mark.parametrize("columns", [40, 60, 80, 132, 200, 300])
def test_a_table_fits_the_terminal(tmp_path: Path, columns: int) -> None:
    result = seen(listing(9), tmp_path, columns=columns)
    table = [line for line in result.lines if " -- " not in line and line]
    assert result.code == 0
    assert len(table) == 10
    assert max(map(len, table)) <= columns
    assert table[0].startswith("Date")
    assert "StudyDate" not in result.screen
    is_cut = columns < 200
    assert ("the table is cut to fit" in result.screen) == is_cut
    assert all("2024-01-0" in line for line in table[1:9])
    assert all(line.endswith(str(number)) for number, line in enumerate(table[1:], start=1))


def test_numbers_are_on_the_right_and_texts_on_the_left(tmp_path: Path) -> None:
    fields = ("--fields", "NumberOfStudyRelatedSeries,PatientID")
    head, first, *_, last = seen(listing(12), tmp_path, *fields).lines
    assert head == "Series  ID"
    assert (first, last) == ("     1  ID000001", "    12  ID000012")


def test_columns_that_were_asked_for_are_never_left_out(tmp_path: Path) -> None:
    names = (
        "StudyTime,AccessionNumber,StudyDescription,StudyInstanceUID,PatientID,ModalitiesInStudy"
    )
    result = seen(listing(3), tmp_path, "--fields", names, columns=40)
    found = result.lines[0].split()
    assert [head[:2] for head in found] == ["Ti", "Ac", "De", "…U", "ID", "Mo"], found
    assert max(map(len, result.lines[:4])) <= 40


def test_a_pipe_gets_whole_values_and_keywords(dcmweb: Dcmweb) -> None:
    with serving(listing(3)) as origin:
        result = dcmweb(origin.url, "search", "--format", "table", env={"COLUMNS": "40"})
    assert result.out.startswith("StudyDate")
    assert all(uid in result.out for uid in UIDS)
    assert "…" not in result.out


def test_a_terminal_gets_json_unless_something_else_is_wanted(tmp_path: Path) -> None:
    with serving(listing(2)) as origin:
        result = seen_in_terminal(origin.url, "search", cwd=tmp_path)
    assert len(json.loads(result.screen)) == 2


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "0 studies\r\n"),
        (("PatientName=Doe",), "0 studies: PatientName matches whole names"),
        (("series", "Modality=ct"), "0 series: values of Modality are in upper case"),
    ],
)
def test_nothing_is_said_to_be_nothing(tmp_path: Path, words: tuple[str, ...], hint: str) -> None:
    result = seen(listing(0), tmp_path, *words)
    assert result.code == 0
    assert hint in result.screen
    assert len(result.lines) == 1  # no headings


def test_text_that_is_wide_or_hostile_keeps_to_its_column(tmp_path: Path) -> None:
    from wcwidth import wcswidth

    def row(name: str, identifier: str) -> dict[str, Any]:
        return {
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
            "00100020": {"vr": "LO", "Value": [identifier]},
        }

    rows = [row("山田^太郎" * 5, "\x1b[2J"), row("Doe^J", "a" * 60), row("", "\u202eb\n")]

    def handle(request: Request) -> Answer:
        return Answer(204) if "offset" in request.query else json_answer(rows)

    result = seen(handle, tmp_path, "--fields", "PatientName,PatientID", columns=30)
    assert "\x1b" not in result.screen
    assert max(wcswidth(line) for line in result.lines if " -- " not in line) <= 30


# The pager.


def pager(folder: Path, text: str) -> dict[str, str]:
    """Make a pager of a few lines of Python."""
    script = folder / "pager.py"
    script.write_text(text)
    return {"PAGER": f"{sys.executable} {script}"}


COUNTS = "import sys; print('PAGER', len(sys.stdin.readlines()), 'lines')"


@pytest.mark.parametrize(("count", "is_paged"), [(22, False), (23, True), (500, True)])
def test_what_is_longer_than_the_terminal_goes_through_the_pager(
    tmp_path: Path, count: int, is_paged: bool
) -> None:
    with serving(listing(count)) as origin:
        command = (origin.url, "search", "--all", "--format", "table")
        result = seen_in_terminal(*command, cwd=tmp_path, env=pager(tmp_path, COUNTS))
    assert result.code == 0
    assert (f"PAGER {count + 1} lines" in result.screen) == is_paged
    assert ("000000022" in result.screen) != is_paged


@pytest.mark.parametrize(
    "env",
    [
        {"PAGER": ""},
        {"PAGER": "cat"},
        {"PAGER": "there-is-no-such-pager"},
        {"PAGER": "'unbalanced"},
        {"TERM": "dumb", "PAGER": "false"},
        {"DCMWEB_PAGER": "", "PAGER": "false"},
    ],
)
def test_without_a_pager_the_table_is_written_as_it_is(tmp_path: Path, env: dict[str, str]) -> None:
    with serving(listing(40)) as origin:
        command = (origin.url, "search", "--format", "table")
        result = seen_in_terminal(*command, cwd=tmp_path, env=env)
    assert result.code == 0
    assert "000000040" in result.screen


def test_who_ends_the_pager_has_seen_enough(tmp_path: Path) -> None:
    """More is on its way than a pipe holds."""
    reads_one = "import sys; print('FIRST', sys.stdin.readline()[:4])"
    with serving(listing(5000)) as origin:
        command = (origin.url, "search", "--all", "--format", "table")
        env = pager(tmp_path, reads_one)
        result = seen_in_terminal(*command, cwd=tmp_path, columns=200, env=env)
    assert result.code == 0
    assert "FIRST Date" in result.screen
    assert "Error" not in result.screen


# Readable keys.


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_keywords_are_for_people(dcmweb: Dcmweb, form: str) -> None:
    row = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00400275": {
            "vr": "SQ",
            "Value": [{"00400007": {"vr": "LO", "Value": ["x"]}, "00091001": {"vr": "UN"}}, {}],
        },
        "00091002": {"vr": "FD", "Value": [0.1]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
    }
    answers = {"": json_answer([row])}

    def handle(request: Request) -> Answer:
        return Answer(204) if "offset" in request.query else answers[""]

    with serving(handle) as origin:
        plain = dcmweb(origin.url, "search", "--format", form)
        named = dcmweb(origin.url, "search", "--format", form, "--keywords")
    assert "PatientName" not in plain.out
    found = json.loads(named.out)
    found = found if form == "ndjson" else found[0]
    assert found == {
        "PatientName": row["00100010"],
        "RequestAttributesSequence": {
            "vr": "SQ",
            "Value": [
                {"ScheduledProcedureStepDescription": {"vr": "LO", "Value": ["x"]},
                 "00091001": {"vr": "UN"}},
                {},
            ],
        },
        "00091002": row["00091002"],
        "StudyInstanceUID": row["0020000D"],
    }  # fmt: skip


def test_keywords_and_fields_go_together(dcmweb: Dcmweb) -> None:
    with serving(Archive(*make_series(1))) as origin:
        fields = ("--fields", "StudyInstanceUID", "--keywords")
        result = dcmweb(origin.url, "search", *fields)
    assert json.loads(result.out) == [{"StudyInstanceUID": {"vr": "UI", "Value": ["1.2.3"]}}]


@pytest.mark.parametrize("form", ["table", "csv", "tsv", "xml", "uids"])
def test_keywords_are_for_json(dcmweb: Dcmweb, form: str) -> None:
    with serving(listing(1)) as origin:
        result = dcmweb(origin.url, "search", "--keywords", "--format", form)
    assert (result.code, origin.requests) == (2, [])
    assert "--keywords is for JSON" in result.err


# The question of `delete`.


def answer_to_delete(url: str, paths: list[str], folder: Path, keys: str) -> Seen:
    """Delete resources, and answer the question with keys."""
    answers = {"[y/N]": keys}
    return seen_in_terminal(url, "delete", *paths, cwd=folder, columns=200, answers=answers)


def test_the_question_names_what_would_be_deleted(tmp_path: Path) -> None:
    archive = Archive(*make_series(1, "1.1", "1.1.1"), *make_series(1, "1.2", "1.2.1"))
    with serving(archive) as origin:
        paths = ["studies/1.1", "studies/1.2/series/1.2.1"]
        refused = answer_to_delete(origin.url, paths, tmp_path, "n\n")
        assert len(archive.files) == 2
        done = answer_to_delete(origin.url, paths, tmp_path, "y\n")
    words = "Delete 1 study and 1 series (studies/1.1, studies/1.2/series/1.2.1)? [y/N]"
    assert words in refused.screen
    assert (refused.code, done.code, archive.files) == (2, 0, {})


def test_many_are_named_in_part(tmp_path: Path) -> None:
    with serving(Archive()) as origin:
        paths = [f"studies/1.{number}" for number in range(1, 8)]
        result = answer_to_delete(origin.url, paths, tmp_path, "\n")
    words = "Delete 7 studies (studies/1.1, studies/1.2, studies/1.3 and 4 others)? [y/N]"
    assert words in result.screen
    assert result.code == 2
