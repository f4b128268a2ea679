"""The documentation says what the code does."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dcmweb.cli.app import cli

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


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_no_file_is_named_that_does_not_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)+[\w.]+\.\w+)`", text))
    missing = {path for path in named if not any((d / path).exists() for d in (ROOT, PACKAGE))}
    assert missing == set()
