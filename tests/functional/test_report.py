"""`report` and `--report`: a page of runs that can be handed on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dcmweb.cli.report_page import escaped, without_places
from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_instance, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving
from tests.functional.storing import taking

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;\x1b[2J\u202e"
_VOID = {"meta", "br", "rect", "line"}
_KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3", "p"),
    *("strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "br", "footer"),
    *("figure", "figcaption", "svg", "rect", "line", "text"),
}


class Page(HTMLParser):
    """A page, which must be well formed, and have nothing in it that could act or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.style = ""
        self.policy = ""
        self.captions = 0
        self.feed(text)
        self.close()
        assert not self.open
        assert self.captions == text.count("<table")
        digest = base64.b64encode(hashlib.sha256(self.style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in self.policy
        assert self.policy.startswith("default-src 'none'; ")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _KNOWN, tag
        values = dict(attrs)
        assert not {name for name in values if name.startswith("on") or name in ("src", "href")}
        assert "style" not in values
        if tag == "html":
            assert values == {"lang": "en"}
        if tag == "th":
            assert values["scope"] in ("row", "col")
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        self.captions += tag == "caption"
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "br" and "td" in self.open:
            self.rows[-1][-1] += "\n"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        else:
            self.text += data

    def row(self, *begin: str) -> list[str]:
        """The row that begins with these cells."""
        (found,) = [row for row in self.rows if row[: len(begin)] == list(begin)]
        return found


def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def write_manifest(path: Path, *events: dict[str, Any], **header: Any) -> None:
    first = {"type": "manifest", "version": 1, "base_url": "http://x/dicomweb", "command": "store"}
    lines = [{**first, **header}, *events]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))


def end(how: str = "complete", code: int = 0) -> dict[str, Any]:
    times = {"started": "2026-11-26T14:00:00.000Z", "time": "2026-11-26T16:30:00.000Z"}
    return {"type": "end", "end": how, "exit_code": code, "run": "0123456789ab", **times}


def refusing(*uids: str) -> Any:
    archive = Archive()

    def store(request: Request) -> Answer:
        if any(uid.encode() in request.body for uid in uids):
            return Answer(400, ATTACK.encode(), {"Content-Type": "text/plain"})
        return archive(request)

    return taking(archive, store)


def store_some(dcmweb: Dcmweb, tmp_path: Path, *more: str) -> int:
    """Store three instances of patients, one of which the server refuses, and one broken file."""
    instances = [make_instance("1.2.3", "1.2.3.4", f"1.2.3.4.{n}") for n in range(1, 4)]
    write_files(tmp_path / "in" / "Doe^Jane", instances)
    (tmp_path / "in" / "Doe^Jane" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with serving(refusing("1.2.3.4.2")) as origin:
        return dcmweb(origin.url, "store", "in", *more, "--batch-count", "1").code


def test_a_page_of_a_manifest(dcmweb: Dcmweb, tmp_path: Path) -> None:
    assert store_some(dcmweb, tmp_path, "--manifest", "m.ndjson") == 1
    result = dcmweb("report", "m.ndjson", "-o", "page.html")
    assert (result.code, result.out, result.err) == (0, "", "")
    found = page(tmp_path / "page.html")
    assert "Not complete. 2 items failed." in found.text
    assert found.row("stored")[1:3] == ["2", "2.0 KiB"]
    assert found.row("failed", "2")
    assert found.row("Exit code of the last run")[1].startswith("1: ")
    assert "`" not in found.text
    resource = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.2"
    assert resource in [row[3] for row in found.rows if row[0] == "failed" and len(row) == 4]
    end_of_run = json.loads((tmp_path / "m.ndjson").read_text().splitlines()[-1])
    assert found.row(end_of_run["run"])[1] == "m.ndjson"
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_names_of_files_are_there_only_if_asked_for(dcmweb: Dcmweb, tmp_path: Path) -> None:
    assert store_some(dcmweb, tmp_path, "--manifest", "m.ndjson", "--report", "run.html") == 1
    without = dcmweb("report", "m.ndjson").out
    with_paths = dcmweb("report", "m.ndjson", "--with-paths").out
    for text in (without, (tmp_path / "run.html").read_text()):
        assert "Doe" not in text
        assert "broken" not in text
        assert re.search("line [2-6] of m.ndjson", text)
    assert str(tmp_path / "in" / "Doe^Jane" / "broken.dcm") in with_paths
    for text in (without, with_paths):
        assert "Test^Someone" not in text
        assert "secret-id" not in text
        Page(text)


def test_folders_that_a_layout_made_are_not_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Test^Someone").write_text("in the way")
    with serving(Archive(make_instance())) as origin:
        result = dcmweb(
            *(origin.url, "retrieve", "studies/1.2.3", "-o", "out"),
            *("--layout", "{PatientName}/{Modality}", "--report", "run.html"),
        )
    assert result.code != 0
    text = (tmp_path / "run.html").read_text()
    assert "Not complete." in text
    assert "Someone" not in text


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("cannot write into ./out/Doe Jane/CT: Permission denied", "into ...: Permission denied"),
        ("7 bytes are to come into out/Doe, where 5 are free", "into ..., where 5 are free"),
        ("/data/Doe^Jane/1.dcm cannot be read: x", "... cannot be read: x"),
        (r"C:\data\Doe cannot be read", "... cannot be read"),
        ("refused with status 400; it comes as application/dicom+json", None),
        ("moved to https://x/studies/1.2, see studies/1.2/series/3", None),
    ],
)
def test_places_of_this_machine_are_taken_out_of_reasons(reason: str, shown: str | None) -> None:
    found = without_places(reason)
    assert "Doe" not in found
    assert found.endswith(shown or reason)


def test_a_text_without_end_is_cut() -> None:
    assert escaped("<" * 500) == "&lt;" * 500
    assert escaped("<" * 100_000) == "&lt;" * 500 + "..."


def test_texts_from_elsewhere_stay_texts(dcmweb: Dcmweb, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"type": "stored", "item": ATTACK, "reason": ATTACK, "study": ATTACK, "run": ATTACK},
        {"type": "failed", "item": "\udcff\ud800", "reason": f"\ud800{ATTACK}", "study": "1.2"},
        {"type": "failed", "item": {"a": ATTACK}, "reason": [ATTACK], "series": "1/../2"},
        {"type": "end", "end": ATTACK, "exit_code": ATTACK, "time": ATTACK, "started": ATTACK},
    ]
    header = {"base_url": f"http://x/{ATTACK}\ud800", "command": ATTACK, "destination": ATTACK}
    write_manifest(tmp_path / "m", *events, **header)
    for more in ([], ["--with-paths"]):
        result = dcmweb("report", "m", *more)
        assert result.code == 0, result.err
        Page(result.out)
        assert "<script" not in result.out
        assert "\x1b" not in result.out
        assert "\u202e" not in result.out
        assert "&lt;script&gt;alert(1)" in result.out


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "Not complete. 1 run ended early or never; no item was recorded."),
        ([end()], "Not complete. no item was recorded."),
        ([{"type": "stored", "item": "a"}], "Not complete. 1 run ended early or never."),
        ([{"type": "stored", "item": "a"}, end()], "Complete. 1 item, none of them failed"),
        ([{"type": "begun", "item": "a"}, end()], "Not complete. 1 item begun."),
        ([{"type": "unknown", "item": "a"}, end(code=1)], "Not complete. 1 item unknown."),
        ([{"type": "planned", "item": "a"}, end()], "a dry run, which changed nothing"),
        ([{"type": "stored", "item": "a"}, end("interrupted", 130)], "1 run ended early"),
        (
            [{"type": "failed", "item": "a"}, end(), {"type": "stored", "item": "a"}, end()],
            "Complete. 1 item",
        ),
        ([{"type": "skipped", "item": "a"}, end()], "1 item skipped, for the reasons below"),
    ],
)
def test_complete_is_only_what_is_known_to_be_done(
    dcmweb: Dcmweb, tmp_path: Path, events: list[dict[str, Any]], words: str
) -> None:
    write_manifest(tmp_path / "m", *events)
    result = dcmweb("report", "m")
    assert result.code == 0
    assert words in Page(result.out).text


def test_parts_that_are_missing_are_named(dcmweb: Dcmweb, tmp_path: Path) -> None:
    for index in (1, 3):
        done = {"type": "stored", "item": f"{index}", "time": "2026-11-26T14:10:00.000Z", "size": 9}
        write_manifest(tmp_path / f"{index}.ndjson", done, end(), shard=f"{index}/4")
    found = Page(dcmweb("report", "1.ndjson", "3.ndjson").out)
    assert "Not complete. 2 parts without a manifest." in found.text
    assert "2/4, 4/4" in found.text
    assert found.row("From begin to end")[1] == "2 h 30 min"


def test_manifests_of_earlier_versions_have_a_page(dcmweb: Dcmweb, tmp_path: Path) -> None:
    old_end = {"type": "end", "end": "complete", "exit_code": 0}
    write_manifest(
        tmp_path / "m",
        {"type": "stored", "item": "a", "size": 7, "mtime_ns": 1795444642612996795},
        old_end | {"time": "2026-11-26T14:00:00.000+00:00"},
    )
    found = Page(dcmweb("report", "m").out)
    assert "Complete." in found.text
    assert "say nothing of when items were done" in found.text
    assert found.row("Ended")[1] == "2026-11-26 14:00:00 UTC"
    assert found.row("Began")[1] == "not recorded"


def test_a_large_manifest_has_a_small_page(dcmweb: Dcmweb, tmp_path: Path) -> None:
    failed = [
        {"type": "failed", "item": f"/x/{number}", "reason": "cause " + "abcde"[number % 5]}
        for number in range(3000)
    ]
    many = [
        {"type": "failed", "item": f"/y/{number}", "reason": "reason " + "xy"[number % 2] * number}
        for number in range(200)
    ]
    runs = [end() | {"run": f"{number:012x}"} for number in range(300)]
    write_manifest(tmp_path / "m", *failed, *many, *runs)
    text = dcmweb("report", "m").out
    found = Page(text)
    assert len(text) < 400_000
    assert "other reasons" in found.text
    assert "\nand 550 others" in "".join(found.row("failed", "600", "cause a"))
    assert "The last 100 of 301 runs" in text


def test_a_page_at_the_end_of_a_run_without_a_manifest(dcmweb: Dcmweb, tmp_path: Path) -> None:
    assert store_some(dcmweb, tmp_path, "--report", "run.html") == 1
    found = page(tmp_path / "run.html")
    assert "Not complete. 2 items failed." in found.text
    assert found.row("stored")[1] == "2"
    (run,) = [row for row in found.rows if re.fullmatch("[0-9a-f]{12}", row[0])]
    assert (run[1], run[6][:2]) == ("none", "co")
    assert "Doe" not in (tmp_path / "run.html").read_text()
    assert not list(tmp_path.glob(".dcmweb-*"))


def test_a_page_of_each_command(dcmweb: Dcmweb, tmp_path: Path) -> None:
    instance = make_instance()
    with serving(Archive(instance)) as origin, serving(Archive()) as other:
        study = "studies/1.2.3"
        commands = {
            "retrieve": ("retrieve", study, "-o", "out"),
            "copy": ("copy", study, other.url),
            "dry": ("store", "out", "--dry-run"),
            "delete": ("delete", study),
        }
        for name, command in commands.items():
            result = dcmweb(origin.url, *command, "--report", f"{name}.html")
            assert result.code == 0, result.err
            text = page(tmp_path / f"{name}.html").text
            assert ("a dry run" in text) == (name == "dry")
            assert ("Complete. 1 item" in text) == (name != "dry")
        assert f"to {other.url}" in page(tmp_path / "copy.html").text


def test_what_was_unknown_at_first_and_is_stored_is_good(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance()])
    archive = Archive()

    def silent(request: Request) -> Answer:
        archive(request)
        return Answer(202)

    with serving(taking(archive, silent)) as origin:
        result = dcmweb(origin.url, "store", "in", "--verify", "--report", "run.html")
    assert result.code == 0, result.err
    found = page(tmp_path / "run.html")
    assert "Complete. 1 item" in found.text
    assert found.row("Exit code of the last run")[1].startswith("0: ")


def test_a_run_that_stopped_has_a_page_too(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance()])
    with serving(lambda _: Answer(401)) as origin:
        for more in ([], ["--manifest", "m"]):
            result = dcmweb(origin.url, "store", "in", "--report", "run.html", *more)
            assert result.code == 4
            found = page(tmp_path / "run.html")
            assert "1 run ended early or never" in found.text
            assert found.row("Exit code of the last run")[1].startswith("4: ")
            (tmp_path / "run.html").unlink()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("in/1.dcm", 2, "in/1.dcm exists, and is not an HTML page"),
        ("m", 2, "--report m is a file that this command uses already"),
        ("gone/run.html", 7, "gone/run.html cannot be opened"),
        ("in", 7, "in cannot be opened"),
    ],
)
def test_what_cannot_be_a_page_is_an_error_before_anything_starts(
    dcmweb: Dcmweb, tmp_path: Path, name: str, code: int, words: str
) -> None:
    (path,) = write_files(tmp_path / "in", [make_instance()])
    before = path.read_bytes()
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "--manifest", "m", "--report", name)
        assert not origin.requests
    assert (result.code, len(result.err.splitlines())) == (code, 1), result.err
    assert words in result.err
    assert path.read_bytes() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_page_that_cannot_be_written_is_an_error_and_the_run_goes_on(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", [make_instance()])
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in", "--report", "/dev/full")
    assert (result.code, len(archive.files)) == (7, 1)
    assert "cannot write into /dev/full: No space left on device" in result.err
    assert "stored 1" in result.last


def test_report_takes_manifests_alone(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m", end())
    (tmp_path / "x").write_text("no manifest\n")
    assert dcmweb("report", "x").code == 2
    assert dcmweb("report", "gone").code == 7
    assert dcmweb("report", "m", "-o", "m").code == 2
    assert dcmweb("report", "m", "-o", "x").code == 2
    assert (tmp_path / "x").read_text() == "no manifest\n"
    assert dcmweb("report", "m", "-o", "page.html").code == 0
    assert dcmweb("report", "m", "-o", "page.html").code == 0


@pytest.mark.slow
def test_an_interrupted_run_has_a_page(tmp_path: Path) -> None:
    write_files(tmp_path / "in", [make_instance()])

    def interrupt(_request: Request) -> Answer:
        if not interrupted:  # a second time would end it at once
            interrupted.append(True)
            process.send_signal(signal.SIGINT)
        return Answer(503)

    interrupted: list[bool] = []
    with serving(taking(Archive(), interrupt)) as origin:
        process = subprocess.Popen(
            [*DCMWEB, origin.url, "store", "in", "--report", "run.html"],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.DEVNULL,
        )
        assert process.wait(60) == 130
    assert "this run: interrupted" in page(tmp_path / "run.html").text
