"""Which files are stored, and in which order."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.errors import NothingMatched, UsageError
from dcmweb.sources import Found
from dcmweb.transactions.store.selection import Order, Selection, read_newer_than

PATHS = [
    "/data/a.dcm", "/data/b.DCM", "/data/ct/1.dcm", "/data/ct/thumbs/1.dcm", "/data/ct/notes.txt",
    "/data/mr/ct/2.dcm", "/data/mr/x[1].dcm", "/data/.hidden.dcm", "/data/thumbs",
]  # fmt: skip


def found(paths: list[str]) -> Iterator[Found]:
    return (Found(path.replace("/", os.sep), file=LocalFile(path)) for path in paths)


def chosen(selection: Selection, paths: list[str] = PATHS) -> list[str]:
    return [one.path.replace(os.sep, "/") for one in selection.of(found(paths))]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), PATHS),
        (("*.txt",), (), ["/data/ct/notes.txt"]),
        (("ct/*.dcm",), (), ["/data/ct/1.dcm", "/data/mr/ct/2.dcm"]),
        (("/data/ct/*.dcm",), (), ["/data/ct/1.dcm"]),
        (("data/**.txt",), (), ["/data/ct/notes.txt"]),
        (("thumbs/",), (), ["/data/ct/thumbs/1.dcm"]),
        (("ct/thumbs/",), (), ["/data/ct/thumbs/1.dcm"]),
        (("1.dcm", "2.dcm"), ("mr/",), ["/data/ct/1.dcm", "/data/ct/thumbs/1.dcm"]),
        (("*.dcm",), ("ct/", "?.dcm"), ["/data/mr/x[1].dcm"]),
        ((), ("*",), ["/data/.hidden.dcm"]),
        (("x[[]1].dcm",), (), ["/data/mr/x[1].dcm"]),
        ((".hidden.dcm",), (), ["/data/.hidden.dcm"]),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="case does not count there")
def test_masks_say_which_files(
    include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    assert chosen(Selection(include=include, exclude=exclude)) == expected


def test_it_is_said_how_many_are_left_out_and_why() -> None:
    said: list[str] = []
    selection = Selection(include=["*.dcm"], exclude=["ct/"])
    paths = [path for path in PATHS if not path.endswith("DCM")]  # on Windows, case does not count
    list(selection.of(found(paths), said.append))
    assert said == ["left out 6 files: 3 by --include, 3 by --exclude"]


def test_masks_that_leave_out_everything_match_nothing() -> None:
    with pytest.raises(NothingMatched, match="left out 9 files: 9 by --include"):
        chosen(Selection(include=["*.dmc"]))
    few = Selection(include=["*.dmc"]).of(found(PATHS), may_be_none=True)
    assert list(few) == []  # a part of a run


def test_a_selection_can_be_handed_to_another_process() -> None:
    selection = Selection(include=["*.dcm"], newer_than="1h")
    before = chosen(selection)
    other = pickle.loads(pickle.dumps(selection))
    assert (other, chosen(other)) == (selection, before)


def test_what_was_not_found_passes_to_be_named() -> None:
    missing = Found("/data/x", missing=True)
    broken = Found("/data/y", error=OSError(5, "Input/output error"))
    selection = Selection(exclude=["*"], order=Order.PATH)
    assert list(selection.of([missing, broken])) == [missing, broken]


@pytest.mark.parametrize("mask", ["", "/", "//"])
def test_an_empty_mask_is_a_usage_error(mask: str) -> None:
    with pytest.raises(UsageError):
        Selection(exclude=[mask])


# The time.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("2 W", 1_209_600), ("0d", 0)],
)
def test_an_age_is_a_time_before_now(text: str, seconds: int) -> None:
    assert read_newer_than(text, 10_000_000) == 10_000_000 - seconds


@pytest.mark.parametrize(
    "text", ["2026-11-01", "2026-11-01T18:00", "2026-11-01T18:00:30+01:00", "2026-11-01 18:00"]
)
def test_a_date_is_in_the_time_of_this_machine(text: str) -> None:
    assert read_newer_than(text, 0) == datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    "text", ["yesterday", "7", "d7", "7y", "-7d", "2026-13-01", "20:00", "\u0667d", "1" * 12 + "d"]
)
def test_what_is_neither_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--newer-than"):
        Selection(newer_than=text)


def test_files_that_are_too_old_are_left_out(tmp_path: Path) -> None:
    for number, age in enumerate([0, 50, 150, 1000]):
        path = tmp_path / f"{number}.dcm"
        path.touch()
        os.utime(path, (time.time() - 60 * age,) * 2)
    paths = [str(tmp_path / f"{number}.dcm") for number in range(5)]  # the last one is not there
    selection = Selection(newer_than="2h")
    assert [Path(one.path).stem for one in selection.of(found(paths))] == ["0", "1", "4"]
    assert list(Selection(newer_than="0s").of(found(paths[1:4]))) == []  # nothing new: no error


# The order.


def test_files_are_sorted(tmp_path: Path) -> None:
    for name, size, when in [("b", 3, 100), ("a", 1, 300), ("c", 2, 200), ("d", 1, 300)]:
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        os.utime(path, (when, when))
    paths = [str(tmp_path / name) for name in "bacd"]

    def names(order: Order) -> str:
        return "".join(Path(one.path).name for one in Selection(order=order).of(found(paths)))

    assert names(Order.PATH) == "abcd"
    assert names(Order.NEWEST) == "adcb"
    assert names(Order.OLDEST) == "bcad"
    assert names(Order.LARGEST) == "bcad"
    assert names(Order.SMALLEST) == "adcb"


@pytest.mark.skipif(os.name == "nt", reason="there, names are no bytes")
def test_a_name_that_is_not_utf8_keeps_its_bytes() -> None:
    odd = os.fsdecode(b"/data/\xff.dcm")
    (one,) = Selection(order=Order.PATH).of([Found(odd, named=True, file=LocalFile(odd))])
    assert (one.path, one.named) == (odd, True)


def test_what_is_read_as_it_comes_cannot_be_sorted() -> None:
    class Other:
        path = "a.zip/1.dcm"

    with pytest.raises(UsageError, match="is not one"):
        list(Selection(order=Order.PATH).of([Found("a.zip/1.dcm", file=Other())]))  # type: ignore[arg-type]
