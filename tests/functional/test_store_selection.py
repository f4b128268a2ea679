"""`store` with rules for which files, and in which order."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, write_files
from tests.functional.archive import Archive, sent_parts
from tests.functional.origin import Origin, serving
from tests.functional.storing import posts


def write(folder: Path) -> None:
    """Write three series, each in a folder of its own; one of them is of thumbnails."""
    for number, name in enumerate(["ct", "mr", "ct/thumbs"], start=1):
        write_files(folder / "in" / name, make_series(3, f"1.{number}", f"1.{number}.1"))


def stored(archive: Archive) -> set[str]:
    return {key[0] for key in archive.files}


@pytest.mark.parametrize("mode", [(), ("-m",), ("--on", "local:2")])
@pytest.mark.parametrize(
    ("rules", "studies", "left_out"),
    [
        (("--include", "ct/"), {"1.1", "1.3"}, "left out 3 files: 3 by --include"),
        (("--exclude", "thumbs/"), {"1.1", "1.2"}, "left out 3 files: 3 by --exclude"),
        (("--include", "ct/", "--exclude", "thumbs/"), {"1.1"}, "3 by --include, 3 by --exclude"),
        (("--include", "mr/*.dcm", "--include", "thumbs/*"), {"1.2", "1.3"}, "left out 3 files"),
        (("--newer-than", "1h"), {"1.1", "1.2", "1.3"}, ""),
    ],
)
def test_rules_say_which_files_are_stored(
    dcmweb: Dcmweb,
    tmp_path: Path,
    mode: tuple[str, ...],
    rules: tuple[str, ...],
    studies: set[str],
    left_out: str,
) -> None:
    write(tmp_path)
    archive = Archive()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "store", "in", *rules, *mode)
    assert (result.code, stored(archive)) == (0, studies)
    assert left_out in result.err
    assert ("left out" in result.err) == bool(left_out)


def test_they_go_together_with_masks_lists_and_a_manifest(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "list").write_text("in/mr\nin/ct/thumbs\n")
    archive = Archive()
    with serving(archive) as origin:
        rules = ("--exclude", "thumbs/", "--manifest", "m")
        first = dcmweb(origin.url, "store", "in/c**.dcm", "--files-from", "list", *rules)
        again = dcmweb(origin.url, "store", "in/c**.dcm", "--files-from", "list", *rules)
    assert (first.code, again.code, stored(archive)) == (0, 0, {"1.1", "1.2"})
    assert "done before 6," in again.last


def test_a_damaged_file_that_is_left_out_does_not_fail(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "in" / "broken.dcm").write_bytes(make_instance()[:200])
    with serving(Archive()) as origin:
        bad = dcmweb(origin.url, "store", "in")
        good = dcmweb(origin.url, "store", "in", "--exclude", "broken.*")
    assert (bad.code, good.code) == (1, 0)


def test_masks_that_leave_out_everything_match_nothing(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "--include", "*.dmc")
    assert (result.code, origin.requests) == (3, [])
    assert "left out 9 files: 9 by --include; check the masks" in result.err


def test_nothing_new_is_no_error(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    old = time.time() - 7200
    for path in (tmp_path / "in").rglob("*.dcm"):
        os.utime(path, (old, old))
    with serving(Archive()) as origin:
        nothing = dcmweb(origin.url, "store", "in", "--newer-than", "1h")
        (tmp_path / "in/mr/new.dcm").write_bytes(make_instance("1.9", "1.9.1", "1.9.1.1"))
        new = dcmweb(origin.url, "store", "in", "--newer-than", "1h")
    assert (nothing.code, new.code) == (0, 0)
    assert "left out 9 files: 9 by --newer-than" in nothing.err
    assert "stored 1," in new.last


def test_parts_with_rules_are_together_everything(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    archive = Archive()
    with serving(archive) as origin:
        codes = [
            dcmweb(origin.url, "store", "in", "--exclude", "mr/", "--shard", f"{n}/5").code
            for n in range(1, 6)
        ]
    assert (set(codes), stored(archive)) == ({0}, {"1.1", "1.3"})


def order(origin: Origin) -> list[bytes]:
    return [part for request in posts(origin) for part in sent_parts(request)]


@pytest.mark.parametrize("rule", ["path", "newest", "oldest", "largest", "smallest"])
def test_files_go_in_order(dcmweb: Dcmweb, tmp_path: Path, rule: str) -> None:
    made = {}
    for number, (name, size, when) in enumerate([("b", 900, 1), ("c", 100, 3), ("a", 500, 2)]):
        data = make_instance("1.2", "1.2.3", f"1.2.3.{number}", size=size)
        path = tmp_path / "in" / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_700_000_000 + when,) * 2)
        made[data] = name
    with serving(Archive()) as origin:
        assert dcmweb(origin.url, "store", "in", "--sort", rule).code == 0
    names = "".join(made[data] for data in order(origin))
    expected = {"path": "abc", "newest": "cab", "oldest": "bac", "largest": "bac"}
    assert names == expected.get(rule, "cab")


def test_what_is_in_an_archive_cannot_be_sorted(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write(tmp_path)
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "in")
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "all.zip", "--sort", "path")
    assert (result.code, origin.requests) == (2, [])
    assert "--sort is for files in folders" in result.err


@pytest.mark.parametrize(
    "rule", [("--include", "/"), ("--newer-than", "soon"), ("--sort", "colour"), ("--exclude", "")]
)
def test_what_is_no_rule_is_a_usage_error(
    dcmweb: Dcmweb, tmp_path: Path, rule: tuple[str, ...]
) -> None:
    write(tmp_path)
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", *rule)
    assert (result.code, origin.requests) == (2, [])
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("rule", [("--include", "a"), ("--newer-than", "1h"), ("--sort", "path")])
def test_rules_are_not_for_metadata(dcmweb: Dcmweb, tmp_path: Path, rule: tuple[str, ...]) -> None:
    (tmp_path / "m.json").write_text("[{}]")
    result = dcmweb("http://127.0.0.1:1", "store", "--metadata", "m.json", *rule)
    assert result.code == 2
    assert f"{rule[0]} does not go with --metadata" in result.err
