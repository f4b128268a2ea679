"""UIDs read by the layout of files before: never others than a walk over the elements finds."""

from __future__ import annotations

import io
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dcmweb.dicom import part10
from dcmweb.dicom.element_walk import META_SOP_CLASS, META_SOP_INSTANCE, META_SYNTAX, texts
from dcmweb.dicom.known_layouts import KnownLayouts
from dcmweb.errors import LocalError
from tests.conftest import make_instance

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def layouts() -> KnownLayouts:
    return KnownLayouts(
        part10._uids,
        part10._WANTED | {META_SOP_CLASS, META_SOP_INSTANCE},
        META_SYNTAX,
        texts,
    )


def made(instance: str, syntax: Any = ExplicitVRLittleEndian, *, undefined: bool = False) -> bytes:
    """Make an instance with a sequence before its study."""
    dataset = pydicom.dcmread(io.BytesIO(make_instance(instance=instance, size=64)))
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = "9.9.9.9"
    dataset.ReferencedImageSequence = [item]
    dataset["ReferencedImageSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    order = {"little_endian": syntax != ExplicitVRBigEndian}
    order["implicit_vr"] = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(buffer, dataset, **order, enforce_file_format=True)
    return buffer.getvalue()


def walked(data: bytes) -> object:
    """Identify an instance by nothing but the walk."""
    part10._layouts, kept = layouts(), part10._layouts
    try:
        return part10.identify(io.BytesIO(data))
    except LocalError as error:
        return str(error)
    finally:
        part10._layouts = kept


def identified(data: bytes) -> object:
    try:
        return part10.identify(io.BytesIO(data))
    except LocalError as error:
        return str(error)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> KnownLayouts:
    monkeypatch.setattr(part10, "_layouts", layouts())
    return part10._layouts


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_files_of_one_layout_are_read_by_it(
    known: KnownLayouts, syntax: Any, undefined: bool
) -> None:
    files = [made(f"1.2.3.4.{number}", syntax, undefined=undefined) for number in range(100, 130)]
    assert [identified(one) for one in files] == [walked(one) for one in files]
    is_known = syntax != ExplicitVRBigEndian  # which is too rare to be worth it
    assert (known._hits > 10) == is_known


def test_a_uid_of_another_length_is_another_layout(known: KnownLayouts) -> None:
    files = [made(f"1.2.3.4.{10**digits}") for digits in range(12)] * 4
    assert [identified(one) for one in files] == [walked(one) for one in files]
    assert known._hits
    assert len(known._layouts) <= 8


def test_files_that_all_differ_are_not_learned_for_ever(known: KnownLayouts) -> None:
    for length in range(300):
        assert known.values(b"\0" * 128 + b"DICM" + b"x" * length) is None
        known.learn(made(f"1.2.3.{'4' * (length % 50 + 1)}"))
    assert known._learned == 4


@settings(deadline=None)
@given(st.integers(0, 600), st.integers(0, 255))
def test_a_changed_byte_never_brings_other_uids(at: int, value: int) -> None:
    part10._layouts, kept = layouts(), part10._layouts
    try:
        for number in range(100, 112):
            part10.identify(io.BytesIO(made_once(number)))
        assert part10._layouts._layouts
        data = bytearray(made_once(100))
        data[at] = value
        assert identified(bytes(data)) == walked(bytes(data))
        assert identified(bytes(data[:at])) == walked(bytes(data[:at]))
    finally:
        part10._layouts = kept


_made: dict[int, bytes] = {}


def made_once(number: int) -> bytes:
    if number not in _made:
        _made[number] = made(f"1.2.3.4.{number}", undefined=True)
    return _made[number]
