"""Deflated files that inflate to more than anyone wants in memory."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pydicom
import pytest

from dcmweb.dicom import inflation
from dcmweb.dicom.inflation import InPieces, inflated, is_deflated
from dcmweb.dicom.part10 import attributes, identify
from dcmweb.errors import BrokenDicom
from tests.hostile import DEFLATED, EXPLICIT, INSTANCE, SERIES, deflated, element, meta, nested

MIB = 1 << 20
NAME = element(0x00100010, b"PN", b"Doe^Jane")


def test_uids_behind_a_large_element_are_found() -> None:
    whole = deflated(INSTANCE, 2 * MIB, SERIES)
    assert str(identify(io.BytesIO(whole)).resource).count("/") == 5


@pytest.mark.parametrize(("before", "after"), [(b"", INSTANCE + SERIES), (INSTANCE, SERIES)])
def test_no_more_is_inflated_than_the_limit(before: bytes, after: bytes) -> None:
    bomb = io.BytesIO(deflated(before, 200 * MIB, after))
    tracemalloc.start()
    try:
        if before:
            assert not identify(bomb).resource.study
        else:
            with pytest.raises(BrokenDicom, match="too large when inflated"):
                identify(bomb)
        assert attributes(bomb, ["00100010"]) == {}
        assert tracemalloc.get_traced_memory()[1] < 30 * MIB
    finally:
        tracemalloc.stop()


def test_the_limit_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflation, "LARGEST_INFLATED", 1000)
    file = io.BytesIO(deflated(INSTANCE + SERIES, 300_000))
    assert is_deflated(file)
    with pytest.raises(BrokenDicom), inflated(file):
        pass
    monkeypatch.setattr(inflation, "MOST_INFLATION", 1000)
    assert is_deflated(file)
    with inflated(file) as plain:
        assert pydicom.dcmread(plain).StudyInstanceUID == "1.2.3"


def test_a_malformed_data_set_is_not_inflated() -> None:
    with pytest.raises(BrokenDicom, match="malformed"), inflated(io.BytesIO(b"no deflated data")):
        pass


def test_pydicom_does_not_inflate_what_this_package_takes_for_plain() -> None:
    """A value that pydicom takes for elements, among them another transfer syntax."""
    hidden = element(0x00020010, b"UI", DEFLATED)
    odd = struct.pack("<HHHH", 2, 0x0005, len(hidden), 0) + hidden
    bomb = meta(EXPLICIT, odd).replace(EXPLICIT, b"1.2\0".ljust(len(EXPLICIT), b"\0"))
    bomb += deflated(INSTANCE, 200 * MIB, SERIES)[len(meta(DEFLATED)) :]
    assert not is_deflated(io.BytesIO(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(BrokenDicom):
            identify(io.BytesIO(bomb))
        assert tracemalloc.get_traced_memory()[1] < 30 * MIB
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match="as a whole"):
        InPieces(io.BytesIO(bomb)).read(-1)


def test_values_for_a_layout_come_from_deflated_files() -> None:
    file = io.BytesIO(deflated(INSTANCE, 2 * MIB, NAME + SERIES))
    assert attributes(file, ["00100010"])["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


def test_a_malformed_data_set_has_no_values_for_a_layout() -> None:
    file = io.BytesIO(deflated(INSTANCE, 1000)[:-20] + b"\xff" * 20)
    assert attributes(file, ["00100010"]) == {}


def test_sequences_nested_too_deep_are_named_as_such() -> None:
    with pytest.raises(BrokenDicom, match="nested too deep"):
        identify(io.BytesIO(nested(3000)))
