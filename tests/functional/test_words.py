"""Messages for what people do by mistake: what is wrong, and what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, clean_environment, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Handler, Request, serving

LATIN = os.fsdecode(b"M\xfcller")  # "Müller" in Latin-1, as an old script has it
INSTANCE = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", f"PatientName={LATIN}"], "the value of PatientName is not UTF-8"),
        (["search", "--unchecked", f"{LATIN}=1"], "a search key is not UTF-8"),
        (["search", "--unchecked", f"X={LATIN}"], "the value of X is not UTF-8"),
        (["search", f"{LATIN}=1"], ""),
        (["search", f"StudyDate={LATIN}"], ""),
        (["search", f"includefield={LATIN}"], ""),
        (["search", "--parameters", f"PatientName={LATIN}"], "not UTF-8"),
        (["search", "--path", f"studies/{LATIN}/series"], "is not UTF-8"),
        (["search", "--fields", LATIN], ""),
        (["search", LATIN], ""),
        (["search", "--format", LATIN], ""),
        (["retrieve", f"studies/{LATIN}"], "is not UTF-8"),
        (["retrieve", f"{INSTANCE}/bulkdata/{LATIN}"], ""),
        (["retrieve", INSTANCE, "--layout", f"{LATIN}/{{PatientID}}"], "the layout is not UTF-8"),
        (["retrieve", f"{INSTANCE}/metadata", "-o", "out", "--layout", LATIN], "not UTF-8"),
        (["retrieve", INSTANCE, "--type", LATIN], ""),
        (["retrieve", f"{INSTANCE}/rendered", "--viewport", LATIN], ""),
        (["retrieve", f"{INSTANCE}/rendered", "--window", LATIN], ""),
        (["delete", f"studies/{LATIN}"], "is not UTF-8"),
        (["wait", LATIN], ""),
        ([LATIN], ""),
        (["--auth", LATIN, "search"], ""),
        (["--timeout", LATIN, "search"], ""),
    ],
    ids=lambda value: " ".join(value).encode("ascii", "replace").decode(),
)
def test_arguments_that_are_not_utf_8_are_usage_errors(
    dcmweb: Dcmweb, arguments: list[str], words: str
) -> None:
    result = dcmweb("http://127.0.0.1:1/x", *arguments)
    assert result.code == 2, result.err
    error = next(line for line in result.err.splitlines() if " -- Error: " in line)
    assert words in error
    assert "defect" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retrieve", "1.2.3"], "write studies/1.2.3"),
        (["delete", "--yes", "1.2.3"], "write studies/1.2.3"),
        (["search", "1.2.3"], "write studies/1.2.3/series"),
    ],
)
def test_uids_alone(dcmweb: Dcmweb, arguments: list[str], words: str) -> None:
    result = dcmweb("http://127.0.0.1:1/x", *arguments)
    assert result.code == 2
    assert result.last.endswith(words)


@pytest.mark.parametrize(
    "arguments", [["retrieve", INSTANCE, "-o", "-"], ["retrieve", f"{INSTANCE}/metadata"]]
)
def test_without_a_temporary_folder_the_error_names_it(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str]
) -> None:
    """As in a container whose root cannot be written."""
    large: list[dict[str, dict[str, Any]]] = [
        {"00080018": {"vr": "UI", "Value": ["1.2.3.4.1"]}, "00420011": {"vr": "OB"}}
    ]
    large[0]["00420011"]["InlineBinary"] = "A" * (12 << 20)  # more than is held in memory

    def handle(request: Request) -> Answer:
        if request.path.endswith("/metadata"):
            return json_answer(large)
        return Archive(*make_series(1))(request)

    code = (
        "import sys, tempfile; tempfile._candidate_tempdir_list = lambda: ['/dev/null/x'];"
        "from dcmweb.cli.app import main; main(sys.argv[1:])"
    )
    with serving(handle) as origin:
        done = subprocess.run(
            [sys.executable, "-c", code, origin.url, *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 7
    assert "the folder for temporary files cannot be used" in done.stderr
    assert "set TMPDIR" in done.stderr
    assert "stdout" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retrieve", "-"], "the list has no paths in it; it holds paths, one per line"),
        (["delete", "--yes", "--files-from", "-"], "the list has no paths in it; it holds paths"),
        (["store", "--files-from", "-"], "the list has no paths in it; it holds paths of files"),
        (["store", "folder"], "No files found matching folder; a folder without files"),
        (["store", "nowhere"], "No files found matching nowhere; check the path"),
    ],
)
def test_that_there_is_nothing_to_do_is_said_with_the_reason(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "folder").mkdir()
    result = dcmweb("http://127.0.0.1:1/x", *arguments, text="\n")
    assert (result.code, words in result.err) == (3, True)


# A BASE_URL that is not the root of the service.


NOT_FOUND = Answer(404)
JSON = {"Content-Type": "application/dicom+json"}
PAGE = Answer(200, b"<!DOCTYPE html>", {"Content-Type": "text/html"})
LIST = Answer(200, b'["0123-4567", "89ab-cdef"]', {"Content-Type": "application/json"})


def service_at(*roots: str, otherwise: Answer = NOT_FOUND) -> Handler:
    """A server with a DICOMweb service below some of its paths, and something else elsewhere."""
    archive = Archive(*make_series(1))

    def handle(request: Request) -> Answer:
        root = next((one for one in roots if request.target.startswith(f"{one}/studies")), None)
        if root is None:
            return otherwise
        return archive(replace(request, target="/dicomweb" + request.target.removeprefix(root)))

    return handle


ORTHANC = json_answer({"Details": 'Missing "since" argument for GET request', "Message": "x"}, 400)


@pytest.mark.parametrize("otherwise", [Answer(404), Answer(405), PAGE, LIST, ORTHANC])
@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("", "/dicom-web"),
        ("", "/dicomweb"),
        ("/projects/p/dicomStores/d", "/projects/p/dicomStores/d/dicomWeb"),
        ("/dcm4chee-arc/aets/DCM4CHEE", "/dcm4chee-arc/aets/DCM4CHEE/rs"),
        ("/app/explorer.html", "/dicom-web"),
        ("/dicom-web/studies", "/dicom-web"),
        ("/pacs/studies/1.2.3", "/pacs"),
    ],
)
def test_the_root_of_the_service_is_found(
    dcmweb: Dcmweb, given: str, root: str, otherwise: Answer
) -> None:
    with serving(service_at(root, otherwise=otherwise)) as origin:
        server = origin.url.removesuffix("/dicomweb")
        result = dcmweb(f"{server}{given}", "search")
    assert result.code in (3, 5, 8)
    assert result.last.endswith(f"the DICOMweb service is at {server}{root}: give that as BASE_URL")
    assert len(origin.requests) <= 8


def test_the_root_of_the_service_is_found_for_a_retrieval(dcmweb: Dcmweb) -> None:
    with serving(service_at("/dicom-web")) as origin:
        server = origin.url.removesuffix("/dicomweb")
        result = dcmweb(server, "retrieve", f"{INSTANCE}/metadata")
    assert (result.code, f"is at {server}/dicom-web:" in result.err) == (3, True)


def test_a_root_that_is_right_is_not_doubted(dcmweb: Dcmweb) -> None:
    with serving(service_at("/dicomweb", "/dicomweb/dicom-web")) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/9.9.9/metadata")
    assert result.code == 3
    assert "give that as BASE_URL" not in result.err
    assert origin.requests[-1].target == "/dicomweb/studies?limit=1"


def test_nothing_is_asked_of_another_origin(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(204)) as other:
        elsewhere = Answer(302, headers={"Location": f"{other.url}/studies"})

        def handle(request: Request) -> Answer:
            return Answer(404) if request.path == "/dicomweb/studies" else elsewhere

        with serving(handle) as origin:
            result = dcmweb(origin.url, "search")
    assert (result.code, other.requests) == (3, [])
    assert "give that as BASE_URL" not in result.err


def test_errors_of_another_kind_lead_to_no_further_requests(dcmweb: Dcmweb) -> None:
    for answer in (Answer(401), Answer(403), Answer(409), Answer(200, b"[{}]", JSON, cut=3)):
        with serving(lambda _, answer=answer: answer) as origin:  # type: ignore[misc]
            assert dcmweb("--retries", "0", origin.url, "search").code
        assert len(origin.requests) == 1


# What a server says beside its answer.


WARNINGS = [
    "the server says: the disk is nearly full",
    r"the server says: Attributes\x1b[2J were coerced",
]


def with_warnings(handler: Handler) -> Handler:
    """A server that adds one warning to all its answers, and another one to each."""

    def handle(request: Request) -> Answer:
        answer = handler(request)
        texts = '299 x "the disk is nearly full", 299 x "Attributes\x1b[2J were coerced"'
        return replace(answer, headers={**answer.headers, "Warning": texts})

    return handle


@pytest.mark.parametrize("options", [[], ["-q"], ["-m"]])
@pytest.mark.parametrize(
    "arguments", [["store", "in"], ["retrieve"], ["retrieve", f"{INSTANCE}/metadata"]]
)
def test_warnings_of_a_server_are_shown_once_each(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], options: list[str]
) -> None:
    files = make_series(40)
    write_files(tmp_path / "in", files)
    with serving(with_warnings(Archive(*files))) as origin:
        result = dcmweb(origin.url, *arguments, *options)
    assert result.code == 0
    expected = [] if "-q" in options else WARNINGS
    said = [line.partition(" -- ")[2] for line in result.err.splitlines() if "server says" in line]
    assert said == expected


def test_a_warning_is_cut_where_it_is_long(dcmweb: Dcmweb) -> None:
    headers = {"Content-Type": "application/dicom+json"}
    headers["Warning"] = f'299 - "{"so it is " * 10_000}"'
    with serving(lambda _: Answer(200, b"[]", headers)) as origin:
        result = dcmweb(origin.url, "search")
    (line,) = [line for line in result.err.splitlines() if "server says" in line]
    assert len(line) < 1000
