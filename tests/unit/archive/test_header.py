"""Headers of files: what the archive cannot keep, and values in odd forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcmweb.archive.storage.header import is_syntax, read_header
from dcmweb.errors import BrokenDicom
from tests.hostile import EXPLICIT, INSTANCE, SERIES, element, meta

Values = dict[str, str]


@pytest.fixture
def values_of(tmp_path: Path) -> Callable[[bytes], Values]:
    def read(data: bytes) -> Values:
        path = tmp_path / "a.dcm"
        path.write_bytes(data)
        with path.open("rb") as file:
            return dict(read_header(file).values)

    return read


CLASS, UID = INSTANCE[:34], INSTANCE[34:]
WHOLE = meta(EXPLICIT) + INSTANCE + SERIES


def test_what_is_whole_is_read(values_of: Callable[[bytes], Values]) -> None:
    assert values_of(WHOLE)["SOPInstanceUID"] == "1.2.3.4.5"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WHOLE[:-3], "ends inside"),
        (meta(EXPLICIT) + UID + SERIES, "no SOPClassUID"),
        (meta(EXPLICIT) + CLASS + SERIES, "SOP"),
        (meta(EXPLICIT) + INSTANCE + element(0x0020000D, b"UI", b"1.2.3"), "no SeriesInstanceUID"),
        (WHOLE.replace(b"1.2.3\0", b"1.\xff.3\0"), "not ASCII"),
        (meta(b"1.2\r\n3") + INSTANCE + SERIES, "malformed"),
        (meta(b"1." * 40) + INSTANCE + SERIES, "malformed"),
        (meta(b"") + INSTANCE + SERIES, "malformed"),
    ],
)
def test_what_the_archive_cannot_keep_is_broken(
    values_of: Callable[[bytes], Values], data: bytes, words: str
) -> None:
    with pytest.raises(BrokenDicom, match=words):
        values_of(data)


@pytest.mark.parametrize("text", ["", "1.2\n", "1.2 ", "1;2", "1" * 65, "x"])
def test_a_transfer_syntax_can_stand_in_a_header_field(text: str) -> None:
    assert not is_syntax(text)
    assert is_syntax("1.2.840.10008.1.2.1")


def named(charset: bytes, name: bytes) -> bytes:
    before = element(0x00080005, b"CS", charset) + INSTANCE
    return meta(EXPLICIT) + before + element(0x00100010, b"PN", name) + SERIES


@pytest.mark.filterwarnings("ignore::UserWarning")  # which pydicom gives of them
@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        (b"ISO_IR 192", "Müller".encode(), "Müller"),
        (b"nonsense", b"M\xfcller", "Müller"),
        (b"", b"M\xfcller", "Müller"),
        (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
        (b"ISO\0IR", b"M\xfcller", "Müller"),
        (b"\xff\xff", b"M\xfcller\0", "Müller"),
    ],
)
def test_names_in_any_character_set_are_text(
    values_of: Callable[[bytes], Values], charset: bytes, name: bytes, expected: str
) -> None:
    assert values_of(named(charset, name))["PatientName"] == expected


@pytest.mark.parametrize(("value", "expected"), [(b"\1\0", "1"), (b"\1\0\2\0", "1"), (b"", "")])
def test_a_number_is_the_first_of_several(
    values_of: Callable[[bytes], Values], value: bytes, expected: str
) -> None:
    data = meta(EXPLICIT) + INSTANCE + SERIES + element(0x00280010, b"US", value)
    assert values_of(data)["Rows"] == expected
