"""Messages for what people do by mistake: what is wrong, and what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, clean_environment, make_series
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Request, serving

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


def test_an_empty_list_is_said_to_be_empty(dcmweb: Dcmweb) -> None:
    result = dcmweb("http://127.0.0.1:1/x", "retrieve", "-", text="\n")
    assert (result.code, "the list is empty" in result.last) == (3, True)
