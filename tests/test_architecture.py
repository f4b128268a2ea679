"""The house stands: who may import whom, what is imported when, and how large a room may be."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcmweb

PACKAGE = Path(dcmweb.__file__).parent
FLOORS = {
    "errors": 0,
    "sources": 0,
    "extras": 0,
    "folders": 1,
    "locks": 1,
    "settings": 1,
    "temporary": 1,
    "user_text": 1,
    "wildcards": 1,
    "counted": 0,
    "dicom": 1,
    "local": 2,
    "buckets": 2,
    "http": 2,
    "transfer": 2,
    "transactions": 3,
    "archive": 3,
    "executors": 3,
    "library": 4,
    "cli": 5,
    "__main__": 6,
}
# Every library that is imported, and the only rooms that may know it.
KNOWN_IN = {
    "click": ["cli"],
    "cloup": ["cli"],
    "tqdm": ["cli"],
    "wcwidth": ["cli"],
    "requests": ["http"],
    "botocore": ["http", "buckets"],
    "urllib3": ["http"],
    "google": ["http"],
    "azure": ["http"],
    "certifi": ["http"],
    "cryptography": ["http"],
    "truststore": ["http"],
    "msgspec": ["dicom"],
    "pydicom": ["dicom", "archive"],
    "cheroot": ["archive"],
    "jinja2": ["archive"],
    "werkzeug": ["archive"],
    "numpy": ["archive"],
    "PIL": ["archive", "transactions"],
    "platformdirs": ["library"],
    "portalocker": ["locks"],
    "obstore": ["buckets"],
    "boto3": ["buckets"],
    "tomlkit": ["library"],
    "distributed": ["executors"],
}
# What the archive shares with the client, so that a mistake of one does not hide in the other.
SHARED_WITH_THE_ARCHIVE = tuple(
    f"dcmweb.http.{name}" for name in ("multipart", "part_stream", "media_types")
)
LONGEST_MODULE = 400

ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """The room of a module of ours: the folder, or the module on the ground floor."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """All modules a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where things come from"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            is_ours = str(node.module).split(".")[0] == "dcmweb"
            yield from names if is_ours else [str(node.module)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_import_from_their_own_room_and_from_floors_below(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    own = relative.parts[0].removesuffix(".py")
    if own == "__init__":
        return  # it names all, and imports it when it is asked for
    for module in imports(path):
        if module.startswith("dcmweb.") and module != "dcmweb.__version__":
            other = room(module)
            assert other == own or FLOORS[other] < FLOORS[own], f"{relative} imports {module}"
        library = module.split(".")[0]
        if library != "dcmweb" and library not in sys.stdlib_module_names:
            assert own in KNOWN_IN.get(library, []), f"{relative} imports {module}"


def test_the_archive_knows_no_client() -> None:
    for path in (PACKAGE / "archive").rglob("*.py"):
        for module in imports(path):
            if room(module) in ("http", "transfer") and module.startswith("dcmweb."):
                assert module.startswith(SHARED_WITH_THE_ARCHIVE), f"{path.name} imports {module}"


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms - {"__init__"} == set(FLOORS)


def test_every_library_that_is_named_is_imported_where_it_may_be() -> None:
    found: dict[str, set[str]] = {library: set() for library in KNOWN_IN}
    for path in MODULES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imports(path):
            found.get(module.split(".")[0], set()).add(own)
    assert found == {library: set(rooms) for library, rooms in KNOWN_IN.items()}


def test_the_documentation_has_the_same_floors() -> None:
    rows = re.findall(r"^\| (\d) \| (`[^|]+`) \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    floors = {
        name.rstrip("/").removesuffix(".py"): int(floor)
        for floor, names in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert floors == FLOORS


def test_the_documentation_has_the_same_libraries() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ((?:`(?:\w+/|\w+\.py)`(?:, )?)+) \|$", text, re.MULTILINE)
    known = {
        library: re.findall(r"`(\w+)(?:/|\.py)`", rooms)
        for libraries, rooms in rows
        for library in re.findall(r"`(\w+)`", libraries)
    }
    assert known == KNOWN_IN


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}
