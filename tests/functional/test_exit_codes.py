"""Every exit code, produced by the installed command."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from dcmweb.errors import ExitCode
from tests.conftest import DCMWEB, Dcmweb, Result, clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Handler, Request, serving

Scenario = Callable[[Dcmweb, Path], Result]


def against(handler: Handler, *arguments: str) -> Scenario:
    """A run against a server."""

    def run(dcmweb: Dcmweb, _: Path) -> Result:
        with serving(handler) as origin:
            return dcmweb("--retries", "1", "--timeout", "1", origin.url, *arguments)

    return run


def without_server(base_url: str, *arguments: str) -> Scenario:
    return lambda dcmweb, _: dcmweb("--retries", "1", "--timeout", "1", base_url, *arguments)


def with_an_unknown_authority(dcmweb: Dcmweb, _: Path) -> Result:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving(Archive(), context) as origin:
        return dcmweb("--retries", "1", origin.url, "search")


def store_of_two_files_one_of_them_junk(dcmweb: Dcmweb, folder: Path) -> Result:
    write_files(folder / "in", [*make_series(1), b"junk"])
    with serving(Archive()) as origin:
        return dcmweb(origin.url, "store", "in/1.dcm", "in/2.dcm")


def one_study_short(request: Request) -> Answer:
    archive = Archive(*make_series(1), *make_series(1, "1.9", "1.9.1"))
    return Answer(404) if "/1.9" in request.path else archive(request)


def raising(dcmweb: Dcmweb, folder: Path) -> Result:
    """A run of the command in which a transaction has a defect."""
    code = """
import sys
from dcmweb.transactions.search import run
def search(*_, **__):
    raise RuntimeError("boom\\x1b[2J")
run.Search = search
from dcmweb.cli import main
main(sys.argv[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "http://127.0.0.1:1", "search"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def version_to_a_full_disk(_dcmweb: Dcmweb, folder: Path) -> Result:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*DCMWEB, "--version"], cwd=folder, stdout=full, stderr=subprocess.PIPE, check=False
        )
    return Result(done.returncode, "", done.stderr.decode())


HTML = Answer(200, b"<!doctype html>", {"Content-Type": "text/html"})
STUDY = "studies/1.2.3"

SCENARIOS: list[tuple[ExitCode, str, Scenario]] = [
    (ExitCode.OK, "", against(Archive(), "search")),
    (ExitCode.OK, "in 1 file:", against(Archive(*make_series(1)), "retrieve")),
    (ExitCode.SOME_FAILED, "2.dcm", store_of_two_files_one_of_them_junk),
    (ExitCode.SOME_FAILED, "studies/1.9", against(one_study_short, "retrieve")),
    (ExitCode.USAGE, "patients", against(Archive(), "search", "patients")),
    (ExitCode.NOTHING_MATCHED, "*.dcm", against(Archive(), "store", "*.dcm")),
    (ExitCode.NOTHING_MATCHED, "404", against(Archive(), "retrieve", STUDY)),
    (ExitCode.AUTH, "401", against(lambda _: Answer(401), "search")),
    (ExitCode.AUTH, "403", against(lambda _: Answer(403), "delete", STUDY)),
    (ExitCode.REFUSED, "503", against(lambda _: Answer(503), "retrieve")),
    (ExitCode.NETWORK, "unknown host", without_server("http://nosuchhost.invalid", "search")),
    (ExitCode.NETWORK, "refused", without_server("http://127.0.0.1:1", "retrieve", STUDY)),
    (ExitCode.NETWORK, "not trusted", with_an_unknown_authority),
    (ExitCode.NETWORK, "nothing moved", against(lambda _: Answer(200, b"[]", stall=1), "search")),
    (ExitCode.NETWORK, "broke", against(lambda _: Answer(cut=-1), "delete", STUDY)),
    (ExitCode.LOCAL_IO, "/dev/full", against(Archive(), "retrieve", "-o", "/dev/full")),
    (ExitCode.LOCAL_IO, "cannot write to stdout", version_to_a_full_disk),
    (ExitCode.PROTOCOL, "web page", against(lambda _: HTML, "search")),
    (ExitCode.DEFECT, "a defect in ", raising),
]
ELSEWHERE = {ExitCode.SIGINT, ExitCode.SIGTERM}  # it takes signals to produce these


@pytest.mark.parametrize(
    ("code", "words", "scenario"), SCENARIOS, ids=[f"{c.value}-{w}" for c, w, _ in SCENARIOS]
)
def test_a_run_ends_with_its_exit_code_and_says_why(
    dcmweb: Dcmweb, tmp_path: Path, code: ExitCode, words: str, scenario: Scenario
) -> None:
    result = scenario(dcmweb, tmp_path)
    assert result.code == code
    assert words in result.err
    assert result.err.count(" -- Error: ") == (code > ExitCode.SOME_FAILED)


def test_every_exit_code_is_covered() -> None:
    assert {code for code, _, _ in SCENARIOS} | ELSEWHERE == set(ExitCode)


def test_a_defect_is_one_line_that_asks_for_a_report(dcmweb: Dcmweb, tmp_path: Path) -> None:
    result = raising(dcmweb, tmp_path)
    (line,) = result.err.splitlines()
    assert re.search(r" -- Error: a defect in [\w.]+, line \d+: ", line)
    assert r"RuntimeError: boom\x1b[2J" in line
    assert "please report it" in line
    assert "Traceback" not in result.err
