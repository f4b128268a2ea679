"""Options and habits that could destroy: empty values, files in each other's place, long lists."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmweb.cli.delete import MOST_LISTED
from tests.conftest import Dcmweb, Result, make_instance, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Origin, Request, serving

STUDY = "studies/1.2.3"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Archive(*make_series(2))) as server:
        yield server


class TestEmptyValues:
    """An unset variable of a script is a usage error, not "everything"."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["retrieve", ""],
            ["retrieve", STUDY, ""],
            ["retrieve", "--path", ""],
            ["retrieve", STUDY, "-o", ""],
            ["retrieve", STUDY, "--output="],
            ["retrieve", STUDY, "--manifest", ""],
            ["retrieve", STUDY, "--failed-to", ""],
            ["retrieve", STUDY, "--type", ""],
            ["retrieve", STUDY, "--layout", ""],
            ["retrieve", STUDY, "--viewport", ""],
            ["retrieve", "--files-from", ""],
            ["retrieve", STUDY, "--token-file", ""],
            ["retrieve", STUDY, "--ca-bundle", ""],
            ["retrieve", STUDY, "--user", ""],
            ["store", ""],
            ["store", "x.dcm", ""],
            ["store", "x.dcm", "--metadata", ""],
            ["store", "--files-from", ""],
            ["search", ""],
            ["search", "studies", ""],
            ["search", "--path", ""],
            ["search", "--fields", ""],
            ["delete", ""],
            ["delete", STUDY, ""],
            ["delete", "--files-from", "", "--yes"],
            ["wait", ""],
            ["retrieve", " "],
            ["retrieve", "--path", "\t"],
            ["search", "\n"],
            ["delete", STUDY, " "],
        ],
        ids=" ".join,
    )
    def test_is_refused(self, arguments: list[str], dcmweb: Dcmweb, origin: Origin) -> None:
        result = dcmweb(origin.url, *arguments)
        assert result.code == 2
        assert "is empty; is a variable unset?" in result.last
        assert (origin.requests, result.out) == ([], "")

    def test_of_a_folder_to_serve(self, dcmweb: Dcmweb) -> None:
        assert dcmweb("serve", "").code == 2


class TestEmptyKeys:
    """A key without a value matches everything: it is said, and never goes into a list."""

    def test_it_is_said(self, dcmweb: Dcmweb, origin: Origin) -> None:
        result = dcmweb(origin.url, "search", "studies", "PatientID=")
        assert result.code == 0
        assert "PatientID= has no value, and matches everything" in result.err

    def test_it_is_refused_for_a_list_of_paths(self, dcmweb: Dcmweb, origin: Origin) -> None:
        refused = dcmweb(origin.url, "search", "PatientID=", "Modality=CT", "--format", "uids")
        assert (refused.code, refused.out, origin.requests) == (2, "", [])
        assert "--unchecked" in refused.last
        given = dcmweb(origin.url, "search", "PatientID=", "--format", "uids", "--unchecked")
        assert (given.code, given.out) == (0, f"{STUDY}\n")


class TestIgnoredKeys:
    """What a server ignored is said where all rows contradict it."""

    @pytest.mark.parametrize(
        ("parameters", "ignored"),
        [
            (["PatientID=4711"], ["PatientID"]),
            (["00100020=4711", "StudyInstanceUID=9.9"], ["00100020", "StudyInstanceUID"]),
            (["PatientName=Test^Someone"], []),
            (["PatientName=TEST^someone"], []),
            (["PatientName=Test*"], []),
            (["PatientName=Smith^Anna", "fuzzymatching=true"], []),
            (["PatientName=Smith^Anna"], ["PatientName"]),
            (["StudyInstanceUID=9.9", "StudyInstanceUID=9.8"], []),
            (["StudyDate=20200101-"], []),
            (["AccessionNumber=5"], []),
        ],
    )
    def test_they_are_named(
        self, parameters: list[str], ignored: list[str], dcmweb: Dcmweb
    ) -> None:
        row = {
            "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
            "00100020": {"vr": "LO", "Value": ["secret-17"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Test^Someone"}]},
        }

        def handle(request: Request) -> Answer:
            return json_answer([] if "offset" in request.query else [row])

        with serving(handle) as server:
            result = dcmweb(server.url, "search", "studies", *parameters)
        said = [line for line in result.err.splitlines() if "the server ignored" in line]
        assert [line.split("ignored ")[1].split(",")[0] for line in said] == ignored
        assert result.code == 0
        assert not any(value in result.err for value in ("4711", "secret-17", "Smith", "9.9"))


class TestFilesThatAreWritten:
    """They never take the place of a file that is read, of each other, or of an image."""

    def test_a_list_is_not_written_over_the_one_that_is_read(
        self, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        paths = write_files(tmp_path / "in", make_series(1))
        todo = tmp_path / "todo.txt"
        todo.write_text(f"{paths[0]}\nmissing.dcm\n")
        os.link(todo, tmp_path / "same.txt")
        os.symlink(todo, tmp_path / "link.txt")
        before = todo.read_bytes()
        for name in ("todo.txt", "./todo.txt", "same.txt", "link.txt"):
            result = dcmweb(origin.url, "store", "--files-from", "todo.txt", "--failed-to", name)
            assert result.code == 2
            assert "uses already" in result.last
        assert todo.read_bytes() == before
        assert origin.requests == []

    @pytest.mark.parametrize("command", ["store", "retrieve", "delete"])
    def test_nor_over_the_manifest(
        self, command: str, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        write_files(tmp_path / "in", make_series(1))
        target = "in" if command == "store" else STUDY
        records = ["--manifest", "run.ndjson", "--failed-to", "run.ndjson"]
        assert dcmweb(origin.url, command, target, *records).code == 2
        assert not (tmp_path / "run.ndjson").exists()
        assert dcmweb(origin.url, command, target, "--manifest", "run.ndjson").code == 0
        again = dcmweb(origin.url, command, target, "--failed-to", "run.ndjson")
        assert again.code == 2
        assert "is not a list of paths" in again.last
        assert json.loads((tmp_path / "run.ndjson").read_text().splitlines()[0])

    @pytest.mark.parametrize("option", ["--failed-to", "--manifest"])
    def test_nor_over_an_image(
        self, option: str, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        image = tmp_path / "image.dcm"
        image.write_bytes(make_instance())
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0")
        for path in (image, photo):
            before = path.read_bytes()
            result = dcmweb(origin.url, "store", "image.dcm", option, path.name)
            assert result.code == 2
            assert path.read_bytes() == before

    def test_a_list_is_there_when_the_run_is_over(
        self, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        write_files(tmp_path / "in", make_series(1))
        listed = tmp_path / "failed.txt"
        listed.write_text("from an earlier run\n")
        result = dcmweb(origin.url, "store", "in", "none.dcm", "--failed-to", "failed.txt")
        assert result.code == 1
        assert listed.read_text() == "none.dcm\n"
        assert dcmweb(origin.url, "store", "in", "--failed-to", "failed.txt").code == 0
        assert listed.read_text() == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["failed.txt", "home", "in"]

    def test_a_list_that_cannot_be_written_ends_the_run_before_it_begins(
        self, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        write_files(tmp_path / "in", make_series(1))
        for path in ("no/such/folder.txt", "in"):
            assert dcmweb(origin.url, "store", "in", "--failed-to", path).code == 7
        assert origin.requests == []


class TestLists:
    """However the list was written, its paths are read."""

    @pytest.mark.parametrize(
        "encode",
        [
            lambda text: text.encode(),
            lambda text: b"\xef\xbb\xbf" + text.encode(),
            lambda text: text.encode("utf-16"),
            lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
            lambda text: text.replace("\n", "\r\n").encode(),
            lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
            lambda text: ("# from a search\n\n  \n" + text + "\n#end").encode(),
        ],
        ids=["utf-8", "mark", "utf-16", "utf-16-be", "crlf", "mark crlf", "comments"],
    )
    @pytest.mark.parametrize("from_pipe", [False, True])
    def test_are_read(self, encode, from_pipe, dcmweb, origin, tmp_path) -> None:  # type: ignore[no-untyped-def]
        paths = write_files(tmp_path / "Bilder für Jürgen", make_series(2))
        data = encode("".join(f"{path}\n" for path in paths))
        (tmp_path / "list.txt").write_bytes(data)
        if from_pipe:
            os.mkfifo(tmp_path / "pipe")
            writer = os.open(tmp_path / "pipe", os.O_RDWR)
            os.write(writer, data)
            result = _with_pipe(dcmweb, origin, writer)
        else:
            result = dcmweb(origin.url, "store", "--files-from", "list.txt")
        assert result.code == 0, result.err
        assert result.err.count("already there") + result.err.count("uploaded as") >= 2

    @pytest.mark.parametrize("command", ["store", "retrieve", "delete"])
    def test_without_a_path_are_nothing_matched(
        self, command: str, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        (tmp_path / "list.txt").write_text("\n\n# nothing today\n")
        result = dcmweb(origin.url, command, "--files-from", "list.txt")
        assert result.code == 3
        assert "the list has no paths in it" in result.err
        assert origin.requests == []


def _with_pipe(dcmweb: Dcmweb, origin: Origin, writer: int) -> Result:
    """Read the list from a pipe, whose writer goes away while it is read."""
    timer = threading.Timer(1.0, lambda: os.close(writer))
    timer.start()
    return dcmweb(origin.url, "store", "--files-from", "pipe")


class TestLongLists:
    """A list from a pipe deletes no more than it should."""

    def test_too_many_are_refused(self, dcmweb: Dcmweb, origin: Origin, tmp_path: Path) -> None:
        text = "".join(f"studies/1.{n}\n" for n in range(MOST_LISTED + 1))
        result = dcmweb(origin.url, "delete", "-", "--yes", text=text)
        assert result.code == 2
        assert f"nothing was deleted: {MOST_LISTED + 1:,} resources" in result.last
        assert f"--max {MOST_LISTED + 1}" in result.last
        named = dcmweb(origin.url, "delete", STUDY, "studies/1.9", "--yes", "--max", "1")
        assert named.code == 2
        assert origin.requests == []

    def test_too_many_are_refused_from_a_pipe_with_a_name(
        self, dcmweb: Dcmweb, origin: Origin, tmp_path: Path
    ) -> None:
        text = "".join(f"studies/1.{n}\n" for n in range(MOST_LISTED + 1))
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
        writer.start()
        result = dcmweb(origin.url, "delete", "--files-from", "pipe", "--yes")
        writer.join()
        assert (result.code, origin.requests) == (2, [])
        assert f"--max {MOST_LISTED + 1}" in result.last

    def test_as_many_as_are_allowed_go(self, dcmweb: Dcmweb) -> None:
        series = [one for n in (1, 2) for one in make_series(1, f"1.{n}", f"1.{n}.1")]
        archive = Archive(*series)
        with serving(archive) as origin:
            text = "studies/1.1\nstudies/1.2\n"
            assert dcmweb(origin.url, "delete", "-", "--yes", "--max", "2", text=text).code == 0
        assert archive.files == {}


def test_the_size_of_the_whole_store_is_said_before_it_is_retrieved(
    dcmweb: Dcmweb, origin: Origin
) -> None:
    result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert result.code == 0
    assert "The whole store: 1 study, 2 instances" in result.err
    assert "whole store" not in dcmweb(origin.url, "retrieve", STUDY, "-o", "out").err


@pytest.mark.parametrize(
    "command",
    [
        ["retrieve", "-o", "out"],
        ["retrieve", "-o", "out", "--dry-run"],
        ["retrieve", "--type", "image/png", "-o", "out"],
        ["copy", "http://127.0.0.1:1/dicomweb"],
    ],
)
def test_that_a_store_has_no_studies_is_said(dcmweb: Dcmweb, command: list[str]) -> None:
    with serving(Archive()) as empty:
        result = dcmweb(empty.url, *command)
        quiet = dcmweb("-q", empty.url, *command)
    assert (result.code, quiet.code, quiet.err) == (0, 0, "")
    assert result.err.count("the server lists no studies") == 1


def test_a_mistake_in_a_layout_is_found_before_the_whole_store_is_counted(
    dcmweb: Dcmweb, origin: Origin
) -> None:
    result = dcmweb(origin.url, "retrieve", "-o", "out", "--layout", "{InstanceNumber:x}")
    assert (result.code, origin.requests) == (2, [])


def test_a_folder_without_any_dicom_is_warned_of(
    dcmweb: Dcmweb, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "in" / name).write_text("text")
    result = dcmweb(origin.url, "store", "in")
    assert result.code == 0
    assert "nothing was stored, since none of 2 files is DICOM" in result.err
