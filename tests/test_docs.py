"""The documentation says what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from dcmweb.cli.app import cli

ROOT = Path(__file__).parent.parent
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


def test_every_option_is_documented_and_has_help() -> None:
    for command in cli.commands.values():
        assert command.help
        for parameter in command.params:
            long = [name for name in parameter.opts if name.startswith("--")]
            assert all(name in REFERENCE for name in long), f"{parameter.opts} is not documented"


def test_the_tree_in_the_architecture_is_that_of_the_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^      ([\w.]+)/?\s+\d ", text, re.MULTILINE))
    there = {
        path.name
        for path in (ROOT / "dcmweb").iterdir()
        if not path.name.startswith("_") and path.suffix in ("", ".py") and path.name != "py.typed"
    }
    assert named == there
