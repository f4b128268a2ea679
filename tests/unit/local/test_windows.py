"""What Windows wants of names and paths, as far as it shows elsewhere."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import UsageError
from dcmweb.local import moving, windows
from dcmweb.local.layout import Layout

LONG = "x" * 300


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (rf"C:\data\{LONG}", rf"\\?\C:\data\{LONG}"),
        (rf"\\server\share\{LONG}", rf"\\?\UNC\server\share\{LONG}"),
        (rf"\\?\C:\data\{LONG}", rf"\\?\C:\data\{LONG}"),
        (rf"\\.\pipe\{LONG}", rf"\\.\pipe\{LONG}"),
    ],
)
def test_long_paths_are_given_verbatim(path: str, expected: str) -> None:
    assert windows.verbatim(path) == expected


@pytest.mark.parametrize("name", ["CONSOLE", "nulls", "COM10", "LPT", "a.con", "1.2", ""])
def test_names_that_only_look_like_devices(name: str) -> None:
    assert not windows.is_device(name)


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "IS_WINDOWS", True)


@pytest.mark.usefixtures("on_windows")
@pytest.mark.parametrize(
    "template",
    ["a:b/{PatientID}", "{StudyDate}:{Modality}", "what?/x", "a|b", 'a"b', "<x>", "x./{PatientID}",
     "{PatientID} /{Modality}", "{PatientID}./x", "{PatientID}\\..\\x", "\\x", "C:\\x", "a\tb"],
)  # fmt: skip
def test_a_layout_whose_text_windows_does_not_take_is_refused(template: str) -> None:
    with pytest.raises(UsageError):
        Layout(template)


@pytest.mark.usefixtures("on_windows")
def test_a_layout_may_be_written_with_backslashes() -> None:
    assert Layout(r".\{PatientID}\{SOPInstanceUID}").place(Resource("1", "2", "3"), {}) in (
        "unknown/3",
        r"unknown\3",
    )


@pytest.mark.parametrize(("template", "value"), [("{PatientID}", "NUL"), ("CO{PatientID}", "N")])
def test_devices_are_no_names_in_a_layout_on_any_system(template: str, value: str) -> None:
    given = {"00100020": {"vr": "LO", "Value": [value]}}
    place = Layout(template + "/{SOPInstanceUID}").place(Resource("1", "2", "3"), given)
    first = place.replace("\\", "/").split("/")[0]
    assert not windows.is_device(first)
    assert first.startswith("_")


@pytest.mark.skipif(windows.IS_WINDOWS, reason="Windows does not take these names")
def test_elsewhere_a_layout_may_have_what_windows_does_not_take() -> None:
    place = Layout("a:b/{SOPInstanceUID} x").place(Resource("1", "2", "3"), {})
    assert place == "a:b/3 x"


@pytest.mark.parametrize(
    ("refusals", "is_folder", "tries"),
    [(2, False, 3), (99, False, moving._PATIENCE), (99, True, 1)],
)
def test_a_file_that_another_program_reads_is_waited_for(
    refusals: int, is_folder: bool, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []

    def move(source: str, _final: str) -> None:
        moved.append(source)
        if len(moved) <= refusals:
            raise PermissionError

    monkeypatch.setattr(moving, "time", SimpleNamespace(sleep=lambda _: None))
    with nullcontext() if refusals < tries else pytest.raises(PermissionError):
        moving._patiently(move, "a", str(tmp_path if is_folder else tmp_path / "b"))
    assert len(moved) == tries
