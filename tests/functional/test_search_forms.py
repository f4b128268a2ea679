"""`search` in forms that people use: all results, tables, fields, counts."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_instance, make_series, tree
from tests.functional.archive import Archive, Scripted, json_answer
from tests.functional.archives import changed
from tests.functional.origin import Answer, Request, serving

STUDY_UID = "0020000D"


def study(number: int, **more: Any) -> dict[str, Any]:
    return {STUDY_UID: {"vr": "UI", "Value": [f"1.2.{number}"]}, **more}


def uid(row: dict[str, Any]) -> str:
    return str(row[STUDY_UID]["Value"][0])


class Studies:
    """Lists studies, the newest first, so many at a time; another one comes with some requests."""

    def __init__(self, count: int, cap: int, comes_every: int = 0) -> None:
        self.first = count
        self.numbers = list(range(count))
        self.cap = cap
        self.comes_every = comes_every
        self.asked = 0

    def __call__(self, request: Request) -> Answer:
        self.asked += 1
        if self.comes_every and self.asked % self.comes_every == 0:
            self.numbers.append(len(self.numbers))
        given = parse_qs(request.query)
        offset = int(given.get("offset", ["0"])[0])
        limit = min(int(given.get("limit", ["99999"])[0]), self.cap)
        rows = [study(n) for n in self.numbers[::-1][offset : offset + limit]]
        return json_answer(rows) if rows else Answer(204)


# All of it.


@pytest.mark.parametrize(
    ("count", "cap", "every"),
    [(60, 1, 4), (700, 200, 1), (2500, 1000, 1), (5001, 5000, 0), (0, 9, 0)],
)
def test_all_results_come_once_however_small_the_pages_and_whatever_comes_meanwhile(
    dcmweb: Dcmweb, count: int, cap: int, every: int
) -> None:
    studies = Studies(count, cap, every)
    with serving(studies) as origin:
        result = dcmweb(origin.url, "search", "--all")
    assert result.code == 0
    found = [uid(row) for row in json.loads(result.out)]
    assert len(found) == len(set(found))
    assert set(found) >= {f"1.2.{n}" for n in range(count)}


def test_many_studies_that_come_at_once_are_no_circle(dcmweb: Dcmweb) -> None:
    studies = Studies(400, 1)

    def handle(request: Request) -> Answer:
        if studies.asked == 300:
            studies.numbers += range(400, 650)
        return studies(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "--all", "--format", "uids")
    assert result.code == 0
    assert {f"studies/1.2.{n}" for n in range(400)} <= set(result.out.split())


@pytest.mark.parametrize("cap", [1, 7, 100])
def test_a_limit_goes_beyond_a_page(dcmweb: Dcmweb, cap: int) -> None:
    with serving(Studies(50, cap)) as origin:
        result = dcmweb(origin.url, "search", "--limit", "20")
        more = dcmweb(origin.url, "search", "--limit", "60")
    assert len(json.loads(result.out)) == 20
    assert (more.code, len(json.loads(more.out))) == (0, 50)
    assert result.err == more.err == ""


@pytest.mark.parametrize("cap", [3, 200])
def test_results_are_counted(dcmweb: Dcmweb, cap: int) -> None:
    with serving(Studies(202, cap, 5)) as origin:
        result = dcmweb(origin.url, "search", "--count", "StudyDate=2024")
    assert result.code == 0
    assert 202 <= int(result.out) <= 202 + len(origin.requests)


def ignoring_offset(request: Request) -> Answer:
    return json_answer([study(n) for n in range(100)])


def warning(request: Request) -> Answer:
    if "offset" in request.query:
        return Answer(204)
    words = '299 server "There are 7 additional results that can be requested"'
    return json_answer([study(1)], Warning=words)


@pytest.mark.parametrize("server", [ignoring_offset, warning])
@pytest.mark.parametrize("wanted", [("--all",), ("--limit", "500"), ("--count",)])
def test_results_that_a_server_keeps_back_are_no_success(
    dcmweb: Dcmweb, server: Callable[[Request], Answer], wanted: tuple[str, ...]
) -> None:
    with serving(server) as origin:
        result = dcmweb(origin.url, "search", *wanted)
    assert result.code == 8
    assert "has more" in result.err
    if wanted == ("--count",):
        assert result.out == ""
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(result.out)


def test_a_reader_that_has_enough_stops_the_search(tmp_path: Path) -> None:
    with serving(Studies(50_000, 1000)) as origin:
        command = " ".join([*DCMWEB, origin.url, "search", "--all", "--format", "uids"])
        done = subprocess.run(
            ["bash", "-c", f"{command} | head -3; exit ${{PIPESTATUS[0]}}"],
            env={**clean_environment(), "HOME": str(tmp_path)},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 3
    assert len(origin.requests) < 30


# Formats.


def test_every_json_is_json(dcmweb: Dcmweb) -> None:
    rows = [study(n) for n in range(3)]
    with serving(Studies(3, 9)) as origin:
        plain = dcmweb(origin.url, "search", "--all")
        lines = dcmweb(origin.url, "search", "--format", "ndjson")
    assert plain.out == json.dumps(rows[::-1], indent=2, sort_keys=True) + "\n"
    assert [json.loads(line) for line in lines.out.splitlines()] == rows[::-1]


def test_xml_is_one_document(dcmweb: Dcmweb) -> None:
    with serving(Studies(3, 9)) as origin:
        result = dcmweb(origin.url, "search", "--format", "xml")
        none = dcmweb(origin.url, "search", "--format", "xml", "offset=3")
    assert [len(model) for model in ElementTree.fromstring(result.out)] == [1, 1, 1]
    assert len(ElementTree.fromstring(none.out)) == 0


NAMES = {
    "ISO_IR 100": ("Äneas^Rüdiger", "Äneas, Rüdiger"),
    "ISO_IR 192": ("Buc^Jérôme", "Buc, Jérôme"),
    "GB18030": ("Wang^XiaoDong=王^小东", "Wang, XiaoDong (王 小东)"),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎", "Yamada, Tarou (山田 太郎)"),
    "\\ISO 2022 IR 149": ("Hong^Gildong=洪^吉洞", "Hong, Gildong (洪 吉洞)"),
}


@pytest.fixture
def names() -> Archive:
    files = []
    for number, (charset, (name, _)) in enumerate(NAMES.items(), start=1):
        data = make_instance(f"1.{number}", f"1.{number}.1", f"1.{number}.1.1")
        charsets = charset.split("\\")
        files.append(
            changed(
                data,
                SpecificCharacterSet=charsets if len(charsets) > 1 else charset,
                PatientName=name,
                StudyDate="20240131",
                StudyTime="101112.5",
            )
        )
    return Archive(*files)


@pytest.mark.parametrize("language", ["C", "POSIX", "en_US.UTF-8", "de_DE.ISO8859-1"])
def test_names_of_all_scripts_are_aligned_in_tables(
    dcmweb: Dcmweb, names: Archive, language: str
) -> None:
    from wcwidth import wcswidth

    fields = ("--fields", "PatientName,StudyDate", "--fields", "(0008,0030)")
    with serving(names) as origin:
        environment = {"LC_ALL": language, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        result = dcmweb(origin.url, "search", "--format", "table", *fields, env=environment)
    head, *lines = result.out.splitlines()
    assert head.split() == ["PatientName", "StudyDate", "StudyTime"]
    assert sorted(line.partition("  ")[0] for line in lines) == sorted(n for _, n in NAMES.values())
    columns = {wcswidth(line.partition("2024-01-31")[0]) for line in lines}
    assert columns == {head.index("StudyDate")}
    assert all(line.endswith("  10:11:12.5") for line in lines)


def test_separated_values_can_be_read_by_others(dcmweb: Dcmweb, names: Archive) -> None:
    fields = ("--fields", "PatientName,StudyInstanceUID")
    with serving(names) as origin:
        commas = dcmweb(origin.url, "search", "--format", "csv", *fields)
        tabs = dcmweb(origin.url, "search", "--format", "tsv", *fields)
    head, *rows = csv.reader(io.StringIO(commas.out))
    assert head == ["PatientName", "StudyInstanceUID"]
    assert {row[0] for row in rows} == {name for _, name in NAMES.values()}
    assert [line.split("\t") for line in tabs.out.splitlines()] == [head, *rows]


HOSTILE = 'a\x1b[2J\tb\nc,"d"\ud800\u202e'


def test_hostile_values_do_no_harm(dcmweb: Dcmweb) -> None:
    row = study(1, **{"00081030": {"vr": "LO", "Value": [HOSTILE]}})
    answers = {"limit": json_answer([row])}
    fields = ("--fields", "StudyDescription")

    def handle(request: Request) -> Answer:
        return answers["limit"] if "offset" not in request.query else Answer(204)

    with serving(handle) as origin:
        outs = {
            form: dcmweb(origin.url, "search", "--format", form, *fields)
            for form in ("table", "tsv", "csv", "json", "ndjson", "xml")
        }
    assert all(result.code == 0 for result in outs.values())
    for form in ("table", "tsv"):
        line = outs[form].out.splitlines()[1]
        assert line == 'a\\x1b[2J\\x09b\\x0ac,"d"\\ud800\\u202e'
    (_, [value]) = csv.reader(io.StringIO(outs["csv"].out))
    assert value == 'a\\x1b[2J\tb\nc,"d"\\ud800\\u202e'
    assert json.loads(outs["json"].out)[0]["00081030"]["Value"] == [HOSTILE]
    ElementTree.fromstring(outs["xml"].out)


def test_default_columns_suit_the_level(dcmweb: Dcmweb) -> None:
    with serving(Archive(*make_series(2))) as origin:
        heads = {
            level: dcmweb(origin.url, "search", level, "--format", "csv").out.splitlines()
            for level in ("studies", "series", "instances")
        }
    assert "NumberOfStudyRelatedInstances" in heads["studies"][0]
    assert heads["studies"][1].endswith(",1,2,1.2.3")
    assert heads["series"][0].startswith("Modality,")
    assert heads["instances"][0].endswith("StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID")
    assert len(heads["instances"]) == 3


def test_an_instance_table_tells_sop_classes_by_name(dcmweb: Dcmweb) -> None:
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(origin.url, "search", "instances", "--format", "table")
    assert "CT Image Storage" in result.out


# Fields.


def test_fields_are_asked_for_and_are_all_there_is(dcmweb: Dcmweb) -> None:
    fields = "PatientID,0010,1010,00081030,RequestAttributesSequence.ScheduledProcedureStepID"
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(origin.url, "search", "series", "--fields", fields)
        table = dcmweb(origin.url, "search", "series", "--fields", fields, "--format", "csv")
    assert parse_qs(origin.requests[0].query)["includefield"] == [
        "00100020",
        "00101010",
        "00081030",
        "00400275.00400009",
    ]
    # The archive returns the sequence without a value, as PS3.18 table 10.6.3-4 requires it.
    assert [set(row) for row in json.loads(result.out)] == [{"00100020", "00400275"}]
    assert table.out.splitlines()[0] == (
        "PatientID,PatientAge,StudyDescription,RequestAttributesSequence.ScheduledProcedureStepID"
    )


def test_values_within_sequences_have_a_column(dcmweb: Dcmweb) -> None:
    item = {"00400009": {"vr": "SH", "Value": ["STEP"]}}
    row = study(1, **{"00400275": {"vr": "SQ", "Value": [item, {}, item]}})
    pages = [Answer(204), json_answer([row])]
    with serving(lambda _: pages.pop()) as origin:
        name = "RequestAttributesSequence.ScheduledProcedureStepID"
        result = dcmweb(origin.url, "search", "--format", "csv", "--fields", name)
    assert result.out.splitlines()[1] == "STEP; STEP"


def test_fields_that_a_server_refuses_are_done_without(dcmweb: Dcmweb) -> None:
    archive = Archive(*make_series(1))

    def handle(request: Request) -> Answer:
        return Answer(400) if "includefield" in request.query else archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "--fields", "PatientID", "--format", "csv")
    assert result.code == 0
    assert result.out == "PatientID\nsecret-id-17\n"
    assert "refused to be asked for fields" in result.err


# What is not understood.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["PatientNam=Doe"], "did you mean PatientName?"),
        (["patientid=1"], "did you mean PatientID?"),
        (["limt=5"], "did you mean limit?"),
        (["Foo.Bar=1"], "--unchecked"),
        (["xyzzy=1"], "--unchecked"),
        (["includefield=PatientAg"], "PatientAge"),
        (["StudyDate=2024-02-30"], "no such day"),
        (["StudyDate=soon"], "not a valid date"),
        (["StudyDate=2024-03-01..2024-01-01"], "before it begins"),
        (["StudyDate>=2024-03-01", "StudyDate<2024-01-01"], "before it begins"),
        (["PatientID>=5"], "does not take a range"),
        (["--fields", "PatientNam"], "PatientName"),
        (["--all", "--limit", "5"], "choose one"),
        (["--all", "limit=5"], "choose one"),
        (["--count", "limit=5"], "choose one"),
        (["--count", "--format", "csv"], "leave out"),
        (["--format", "uids", "--fields", "PatientID"], "leave out"),
        (["--format", "yaml"], "yaml"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_slips_are_told_before_anything_is_asked(
    dcmweb: Dcmweb, arguments: list[str], words: str
) -> None:
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "search", "studies", *arguments)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert not origin.requests


def test_what_is_not_checked_is_sent_as_it_is(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(204)) as origin:
        given = ["Foo=1", "patientname=x", "StudyDate=2024", "StudyTime=noon"]
        assert dcmweb(origin.url, "search", "--unchecked", *given).code == 0
    assert (
        origin.requests[0].query == "Foo=1&patientname=x&StudyDate=2024&StudyTime=noon&limit=5000"
    )


# Commands that feed one another.


def test_what_is_found_is_retrieved_and_deleted(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*make_series(2), *make_series(2, "1.9", "1.9.1"))
    with serving(archive) as origin:
        for level, count in (("studies", 2), ("series", 2), ("instances", 4)):
            paths = dcmweb(origin.url, "search", level, "--format", "uids").out
            assert len(paths.splitlines()) == count
            folder = tmp_path / level
            result = dcmweb("-m", origin.url, "retrieve", "-", "-o", folder, text=paths)
            assert result.code == 0, result.err
            assert tree(folder) == archive.tree()
        found = dcmweb(origin.url, "search", "StudyInstanceUID=1.9", "--format", "uids").out
        assert dcmweb(origin.url, "delete", "-", "--yes", text=found).code == 0
    assert not archive.matching("studies/1.9")
    assert archive.matching("studies/1.2.3")


def test_a_result_without_uids_is_not_left_out_silently(dcmweb: Dcmweb) -> None:
    pages = [Answer(204), json_answer([study(1), {"00100020": {"vr": "LO", "Value": ["x"]}}])]
    with serving(lambda _: pages.pop()) as origin:
        result = dcmweb(origin.url, "search", "--format", "uids")
    assert (result.code, result.out) == (1, "studies/1.2.1\n")
    assert "1 result without a usable UID" in result.err


def test_of_a_list_what_fails_is_named_and_the_others_come(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*make_series(2))
    lines = ["studies/6.6.6", "nonsense/1", "studies/1.2.3"]
    with serving(archive) as origin:
        arguments = (origin.url, "retrieve", "-", "-o", "out", "--failed-to", "failed")
        result = dcmweb(*arguments, text="\n".join(lines))
        empty = dcmweb(*arguments)
    assert result.code == 1
    assert tree(tmp_path / "out") == archive.tree()
    assert (tmp_path / "failed").read_text() == "" or empty.code == 3
    assert "studies/6.6.6 failed" in result.err
    assert "nonsense/1 failed" in result.err
    assert empty.code == 3


@pytest.mark.parametrize("cap", [10, 100, 200])
def test_results_that_slip_as_others_go_away_are_looked_for(dcmweb: Dcmweb, cap: int) -> None:
    studies = Studies(250, cap)

    def handle(request: Request) -> Answer:
        if studies.asked == 1:  # the first ones listed, which are the newest, go
            del studies.numbers[-7:]
        return studies(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "--all", "--format", "uids")
    assert result.code == 0
    assert {f"studies/1.2.{n}" for n in range(243)} <= set(result.out.split())
    assert len(result.out.split()) == len(set(result.out.split()))


def test_a_study_that_comes_with_each_request_is_no_ignored_offset(dcmweb: Dcmweb) -> None:
    studies = Studies(40, 1)

    def handle(request: Request) -> Answer:
        if 0 < studies.asked < 6:
            studies.numbers.append(40 + studies.asked)
        return studies(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "search", "--all", "--format", "uids")
    assert result.code == 0
    assert {f"studies/1.2.{n}" for n in range(40)} <= set(result.out.split())


@pytest.mark.parametrize("command", [("retrieve",), ("delete", "--yes")])
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_results_as_json_are_no_list_of_paths(
    dcmweb: Dcmweb, command: tuple[str, ...], format_: str
) -> None:
    """Forgetting --format uids says so once, rather than in a failure for each line."""
    scripted = Scripted(*make_series(3))
    with serving(scripted) as origin:
        found = dcmweb(origin.url, "search", "instances", "--format", format_)
        before = len(origin.requests)
        result = dcmweb(origin.url, *command, "-", text=found.out)
        assert len(origin.requests) == before
    assert result.code == 2
    assert "--format uids" in result.last
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [(b'[{"00100020": {"vr": "LO", "Value": ["M\xfcller"]}}]', "utf-8"), (b'[{"0020', "not JSON")],
)
def test_an_answer_that_is_almost_json_is_said_to_be_so(
    dcmweb: Dcmweb, body: bytes, words: str
) -> None:
    with serving(lambda _: Answer(200, body)) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 8
    assert words in result.last
    assert result.out == ""


def test_an_empty_element_is_none_in_any_format(dcmweb: Dcmweb) -> None:
    row = study(1, **{"00100010": None, "00080020": {"vr": "DA", "Value": None}})

    def handle(request: Request) -> Answer:
        return Answer(204) if "offset" in request.query else json_answer([row])

    with serving(handle) as origin:
        for format_ in ("json", "ndjson", "table", "csv", "tsv", "xml", "uids"):
            result = dcmweb(origin.url, "search", "--format", format_)
            assert result.code == 0, result.err
            assert "1.2.1" in result.out
