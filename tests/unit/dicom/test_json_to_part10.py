"""DICOM files written from the DICOM JSON model: frames, their offsets, and lengths told before."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pydicom
import pytest
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.uid import JPEGBaseline8Bit

from dcmweb.dicom.byte_ranges import Chunk
from dcmweb.dicom.json_to_part10 import BulkData, write_dataset, write_file
from dcmweb.dicom.part10 import find_damage

METADATA: dict[str, Any] = {
    tag: {"vr": vr, "Value": [value]}
    for tag, vr, value in (
        ("00080016", "UI", "1.2.840.10008.5.1.4.1.1.7.2"),
        ("00080018", "UI", "1.2.3"),
        ("00280008", "IS", 3),
    )
}
PIXELS = {"7FE00010": {"vr": "OB", "BulkDataURI": "pixels"}}


@dataclass(frozen=True)
class Held:
    """Bytes that are read in pieces of three; `more` are only told of."""

    data: bytes
    more: int = 0

    @property
    def size(self) -> int:
        return len(self.data) + self.more

    def pieces(self) -> Iterator[bytes]:
        yield from (self.data[at : at + 3] for at in range(0, len(self.data), 3))


def written(chunks: Iterator[Chunk]) -> bytes:
    found = b""
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else b"".join(chunk.pieces())
        assert len(data) == (len(chunk) if isinstance(chunk, bytes) else chunk.size)
        found += data
    return found


def test_frames_are_found_by_their_offsets() -> None:
    frames = [b"first", b"the second", b"3"]
    bulk = {"pixels": BulkData([*map(Held, frames)], is_encapsulated=True)}
    file = io.BytesIO(written(write_file({**METADATA, **PIXELS}, JPEGBaseline8Bit, bulk)))
    assert find_damage(file) == ""
    file.seek(0)
    pixels = pydicom.dcmread(file).PixelData
    assert parse_basic_offsets(pixels) == [0, 14, 32]
    found = [frame.rstrip(b"\0") for frame in generate_frames(pixels, number_of_frames=3)]
    assert found == frames


def test_there_is_no_table_of_offsets_that_are_too_large_for_it() -> None:
    frames = [Held(b"", 3 * 2**30), Held(b"", 2 * 2**30), Held(b"")]
    bulk = {"pixels": BulkData(frames, is_encapsulated=True)}
    chunks = write_dataset(PIXELS, JPEGBaseline8Bit, bulk)
    assert next(chunks)[-8:] == b"\xfe\xff\x00\xe0\0\0\0\0"  # type: ignore[index]


def test_bulk_data_in_items_is_not_read_before_its_time() -> None:
    data = Held(b"abc")
    dataset = {"00880200": {"vr": "SQ", "Value": [PIXELS]}}
    chunks = [*write_dataset(dataset, "1.2.840.10008.1.2.1", {"pixels": BulkData([data])})]
    assert data in chunks
    assert written(iter(chunks))[8:12] == (8 + 12 + 4).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("UI", "1.2.3", b"1.2.3\0"),
        ("UI", "1.2.34", b"1.2.34"),
        ("LO", "odd", b"odd "),
        ("PN", {"Alphabetic": "Doe"}, b"Doe "),
        ("IS", 7, b"7 "),
        ("UT", "é!!", "é!!".encode()),
        ("ST", "é", "é".encode()),
        ("UR", "a:b", b"a:b "),
    ],
)
def test_values_are_padded_to_an_even_length_as_their_vr_has_it(
    vr: str, value: Any, expected: bytes
) -> None:
    """PS3.5 section 6.2: UIDs with a null, other text with a space."""
    dataset = {"00091001": {"vr": vr, "Value": [value]}}
    implicit = written(write_dataset(dataset, "1.2.840.10008.1.2", {}))
    assert implicit[4:] == len(expected).to_bytes(4, "little") + expected
    assert written(write_dataset(dataset, "1.2.840.10008.1.2.1", {})).endswith(expected)


def test_binary_values_are_padded_with_zeros() -> None:
    dataset = {"00091001": {"vr": "OB", "InlineBinary": "QUJD"}}
    assert written(write_dataset(dataset, "1.2.840.10008.1.2.1", {})).endswith(b"\4\0\0\0ABC\0")


def test_uids_of_the_file_meta_information_are_padded_with_zeros() -> None:
    meta = next(write_file(METADATA, "1.2.840.10008.1.2.1", {}))
    assert isinstance(meta, bytes)
    for uid in ("1.2.3", "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.7.2"):
        assert b"UI" + (len(uid) + 1).to_bytes(2, "little") + uid.encode() + b"\0" in meta
