"""Help: its pages, the examples on them, and what is said of words that are not known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

from dcmweb.cli.app import cli
from dcmweb.cli.commands import LOCAL, WITH_SERVER, commands_of
from dcmweb.cli.examples import EXAMPLES
from dcmweb.cli.help_page import pages, root_of, written
from dcmweb.cli.option_groups import group_of
from dcmweb.cli.suggestions import NEVER_SUGGESTED
from tests.command_lines import check_parses, commands_in
from tests.conftest import Dcmweb, clean_environment, make_instance, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving

URL = "http://127.0.0.1:1/dicomweb"
ROOT = root_of(cli)
PAGES = list(pages(ROOT))
LINES = [(name, one.line) for name, given in EXAMPLES.items() for one in given]

# These go on until they are stopped, are for a shell's start, or need an operation at Google.
NOT_RUN = (
    "dcmweb demo",
    "completion",
    " wait ",
    "dcmweb serve ./images\n",
    "--user demo",
    " ping\n",
)


# Pages.


def every_command(ctx: click.Context = ROOT) -> Iterator[click.Context]:
    for name, command in commands_of(ctx).items():
        inner = click.Context(command, parent=ctx, info_name=name)
        yield inner
        yield from every_command(inner)


def test_every_option_has_a_group() -> None:
    for ctx in every_command():
        for option in ctx.command.get_params(ctx):
            if isinstance(option, click.Option):
                assert group_of(option), f"add {option.opts} to cli/option_groups.py"


@pytest.mark.parametrize("width", [59, 79, 100])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_fits_the_width(page: object, width: int) -> None:
    lines = written(page, width).splitlines()  # type: ignore[arg-type]
    end = lines.index("Examples:") if "Examples:" in lines else len(lines)
    words = {line: len(line) for line in lines[:end] if len(line) > width}
    assert not [line for line in words if len(line.split()) > 1], words


@pytest.mark.parametrize(("columns", "widest"), [("60", 59), ("80", 79), ("200", 100)])
def test_the_terminal_gives_the_width(dcmweb: Dcmweb, columns: str, widest: int) -> None:
    help_of_ping = dcmweb("help", "ping", env={"COLUMNS": columns}).out.partition("Examples:")[0]
    assert widest - 10 < max(map(len, help_of_ping.splitlines())) <= widest


def test_base_url_is_in_its_place() -> None:
    usages = {page.name: page.usage for page in PAGES}
    assert usages["dcmweb store"] == "dcmweb BASE_URL store [OPTIONS] [FILES]..."
    assert usages["dcmweb retrieve"] == "dcmweb BASE_URL retrieve [OPTIONS] [PATH]..."
    assert usages["dcmweb serve"] == "dcmweb serve [OPTIONS] FOLDER [-- COMMAND...]"
    assert usages["dcmweb config add"] == "dcmweb config add [OPTIONS] NAME URL"
    for name in WITH_SERVER:
        assert f"dcmweb BASE_URL {name} " in usages[f"dcmweb {name}"]
    for name in LOCAL:
        assert "BASE_URL" not in usages[f"dcmweb {name}"]


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("help", "Usage: dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]..."),
        ("help store", "Usage: dcmweb BASE_URL store [OPTIONS] [FILES]..."),
        ("URL help store", "Usage: dcmweb BASE_URL store [OPTIONS] [FILES]..."),
        ("help config add", "Usage: dcmweb config add [OPTIONS] NAME URL"),
        ("help options", "Usage: dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]..."),
        ("help help", "Usage: dcmweb help [OPTIONS] [COMMAND]"),
    ],
)
def test_help_is_a_command(dcmweb: Dcmweb, line: str, start: str) -> None:
    result = dcmweb(*line.replace("URL", URL).split())
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(start)


def test_options_are_shown_in_groups(dcmweb: Dcmweb) -> None:
    headings = re.findall(r"^(\w+):$", dcmweb("help", "store").out, re.MULTILINE)
    assert headings == [
        *("What", "Where", "Output", "Safety", "Records", "Speed", "Logging"),
        *("Credentials", "Connection", "Other", "Examples"),
    ]
    assert "--to-user" in dcmweb("help", "copy").out.partition("\nDestination:\n")[2]
    assert "--retries" in dcmweb("help", "options").out.partition("\nConnection:\n")[2]


@pytest.mark.parametrize("line", ["version", "URL version"])
def test_the_version_is_a_command(dcmweb: Dcmweb, line: str) -> None:
    assert dcmweb(*line.replace("URL", URL).split()).out == dcmweb("--version").out


@pytest.mark.parametrize("arguments", [["--version"], ["version"], ["manifest", "none"]])
def test_what_shows_no_help_does_not_import_what_writes_it(
    arguments: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dcmweb", *arguments],
        env=clean_environment(),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"dcmweb.cli.app" in done.stderr
    for name in (b"cloup", b"dcmweb.cli.help_page", b"dcmweb.cli.examples", b"dcmweb.cli.shells"):
        assert not re.search(rb"\| +" + name + rb"\b", done.stderr), name


# Examples.


@pytest.mark.parametrize("line", [line for _, line in LINES])
def test_an_example_is_understood(line: str) -> None:
    found = list(commands_in(line))
    assert found
    for arguments in found:
        check_parses(arguments)


def test_every_command_has_examples() -> None:
    simple = ("demo", "version")
    named = {page.name for page in PAGES if page.examples}
    assert {f"dcmweb {name}" for name in (*WITH_SERVER, *LOCAL) if name not in simple} <= named


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the examples name, and the command on its PATH."""
    home = tmp_path / "folder"
    paths = write_files(home / "images", make_series(2))
    (home / "image.dcm").write_bytes(make_instance("1.9", "1.9.1", "1.9.1.1"))
    Image.new("RGB", (8, 8)).save(home / "image.jpg")
    name = '{"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}}'
    (home / "instance.json").write_text(name, encoding="utf-8")
    (home / "paths.txt").write_text("studies/1.2.3\n", encoding="utf-8")
    (home / "password").write_text("secret\n", encoding="utf-8")
    with zipfile.ZipFile(home / "images.zip", "w") as archive:
        archive.write(paths[0], "1.dcm")
    with tarfile.open(home / "more.tgz", "w:gz") as tar:
        tar.add(paths[1], "2.dcm")
    program = tmp_path / "bin" / "dcmweb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dcmweb "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return home


def run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    bin_ = folder.parent / "bin"
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={
            **clean_environment(),
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "DCMWEB_CONFIG": str(folder.parent / "profiles.toml"),
        },
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "line"),
    [one for one in LINES if not any(word in f"{one[1]}\n" for word in NOT_RUN)],
    ids=lambda text: text,
)
def test_an_example_runs(command: str, line: str, folder: Path) -> None:
    series = [make_instance("1.2.3", "4.5.6", f"7.8.{n}") for n in (7, 8, 9)]
    more = make_instance("4.5.6", "4.5.6.1", "4.5.6.1.1")
    there = series if command == "check" else []
    with serving(Archive(*series, more)) as origin, serving(Archive(*there)) as other:
        text = line.replace("http://localhost:8042/dicom-web", origin.url)
        text = text.replace("http://localhost:8043/dicom-web", other.url)
        if "config" in command and " add " not in line:
            run(folder, f"dcmweb config add hospital {origin.url} --workers 2")
        if command in ("manifest", "report", "check") and "ndjson" in line:
            run(folder, f"dcmweb {origin.url} store ./images --manifest images.ndjson")
        if "@hospital" in line:
            run(folder, f"dcmweb config add hospital {origin.url}")
        done = run(folder, text)
    differs = command == "check" and "|" not in line  # as the example is to find out
    assert done.returncode == (1 if differs and done.stdout else 0), done.stderr
    assert "Traceback" not in done.stderr


# What is not known.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stor", "stor is not a command, nor a BASE_URL; did you mean store?"),
        ("stor x.dcm", "did you mean store?"),
        ("serch studies", "did you mean search?"),
        ("mainfest x.ndjson", "did you mean manifest?"),
        ("unheard-of", "unheard-of is not a command, nor a BASE_URL; see dcmweb --help"),
        ("URL serach", "No such command: serach; did you mean search?"),
        ("URL unheard-of", "No such command: unheard-of; see dcmweb --help"),
        ("@nobody stor", "there is no profile nobody"),
        ("help serach", "No such command: serach; did you mean search?"),
        ("help store x", "dcmweb store has no commands of its own"),
        ("help config ad", "No such command: ad; did you mean add?"),
        ("config lst", "No such command: lst; did you mean list?"),
        ("config add --worker 3", "No such option: --worker; did you mean --workers?"),
        ("URL search --retrys 1", "No such option: --retrys; did you mean --retries?"),
        ("URL retrieve --verify", "No such option: --verify; it is an option of store and copy"),
        (
            "--output x URL retrieve",
            "it is an option of retrieve and report; write it after the command",
        ),
        ("completion bsh", "'bsh' is not one of 'bash', 'zsh', 'fish', 'powershell'"),
    ],
)
def test_what_is_not_known_is_one_line(dcmweb: Dcmweb, line: str, words: str) -> None:
    result = dcmweb(*line.replace("URL", URL).split())
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert words in result.last


@pytest.mark.parametrize("option", sorted(NEVER_SUGGESTED))
def test_what_gives_up_a_check_is_never_suggested(dcmweb: Dcmweb, option: str) -> None:
    for slip in (option[:-1], f"{option}x", option.replace("e", "", 1).replace("a", "", 1) + "z"):
        for command in ("search", "delete", "copy"):
            result = dcmweb(URL, command, slip)
            assert result.code == 2
            assert option not in result.last.partition("; ")[2].split()
            assert f"{option}?" not in result.last


def test_a_command_is_taken_for_an_address_only_if_it_looks_like_one(dcmweb: Dcmweb) -> None:
    assert "http://" in dcmweb("localhost", "search").last
    assert "http://" in dcmweb("pacs.example/dicomweb", "search").last
