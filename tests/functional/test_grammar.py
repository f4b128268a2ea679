"""The grammar of the command line, and what its start costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcmweb import __version__
from tests.conftest import Dcmweb, clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, serving

URL = "http://127.0.0.1:1/dicomweb"  # nobody listens there
COMMANDS = ["store", "search", "retrieve", "delete"]


@pytest.mark.parametrize(
    ("line", "workers"),
    [
        ("URL retrieve", 1),
        ("-m URL retrieve", None),
        ("URL -m retrieve", None),
        ("URL retrieve -m", None),
        ("-j 3 URL retrieve", 3),
        ("URL --workers=3 retrieve", 3),
        ("URL retrieve studies/1.2.3 -j 3", 3),
        ("-m URL retrieve -j 3", 3),
        ("-j 5 URL -j 4 retrieve -j 3", 3),
        ("--timeout 5 URL --connect-timeout=5 retrieve --retries=0 -j 3", 3),
    ],
)
def test_options_stand_before_and_after_base_url_and_after_the_command(
    dcmweb: Dcmweb, line: str, workers: int | None
) -> None:
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(*line.replace("URL", origin.url).split())
    assert result.code == 0
    if workers is None:  # -m begins with one, and finds out how many more are faster
        assert re.search(r", \d+ workers?, 0 retries", result.last)
    else:
        noun = "worker" if workers == 1 else "workers"
        assert f", {workers} {noun}, 0 retries" in result.last
    assert "retrieved 1," in result.last


@pytest.mark.parametrize("line", ["--retries=0 URL search", "URL search --retries 0 studies"])
def test_an_option_has_its_effect_wherever_it_stands(dcmweb: Dcmweb, line: str) -> None:
    with serving(lambda _: Answer(503)) as origin:
        assert dcmweb(*line.replace("URL", origin.url).split()).code == 5
    assert len(origin.requests) == 1


@pytest.mark.parametrize("base", ["/dicomweb", "/dicomweb/", "/"])
def test_base_url_is_the_same_with_and_without_a_slash_at_its_end(
    dcmweb: Dcmweb, base: str
) -> None:
    with serving(lambda _: Answer(204)) as origin:
        assert dcmweb(f"http://127.0.0.1:{origin.port}{base}", "search").code == 0
    assert [r.path for r in origin.requests] == [f"{base.rstrip('/')}/studies"]


def test_a_path_may_follow_two_dashes(dcmweb: Dcmweb) -> None:
    archive = Archive(*make_series(1))
    with serving(archive) as origin:
        assert dcmweb(origin.url, "delete", "--", "studies/1.2.3").code == 0
    assert archive.files == {}


# Help.


@pytest.mark.parametrize("line", ["--help", "-h", "URL --help", "-m URL -h", "--help URL store"])
def test_help_is_about_the_whole(dcmweb: Dcmweb, line: str) -> None:
    result = dcmweb(*line.replace("URL", URL).split())
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage: dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]...")
    assert all(re.search(rf"^  {command} ", result.out, re.MULTILINE) for command in COMMANDS)
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("line", "command"),
    [
        *((f"{command} --help", command) for command in COMMANDS),
        ("URL store --help", "store"),
        ("URL search studies -h", "search"),
        ("-m URL retrieve studies/1 --help", "retrieve"),
        ("-m delete --help", "delete"),
    ],
)
def test_help_of_a_command_needs_no_base_url(dcmweb: Dcmweb, line: str, command: str) -> None:
    result = dcmweb(*line.replace("URL", URL).split())
    assert (result.code, result.err) == (0, "")
    assert re.match(rf"Usage: dcmweb .*{command} \[OPTIONS\]", result.out)
    assert "--retries" in result.out


@pytest.mark.parametrize("line", ["--version", "URL --version"])
def test_the_version_is_told(dcmweb: Dcmweb, line: str) -> None:
    result = dcmweb(*line.replace("URL", URL).split())
    assert (result.code, result.out, result.err) == (0, f"dcmweb {__version__}\n", "")


# What is not understood.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search"], "BASE_URL comes before the command"),
        (["-m", "retrieve", "studies/1"], "BASE_URL comes before the command"),
        ([URL, "serach"], "search"),
        ([URL, "stor", "x.dcm"], "store"),
        ([URL, "unheard-of"], "unheard-of"),
        ([URL, "search", "--unheard-of"], "--unheard-of"),
        (["--unheard-of", URL, "search"], "--unheard-of"),
        ([URL, "search", "--retrys", "1"], "--retries"),
        (["-j", "0", URL, "search"], "-j"),
        (["-j", "many", URL, "search"], "many"),
        ([URL, "search", "--timeout", "0"], "--timeout"),
        ([URL, "search", "--retries", "-1"], "--retries"),
        ([URL, "retrieve", "--output"], "--output"),
        ([URL, "retrieve", "studies/1", "study/2"], "study"),
        ([URL, "retrieve", "-", "--files-from", "x"], "choose one"),
        ([URL, "wait"], "nothing to wait for"),
        ([URL, "store"], "nothing to store"),
        (["127.0.0.1:1/dicomweb", "search"], "http://"),
        (["ftp://127.0.0.1/dicomweb", "search"], "http://"),
        (["http://", "search"], "no host"),
        (["http://a b/", "search"], "space"),
        (["http://host/\x1b[2J", "search"], "control character"),
        (["http://host:99999/", "search"], "not a URL"),
        (["http://host/dicomweb?x=1", "search"], "?"),
        (["http://host/dicomweb#x", "search"], "#"),
    ],
)
def test_what_is_not_understood_is_one_line(
    dcmweb: Dcmweb, arguments: list[str], words: str
) -> None:
    result = dcmweb(*arguments)
    assert (result.code, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} -- Error: ", line)
    assert words in line.partition("Error: ")[2]
    assert line.isprintable()


@pytest.mark.parametrize(
    "option",
    [["--manifest", "m"], ["--failed-to", "f"], ["--json"], ["--dry-run"], ["--skip-existing"]],
)
def test_options_that_mean_nothing_for_metadata_are_refused(
    dcmweb: Dcmweb, option: list[str]
) -> None:
    result = dcmweb(URL, "retrieve", "studies/1/metadata", *option)
    assert (result.code, result.out) == (2, "")
    assert "metadata goes to stdout" in result.last


@pytest.mark.parametrize("arguments", [[], [URL]])
def test_without_a_command_there_is_help_but_no_success(
    dcmweb: Dcmweb, arguments: list[str]
) -> None:
    result = dcmweb(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "Usage: dcmweb [OPTIONS] BASE_URL COMMAND" in result.err


# The start.


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["store", "--help"], []])
def test_what_needs_no_server_loads_nothing_for_one(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dcmweb", *arguments],
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    modules = set(re.findall(r"\| +([\w.]+)$", done.stderr.decode(), re.MULTILINE))
    assert "dcmweb.cli.app" in modules
    heavy = {"requests", "urllib3", "google", "pydicom", "tqdm", "numpy", "asyncio"}
    assert {module.partition(".")[0] for module in modules} & heavy == set()


def test_who_wants_quiet_hears_only_of_what_went_wrong(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    (tmp_path / "in" / "junk").write_text("no image")
    with serving(Archive()) as origin:
        stored = dcmweb(origin.url, "store", "in", "nope.dcm", "-q")
        retrieved = dcmweb("-q", origin.url, "retrieve", "-o", "out")
        verified = dcmweb("-q", origin.url, "store", "in", "--verify", "--json")
        deleted = dcmweb("-q", origin.url, "delete", "studies/1.2.3")
    first, last = stored.err.splitlines()
    assert "nope.dcm failed: " in first
    assert "Transferred " in last
    assert [one.err for one in (retrieved, verified, deleted)] == ["", "", ""]
    assert [one.code for one in (stored, retrieved, verified, deleted)] == [1, 0, 0, 0]
    assert '"type": "summary"' in verified.out
