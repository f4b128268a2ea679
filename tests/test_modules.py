"""Each module can be imported by its name: nothing in its package hides it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dcmweb

ROOT = Path(dcmweb.__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py"))
NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(dcmweb.__path__, "dcmweb.")
    if module.name != "dcmweb.__main__"
)


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """All modules, imported: the last import is the one that could have hidden another."""
    return {name: importlib.import_module(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_package_has_its_modules_under_their_names(
    modules: dict[str, ModuleType], name: str
) -> None:
    package, _, own = name.rpartition(".")
    assert getattr(sys.modules[package], own) is modules[name]


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_package_defines_a_name_that_one_of_its_modules_has(path: Path) -> None:
    """Whichever is bound last would hide the other."""
    defined = set()
    for node in ast.walk(ast.parse((path / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    assert defined & {module.name for module in pkgutil.iter_modules([str(path)])} == set()
