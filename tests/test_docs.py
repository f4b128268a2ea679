"""The documentation says what the code does."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dcmweb.cli.app import cli
from tests.command_lines import check_parses, commands_in

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dcmweb"
make_tables = runpy.run_path(str(ROOT / "docs" / "make_tables.py"))
REFERENCE = "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("reference.md", "archive.md")
)


@pytest.mark.parametrize("path", make_tables["FILES"], ids=lambda path: path.name)
def test_tables_are_those_of_the_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == make_tables["rendered"](text), "run python docs/make_tables.py"


def test_every_table_is_shown_somewhere() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in make_tables["FILES"])
    assert {name for name in make_tables["TABLES"] if f"<!-- {name} -->" not in text} == set()


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_option_is_documented_and_has_help() -> None:
    for command in commands(cli):
        assert command.help
        for parameter in command.params:
            long = [name for name in parameter.opts if name.startswith("--")]
            assert all(name in REFERENCE for name in long), f"{parameter.opts} is not documented"


def modules_in_the_tree(text: str) -> set[str]:
    """Read the tree in a text: a line for each module, indented below that of its folder."""
    tree = text[text.index("    dcmweb/\n") :].partition("\n\n")[0]
    folders: list[str] = []
    named = set()
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 2
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            named.add("".join(folders) + name)
        assert len(line.split()) > 1 or name == "dcmweb/", f"nothing is said of {name}"
    return named


def test_the_tree_in_the_architecture_has_every_module_and_no_other() -> None:
    named = modules_in_the_tree((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dcmweb").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert not there - named, "add a line for these modules to the tree in docs/architecture.md"
    assert not named - there, "the tree in docs/architecture.md names modules that do not exist"


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_no_file_is_named_that_does_not_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]+\.\w+)`", text))
    missing = {path for path in named if not any((d / path).exists() for d in (ROOT, PACKAGE))}
    assert missing == set()


# Command lines.

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# `$U` and others stand for what people have; `...` for what they add.
STANDING_FOR = {"$U": "http://localhost:8042/dicom-web", "BASE_URL": "http://localhost/dicom-web"}


def shell_lines(path: Path) -> Iterator[str]:
    """Yield the command lines of a page: those with a prompt, and all in blocks of `sh`."""
    text = path.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(console|sh)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh" or line.startswith("$ "):
                yield line.removeprefix("$ ")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_command_lines_on_a_page_are_understood(path: Path) -> None:
    for line in shell_lines(path):
        if line.startswith(("docker", "pip", "uv")):
            continue  # whose arguments have "dcmweb" as the name of an image or a package
        text = line.partition(" #")[0]
        for name, value in STANDING_FOR.items():
            text = text.replace(name, value)
        for arguments in commands_in(text):
            try:
                check_parses(arguments)
            except Exception as error:
                raise AssertionError(f"{line}: {error}") from error


def test_there_are_command_lines() -> None:
    lines = [line for path in PAGES for line in shell_lines(path)]
    assert len([line for line in lines if "dcmweb " in line]) > 50


# The manual page and the site.


def is_there(program: str) -> bool:
    """Return True if a program is installed; fail where it has to be."""
    if shutil.which(program) or (Path(sys.executable).parent / program).exists():
        return True
    assert not os.environ.get("DCMWEB_REQUIRE_LIVE"), f"{program} is not installed"
    return False


make_man = runpy.run_path(str(ROOT / "docs" / "make_man.py"))


def test_the_manual_page_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "man" / "dcmweb.1").read_text(encoding="utf-8")
    assert written == make_man["manual"](), "run python docs/make_man.py"


def test_the_manual_page_is_well_formed() -> None:
    if not is_there("mandoc"):
        pytest.skip("mandoc is not installed")
    path = ROOT / "docs" / "man" / "dcmweb.1"
    lint = ["mandoc", "-T", "lint", "-W", "warning", str(path)]
    found = subprocess.run(lint, capture_output=True, encoding="utf-8", check=False).stdout
    # A date would make the page another one each day.
    assert [line for line in found.splitlines() if "missing date" not in line] == []


def test_the_manual_page_says_all_that_the_help_says() -> None:
    text = (ROOT / "docs" / "man" / "dcmweb.1").read_text(encoding="utf-8").replace("\\-", "-")
    for command in commands(cli):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and "--version" not in parameter.opts:
                assert max(parameter.opts, key=len) in text


def test_the_site_is_built_without_warnings(tmp_path: Path) -> None:
    if not is_there("mkdocs"):
        pytest.skip("mkdocs is not installed")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        build,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands_page = (tmp_path / "commands" / "index.html").read_text(encoding="utf-8")
    assert "dcmweb BASE_URL store [OPTIONS] [FILES]..." in commands_page
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="reference/#searches"' in start
    assert "fonts.googleapis.com" not in start


# The image.


def test_the_dockerfile_copies_what_is_there_and_ignores_the_rest() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in allowed if line.startswith("!")} == copied
    assert {source for source in copied if not (ROOT / source).exists()} == set()


def test_the_image_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    user = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert user
    assert int(user[-1]) > 0
    assert 'ENTRYPOINT ["dcmweb"]' in text


def test_the_dockerfile_passes_the_linter() -> None:
    if not is_there("hadolint"):
        pytest.skip("hadolint is not installed")
    own = Path(sys.executable).parent / "hadolint"
    program = str(own) if own.exists() else "hadolint"
    done = subprocess.run(
        [program, "Dockerfile"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout
