"""The two streams, whatever encoding and line ends they come with."""

from __future__ import annotations

import io

import pytest

from dcmweb.cli.console import Console


def stream(encoding: str) -> io.TextIOWrapper:
    """A stream as Windows makes it, which takes no character that its encoding lacks."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\r\n")


def written(text: io.TextIOWrapper) -> bytes:
    text.flush()
    assert isinstance(text.buffer, io.BytesIO)
    return text.buffer.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "utf-8"])
def test_data_is_utf_8_with_the_same_line_ends_everywhere(encoding: str) -> None:
    out = stream(encoding)
    console = Console(out, stream(encoding))
    console.data("山田^é")
    console.stream(["a\r\nb", "\n"])
    assert written(out) == "山田^é\na\r\nb\n".encode()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252"])
def test_what_a_terminal_cannot_show_is_escaped(encoding: str) -> None:
    err = stream(encoding)
    Console(stream(encoding), err).line("山.dcm failed")
    assert b"\\u5c71.dcm failed\r\n" in written(err)
