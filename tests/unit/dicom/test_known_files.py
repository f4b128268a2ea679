"""Files that are laid out like others before: found to be the same as by the longer way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.dicom.part10 import HEAD, LocalInstance, identify_file
from dcmweb.dicom.resources import are_plain_uids, is_usable_uid
from dcmweb.errors import LocalError
from dcmweb.local.windows import IS_WINDOWS
from tests.conftest import make_instance

HELD = 20_000


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Know the layout of small instances."""
    layouts = part10._layouts
    texts = (layouts._walk, layouts._tags, layouts._fixed, layouts._texts)
    monkeypatch.setattr(part10, "_layouts", type(layouts)(*texts))
    for number in range(20):
        path = tmp_path / "known.dcm"
        path.write_bytes(instance(number))
        identify_file(str(path), HELD)
    assert part10._layouts.are_known


def instance(number: int, size: int = 64) -> bytes:
    return make_instance("1.2.3", "1.2.3.4", f"1.2.3.4.{1000 + number}", size)


def found(path: Path, held: int = HELD) -> object:
    """Return what is found of a file, and the bytes that would be sent of it."""
    try:
        one = identify_file(str(path), held)
        content = b"".join(one.pieces())
    except LocalError as error:
        return type(error), str(error)
    return one.path, one.size, one.mtime_ns, one.identity, one.content, content


def found_slowly(path: Path, held: int = HELD) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part10, "_identify_known", lambda _file, _held: None)
        return found(path, held)


def test_a_known_file_is_read_by_the_short_way(tmp_path: Path) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(100))
    one = part10._identify_known(LocalFile(str(path)), HELD)
    assert one is not None
    assert one.content == path.read_bytes()
    assert found(path) == found_slowly(path)


@pytest.mark.parametrize("held", [0, HEAD - 1, HEAD, HELD])
@pytest.mark.parametrize("size", [HEAD - 1, HEAD, HEAD + 1, 10 * HEAD])
def test_files_about_as_large_as_a_head(tmp_path: Path, size: int, held: int) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(100).ljust(size, b"\0"))
    expected = found_slowly(path, held)
    assert found(path, held) == expected
    assert isinstance(expected, tuple)
    assert (expected[4] is None) == (size > min(held, HEAD))
    assert expected[5] == path.read_bytes()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 700), st.integers(0, 255), st.booleans())
def test_a_changed_or_cut_file_is_found_to_be_the_same(
    tmp_path: Path, at: int, value: int, cut: bool
) -> None:
    data = bytearray(instance(100))
    data[at % len(data)] = value
    path = tmp_path / "1.dcm"
    path.write_bytes(data[:at] if cut else data)
    assert found(path) == found_slowly(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "empty", "NUL"])
def test_what_is_not_a_file_is_named_as_by_the_longer_way(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "1.dcm"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "NUL":
        path = tmp_path / "a\0b"
    elif IS_WINDOWS:
        pytest.skip("Windows has neither")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    assert LocalFile(str(path)).head(HEAD) is None
    if kind != "NUL":
        assert found(path) == found_slowly(path)


def test_a_read_that_is_cut_short_is_left_to_the_longer_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(100))
    read = os.read
    monkeypatch.setattr(os, "read", lambda number, size: read(number, min(size, 300)))
    assert LocalFile(str(path)).head(HEAD) is None
    assert isinstance(identify_file(str(path), HELD), LocalInstance)


@pytest.mark.parametrize("change", ["other bytes", "other time", "gone"])
def test_a_known_file_that_changes_before_it_is_sent_is_not_sent(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "1.dcm"
    path.write_bytes(instance(100))
    one = identify_file(str(path), HELD)
    assert b"".join(one.pieces()) == path.read_bytes()
    if change == "other bytes":
        path.write_bytes(instance(100) + b"more")
    elif change == "other time":
        os.utime(path, (1, 1))
    else:
        path.unlink()
    with pytest.raises(LocalError, match=r"No such file|cannot find|not found|changed"):
        b"".join(one.pieces())


@given(*[st.text("0123456789.x\n/", max_size=70)] * 3)
def test_plain_uids_are_usable(study: str, series: str, instance: str) -> None:
    if are_plain_uids(study, series, instance):
        assert all(map(is_usable_uid, (study, series, instance)))


def test_usual_uids_are_plain() -> None:
    assert are_plain_uids("1.2.3", "1.2.840.10008", "2.25." + "1" * 58)
    assert not are_plain_uids("", "1", "2")
    assert not are_plain_uids("...", "1", "2")
