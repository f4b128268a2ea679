"""Finding files: what masks, folders and names match, in which order, and how lazily."""

from __future__ import annotations

import ntpath
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from dcmweb.local import masks, windows
from dcmweb.local.masks import find, find_listed
from dcmweb.local.windows import IS_WINDOWS
from dcmweb.sources import Found
from dcmweb.wildcards import Pattern

needs_links = pytest.mark.skipif(IS_WINDOWS, reason="Windows lets administrators alone make links")

FILES = (
    ".dot.dcm",
    ".secret/.both.dcm",
    ".secret/three.dcm",
    "a/.hidden.dcm",
    "a/b/c/four.dcm",
    "a/b/two.dcm",
    "a/one.dcm",
    "a.txt",
    "top.dcm",
    "z/1.dcm",
    "z/2.dcm",
    "z/3.DICOM",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tree(folder: Path) -> Path:
    make(*FILES)
    return folder


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def paths(*given: str) -> list[str]:
    found = list(find(given))
    assert all(one.error is None and not one.missing for one in found)
    return [slashed(one.path) for one in found]


def slashed(path: str) -> str:
    return path.replace("\\", "/") if IS_WINDOWS else path


RECURSIVE = ["a/b/c/four.dcm", "a/b/two.dcm", "a/one.dcm", "top.dcm", "z/1.dcm", "z/2.dcm"]
SHOWN = [*RECURSIVE[:3], "a.txt", *RECURSIVE[3:], "z/3.DICOM"]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("./**.dcm", [f"./{path}" for path in RECURSIVE]),
        ("**.dcm", RECURSIVE),
        ("./**/*.dcm", [f"./{path}" for path in RECURSIVE]),
        ("**/*.dcm", RECURSIVE),
        ("./**", [f"./{path}" for path in SHOWN]),
        ("**", SHOWN),
        ("a/**", RECURSIVE[:3]),
        ("a/**/", RECURSIVE[:3]),
        ("a/**/*.dcm", RECURSIVE[:3]),
        ("**/b/**.dcm", RECURSIVE[:2]),
        ("**/b/*.dcm", ["a/b/two.dcm"]),
        ("**/t*.dcm", ["a/b/two.dcm", "top.dcm"]),
        ("a**four.dcm", ["a/b/c/four.dcm"]),
        ("*", ["a.txt", "top.dcm"]),
        ("*.dcm", ["top.dcm"]),
        ("./*.dcm", ["./top.dcm"]),
        ("*/*.dcm", ["a/one.dcm", "z/1.dcm", "z/2.dcm"]),
        ("*/*/*.dcm", ["a/b/two.dcm"]),
        ("z/./*.dcm", ["z/./1.dcm", "z/./2.dcm"]),
        ("?/*.DICOM", ["z/3.DICOM"]),
        ("z/?.dcm", ["z/1.dcm", "z/2.dcm"]),
        ("z/[12].dcm", ["z/1.dcm", "z/2.dcm"]),
        ("z/[2-9].*", ["z/2.dcm", "z/3.DICOM"]),
        ("z/[!1].*", ["z/2.dcm", "z/3.DICOM"]),
        ("z/[!!2].*", ["z/1.dcm", "z/3.DICOM"]),
        ("[az]/*.dcm", ["a/one.dcm", "z/1.dcm", "z/2.dcm"]),
        (".*", [".dot.dcm"]),
        (".secret/*", [".secret/three.dcm"]),
        ("a/.h*", ["a/.hidden.dcm"]),
        (".[!.]*", [".dot.dcm"]),
        ("top.dcm", ["top.dcm"]),
        (".dot.dcm", [".dot.dcm"]),
        ("a", ["a/.hidden.dcm", "a/b/c/four.dcm", "a/b/two.dcm", "a/one.dcm"]),
        ("a/", ["a/.hidden.dcm", "a/b/c/four.dcm", "a/b/two.dcm", "a/one.dcm"]),
        ("a/b/../one.dcm", ["a/b/../one.dcm"]),
    ],
)
def test_masks(tree: Path, mask: str, expected: list[str]) -> None:
    assert paths(mask) == expected


def test_a_folder_means_all_below_it(tree: Path) -> None:
    everything = paths(".")
    assert sorted(everything) == sorted(f"./{name}" for name in FILES)


def test_absolute_masks_give_absolute_paths(tree: Path) -> None:
    assert paths(f"{tree}/**.dcm") == [slashed(str(tree / path)) for path in RECURSIVE]
    assert paths(f"{tree}/z/[1]*") == [slashed(str(tree / "z/1.dcm"))]


def test_masks_are_visited_in_the_order_given(tree: Path) -> None:
    assert paths("z/2.dcm", "top.dcm", "z/*.dcm") == ["z/2.dcm", "top.dcm", "z/1.dcm", "z/2.dcm"]


def test_a_dotted_part_of_a_mask_opens_no_hidden_folder_to_its_other_parts(tree: Path) -> None:
    assert paths("*/.*.dcm") == ["a/.hidden.dcm"]
    assert paths("**/.*.dcm") == [".dot.dcm", "a/.hidden.dcm"]


def skip_what_windows_does_not_take(name: str) -> None:
    if IS_WINDOWS and windows.forbidden_in(name.replace("/", "")):
        pytest.skip("Windows does not take this name")


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("scan[1].dcm", "scan[1].dcm"),
        ("scan[1].dcm", "scan[[]1].dcm"),
        ("scan[1].dcm", "scan[[]1[]].dcm"),
        ("scan[1].dcm", "scan*.dcm"),
        ("a^b.dcm", "a[^]b.dcm"),
        ("a-b.dcm", "a[+-]b.dcm"),
        ("a]b.dcm", "a[]]b.dcm"),
        ("a\\b.dcm", "a[\\]b.dcm"),
        ("a&&b.dcm", "a[&&]&b.dcm"),
        ("a,b.dcm", "a[+--]b.dcm"),
        ("a[b.dcm", "a[b.*"),
        ("(a+b)|$.dcm", "(a+b)|$.*"),
        ("line\nbreak.dcm", "*.dcm"),
        ("line\nbreak.dcm", "line?break.*"),
        ("é.dcm", "?.dcm"),
        ("[x]/1.dcm", "[x]"),
        ("[x]/1.dcm", "[[]x]/*"),
    ],
)
def test_special_characters_in_names_and_masks(name: str, mask: str) -> None:
    skip_what_windows_does_not_take(name)
    make(name, "other.txt")
    assert paths(mask) == [name]


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("1.dcm", "[1"),
        ("a/1.dcm", "a[!x]1.dcm"),
        ("a/1.dcm", "**[!x]1.dcm"),
        ("a/1.dcm", "a?1.dcm"),
        ("a/1.dcm", "**?1.dcm"),
        ("a/1.dcm", "*1.dcm"),
        ("1xdcm", "*.dcm"),
        ("1.dcmx", "*.dcm"),
        ("c.dcm", "[^b].dcm"),
        pytest.param(
            "A.dcm", "a.*", marks=pytest.mark.skipif(IS_WINDOWS, reason="case does not count")
        ),
        ("b.dcm", "[c-a].dcm"),
        ("-.dcm", "[c-a].dcm"),
        (".a", "[.]a"),
        (".a", "?a"),
        (".a/b", "**"),
        ("x/.a/b", "x**"),
        ("x/.a/b", "x/**/b"),
    ],
)
def test_what_does_not_match(name: str, mask: str) -> None:
    make(name)
    assert list(find([mask])) == [Found(mask, named=True, missing=True)]


@pytest.mark.skipif(IS_WINDOWS, reason="names are text on Windows")
def test_names_that_are_not_utf_8() -> None:
    os.mkdir(b"\xfe")
    Path(os.fsdecode(b"\xfe/\xff.dcm")).touch()
    expected = [b"\xfe/\xff.dcm"]
    for mask in (".", "**.dcm", "?/?.dcm", os.fsdecode(b"\xfe"), os.fsdecode(b"\xfe/\xff.dcm")):
        assert [os.fsencode(path).removeprefix(b"./") for path in paths(mask)] == expected


@pytest.mark.parametrize("mask", ["nothing", "no/thing", "file/below", "*.dcm", "**", "no/**", ""])
def test_a_mask_without_a_match_is_said_to_be_missing(mask: str) -> None:
    Path("file").write_text("")
    Path("file").rename(".file")
    assert list(find([mask])) == [Found(mask, named=True, missing=True)]


def test_an_empty_folder_is_missing_files() -> None:
    Path("empty/er").mkdir(parents=True)
    assert list(find(["empty"])) == [Found("empty", named=True, missing=True)]


@pytest.mark.parametrize(
    "mask",
    [
        *("a\0b", "a\0b/*.dcm", "1.dcm/2.dcm"),
        pytest.param(
            "1.dcm/*.dcm",
            marks=pytest.mark.skipif(os.name == "nt", reason="wine 8 lists a file as a folder"),
        ),
    ],
)
def test_what_cannot_be_a_path_is_missing(tree: Path, mask: str) -> None:
    (tree / "1.dcm").touch()
    (found,) = find([mask])
    assert (found.path, found.missing, found.file) == (mask, True, None)


@pytest.mark.skipif(os.name == "nt", reason="a long name is a missing one there")
def test_a_name_that_no_file_system_has_is_an_error(tree: Path) -> None:
    (found,) = find(["x" * 5000])
    assert isinstance(found.error, OSError)
    assert not found.missing


def test_what_cannot_be_a_path_in_a_list_is_an_error(tree: Path) -> None:
    (tree / "1.dcm").touch()
    first, second, third = find_listed(["a\0b", "1.dcm/2.dcm", "1.dcm"])
    assert first.error
    assert second.error
    assert third.file


def test_a_missing_mask_does_not_hide_the_others(tree: Path) -> None:
    found = list(find(["top.dcm", "none", "z/1*"]))
    assert [(slashed(one.path), one.missing) for one in found] == [
        ("top.dcm", False),
        ("none", True),
        ("z/1.dcm", False),
    ]


def test_what_is_given_by_name_is_told_from_what_is_met(tree: Path) -> None:
    named = {slashed(one.path): one.named for one in find(["top.dcm", "*.txt", "z"])}
    assert named == {
        "top.dcm": True, "a.txt": False, "z/1.dcm": False, "z/2.dcm": False, "z/3.DICOM": False,
    }  # fmt: skip


@needs_links
def test_symbolic_links_are_followed_but_not_in_circles(tree: Path) -> None:
    Path("a/up").symlink_to("..")
    Path("a/b/here").symlink_to(".")
    Path("z/to_a").symlink_to("../a/b/c")
    Path("z/4.dcm").symlink_to("1.dcm")
    assert paths("**.dcm") == [*RECURSIVE, "z/4.dcm", "z/to_a/four.dcm"]
    assert sorted(paths(".")) == sorted(
        f"./{name}" for name in (*FILES, "z/4.dcm", "z/to_a/four.dcm")
    )


@needs_links
@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_link_that_leads_nowhere_does_not_hide_its_neighbours(target: str) -> None:
    make("x/a.dcm", "x/z.dcm")
    Path("x/loop").symlink_to(target)
    found = list(find(["x"]))
    assert [one.path for one in found] == ["x/a.dcm", "x/loop", "x/z.dcm"]
    assert [one.path for one in found if one.error] in ([], ["x/loop"])


@pytest.mark.parametrize("error", [PermissionError(13, "no"), FileNotFoundError(2, "gone")])
@pytest.mark.parametrize("mask", ["top", "top/**", "top/*/*"])
def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_found(
    mask: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("top/a/1", "top/b/2", "top/c/3")
    scandir = os.scandir

    def guarded(folder: str) -> Any:
        if folder.endswith("b"):
            raise error
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    found = [(slashed(one.path), one.error) for one in find([mask])]
    assert found == [("top/a/1", None), ("top/b", error), ("top/c/3", None)]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root"
)
def test_what_is_forbidden_is_told() -> None:
    make("x/shut/1", "x/2")
    os.chmod("x/shut", 0)
    try:
        found = [(one.path, type(one.error)) for one in find(["x", "x/shut/1"])]
    finally:
        os.chmod("x/shut", 0o700)
    assert found == [
        ("x/2", type(None)),
        ("x/shut", PermissionError),
        ("x/shut/1", PermissionError),
    ]


def test_folders_are_opened_only_as_they_are_reached(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    scandir = os.scandir

    def watched(folder: str) -> Any:
        opened.append(slashed(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", watched)
    files: Iterator[Found] = find(["**", "z"])
    assert opened == []
    assert slashed(next(files).path) == "a/b/c/four.dcm"
    assert opened == [".", "a", "a/b", "a/b/c"]
    list(files)
    assert opened.count("z") == 2
    assert ".secret" not in opened


def test_folders_that_cannot_match_are_not_opened(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    scandir = os.scandir

    def watched(folder: str) -> Any:
        opened.append(slashed(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", watched)
    assert paths("z/[12].dcm", "*.dcm", "a/b/*") == [
        "z/1.dcm", "z/2.dcm", "top.dcm", "a/b/two.dcm",
    ]  # fmt: skip
    assert opened == ["z", ".", "a/b"]
    assert paths("[!z]/b/*") == ["a/b/two.dcm"]
    assert [name.removeprefix("./") for name in opened[3:]] == [".", "a", "a/b"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 5, 100])
def test_a_folder_read_in_passes_gives_the_same(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["10", "2", "A", "B/1", "B/2", "B/3", "c", "d", "\x7f", "é"]
    make(*(f"x/{name}" for name in names))
    expected = [f"x/{name}" for name in names]
    monkeypatch.setattr(masks, "NAMES_AT_ONCE", at_once)
    assert paths("x") == expected
    assert paths("x/*") == [path for path in expected if "/B/" not in path]


def test_the_order_does_not_depend_on_that_of_the_file_system(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = paths(".")
    scandir = os.scandir

    class Reversed(list[os.DirEntry[str]]):
        def __enter__(self) -> Reversed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def backwards(folder: str) -> Any:
        with scandir(folder) as entries:
            return Reversed(sorted(entries, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", backwards)
    assert paths(".") == expected


@pytest.mark.parametrize("mask", ["x", "x/*", "x/**"])
def test_what_an_interrupted_run_left_is_not_met(mask: str) -> None:
    make("x/a.dcm", "x/.dcmweb-0123456789abcdef.part", "x/.dcmweb/index.sqlite3")
    for in_order in (True, False):
        found = find([mask], in_order=in_order)
        assert {slashed(one.path) for one in found if not one.error} <= {"x/a.dcm"}


def test_what_only_begins_like_a_partial_file_is_found(tmp_path: Path) -> None:
    for name in (".dcmweb-1.dcm", ".dcmweb.dcm", ".dcmweb-", ".part"):
        (tmp_path / name).touch()
    assert len(paths(str(tmp_path))) == 4


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "IS_WINDOWS", True)


@pytest.mark.usefixtures("on_windows")
@pytest.mark.parametrize(
    ("mask", "base", "parts"),
    [
        (r"C:\data\**\*.dcm", r"C:\data", ["**", "*.dcm"]),
        ("C:/data/**/*.dcm", r"C:\data", ["**", "*.dcm"]),
        (r"Z:\*.dcm", "Z:\\", ["*.dcm"]),
        ("Z:*.dcm", "Z:", ["*.dcm"]),
        (r"\\server\share\a\*", r"\\server\share\a", ["*"]),
        (r"\\server\share\*", "\\\\server\\share\\", ["*"]),
        (r"\\?\C:\data\*", r"\\?\C:\data", ["*"]),
        (r"\\?\C:\data\x", r"\\?\C:\data\x", []),
        (r"\data\?", r"\data", ["?"]),
        (r".\**.dcm", ".", ["**.dcm"]),
        (r"a\[bc]\.\x", "a", ["[bc]", "x"]),
    ],
)
def test_masks_of_windows_begin_in_their_drive_or_share(
    mask: str, base: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "splitdrive", ntpath.splitdrive)
    monkeypatch.setattr(os, "sep", "\\")
    assert masks._split(mask) == (base, parts)


@pytest.mark.usefixtures("on_windows")
@pytest.mark.parametrize("mask", [r"**\*.DCM", r".\A\**.dcm", r"a\B\*.dcm", r"a/b\TWO*"])
def test_masks_of_windows_may_have_backslashes_and_other_case(mask: str) -> None:
    make("a/b/two.dcm")
    if not IS_WINDOWS:  # where only what has a wildcard is matched, not looked up
        mask = mask.replace("A", "a").replace("B\\", "b\\")
    assert [path.removeprefix("./").lower() for path in paths(mask)] == ["a/b/two.dcm"]


@pytest.mark.usefixtures("on_windows")
def test_windows_does_not_take_a_wildcard_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    make("x/1.dcm")
    look = os.stat

    def strict(path: str) -> os.stat_result:
        if "*" in path:
            raise OSError(22, "Invalid name")
        return look(path)

    monkeypatch.setattr(os, "stat", strict)
    assert paths("x/*.dcm") == ["x/1.dcm"]


@pytest.mark.skipif(IS_WINDOWS, reason="a backslash separates folders on Windows")
def test_elsewhere_a_backslash_is_a_character_like_others() -> None:
    make("a\\b.dcm")
    assert paths("a\\*.dcm") == ["a\\b.dcm"]
    assert [one.missing for one in find(["a\\c*"])] == [True]


# With how often each file may be found: what is left of these masks differs from folder to folder.
LINKED = {
    **dict.fromkeys([".", "**", "**.dcm", "**/*.dcm", "folder*/**"], 2),
    **dict.fromkeys(["**/folder*/*.dcm", "**/f*/**/*.dcm", "**/*r1*/**", "**/fol*/fol*/*.dcm"], 4),
    **dict.fromkeys(["**/folder*/**/f*/**/*.dcm", "f**1/**.dcm", "**/f**/f*.dcm"], 5),
    **dict.fromkeys(["*/*/*/*/*/*/*/*/*/*/*/*.dcm", "**/[f]*/?*/folder*.dcm"], 12),
}


@needs_links
@pytest.mark.parametrize("mask", LINKED)
def test_folders_that_link_to_each_other_are_visited_once_by_a_link(tree: Path, mask: str) -> None:
    """Twelve of them have more than 12! paths."""
    names = [f"folder{number}" for number in range(12)]
    for name in names:
        make(f"{name}/{name}.dcm")
        for other in names:
            if other != name:
                Path(name, other).symlink_to(Path("..", other))
    found = [os.path.basename(path) for path in paths(mask) if "folder" in path]
    assert {name for name in found if name} == {f"{name}.dcm" for name in names}
    assert len(found) <= LINKED[mask] * len(names)


@needs_links
def test_a_folder_in_a_circle_is_found_at_each_depth_that_a_mask_has(tree: Path) -> None:
    """C leads to B at a depth at which another link came to B, from A."""
    make("A/f", "B/g", "C/h")
    for name, other in ("AB", "BA", "CB"):
        Path(name, f"to{other}").symlink_to(Path("..", other))
    found = [path for path in paths("*/*/*/f") if path[0] in "ABC"]
    assert any(os.path.samefile(path, "A/f") for path in found)


FOLDERS = ("a", "ab", "b", ".h")
MASKS = ("**/a*/x", "a**/x", "**b/x", "a*/**/b*/x", "**/.h/x", "*/a/x", "**/?/x", "**/[a]*/**x")


@pytest.mark.parametrize("mask", MASKS)
def test_what_is_left_of_a_mask_decides_what_matches_below(mask: str) -> None:
    """For all folders up to three deep: where the same is left, the same paths match."""
    pattern = Pattern(mask.split("/"))
    depths = range(1, 4)
    folders = [one for depth in depths for one in product(FOLDERS, repeat=depth)]
    below = [(*one, "x") for depth in range(3) for one in product(FOLDERS, repeat=depth)]
    known: dict[object, list[bool]] = {}
    for folder in folders:
        matched = [pattern.accepts((*folder, *rest)) for rest in below]
        assert known.setdefault(pattern.left_below(folder), matched) == matched
        assert any(matched) <= bool(pattern.left_below(folder))


@needs_links
@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("b*/*.dcm", "b_link/1.dcm"),
        ("**/b*/*.dcm", "b_link/1.dcm"),
        ("b**.dcm", "b_link/1.dcm"),
        ("**/b_link/**", "b_link/1.dcm"),
        ("**/.x", "a_link/.x"),
        ("b*/**", "b_link/1.dcm"),
        (".hidden/**", ".hidden/link/1.dcm"),
    ],
)
def test_a_link_that_a_mask_leaves_out_hides_none_that_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make("target/1.dcm", "target/.x", ".hidden/0.dcm")
    for link in (".hidden/link", "a_link", "b_link"):
        Path(link).symlink_to(tmp_path / "target")
    assert expected in paths(mask)


def test_a_link_that_goes_while_a_folder_is_read_hides_no_neighbour(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "_entries", lambda _: iter([("gone", True), ("1.dcm", None)]))
    first, second = find([str(tree)])
    assert (first.path, bool(first.error)) == (str(tree / "gone"), True)
    assert second.path == str(tree / "1.dcm")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_circle_that_no_symbolic_link_makes_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by junctions of Windows, which are not such links."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.dcm").touch()
    (tmp_path / "a/back").symlink_to(tmp_path)
    monkeypatch.setattr(masks, "_folder", lambda entry: False if entry.is_dir() else None)
    assert paths(str(tmp_path)) == [str(tmp_path / "a/1.dcm")]


def test_of_many_folders_few_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masks, "NAMES_AT_ONCE", 2)
    for number in range(30):
        (tmp_path / str(number)).mkdir()
    names, folders = masks._next_names(str(tmp_path), "")
    assert names == ["0", "1"]
    assert len(folders) <= 5


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone"), OSError(116, "stale")])
def test_a_folder_that_goes_while_it_is_read_is_named(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large folder is read in passes, of which the second fails."""
    make(*(f"top/{number}" for number in range(5)))
    scandir, calls = os.scandir, 0

    def failing(folder: str) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return scandir(folder)

    monkeypatch.setattr("dcmweb.local.masks.NAMES_AT_ONCE", 3)
    monkeypatch.setattr("os.scandir", failing)
    found = list(find(["top"]))
    read = [str(Path("top", name)) for name in "012"]
    assert [one.path for one in found if not one.error] == read
    assert [(one.path, one.error) for one in found if one.error] == [("top", error)]
