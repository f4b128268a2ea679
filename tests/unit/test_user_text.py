"""Text that users hand over, in the encodings that editors and shells write."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from dcmweb.errors import LocalError
from dcmweb.user_text import decode_text, read_text

TEXT = "Müller, 山田\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_its_encoding(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(TEXT.encode(encoding))
    assert read_text(str(file)) == TEXT
    with file.open("rb") as stream:
        assert read_text(stream) == TEXT


@pytest.mark.parametrize("mark", [b"\xfe\xff", b""])
def test_utf_16_with_the_other_order_and_without_a_mark(mark: bytes) -> None:
    assert decode_text(mark + "abc".encode("utf-16-be"), "x") == "abc"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/fd")
def test_a_pipe_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, TEXT.encode())
    os.close(writer)
    assert read_text(f"/dev/fd/{reader}") == TEXT
    os.close(reader)


@pytest.mark.parametrize("data", [b"M\xfcller", b"\xff\xfea", b"\xff\xfe\x00\xd8"])
def test_what_cannot_be_decoded_is_said_in_words(data: bytes) -> None:
    with pytest.raises(LocalError, match=r"the list is not UTF-(8|16-LE) text; save it as UTF-8"):
        read_text(io.BytesIO(data), name="the list")


def test_bytes_can_be_kept_as_in_names_of_files() -> None:
    text = decode_text(b"M\xfcller", "x", errors="surrogateescape")
    assert text.encode(errors="surrogateescape") == b"M\xfcller"


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=re.escape(f"cannot read {tmp_path / name}: ")) as caught:
        read_text(str(tmp_path / name))
    assert caught.value.path == str(tmp_path / name)
