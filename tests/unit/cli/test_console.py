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


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_bar_is_cleared_before_data_are_written_to_a_terminal(is_terminal: bool) -> None:
    hidden: list[bytes] = []

    class Bar:
        every = 0.1

        def show(self, progress: object) -> None: ...

        def hide(self) -> None:
            hidden.append(written(out))

    out = (Terminal if is_terminal else io.TextIOWrapper)(io.BytesIO())
    console = Console(out, stream("utf-8"))
    console._display = Bar()
    console.data("row")
    console.raw(b"\xff\n")
    assert written(out) == b"row\n\xff\n"
    assert hidden == ([b"", b"row\n"] if is_terminal else [])
