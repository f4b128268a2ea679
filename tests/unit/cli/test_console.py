"""The two streams, whatever encoding and line ends they come with."""

from __future__ import annotations

import io
import threading

import pytest

from dcmweb.cli.activity import Activity
from dcmweb.cli.console import Console
from dcmweb.transfer.outcomes import Status
from dcmweb.transfer.summary import Progress


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
        counts_after = 0.0

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


def test_xml_has_nothing_that_a_terminal_obeys() -> None:
    pieces = ["<a>山\t\x9b2J</a>\n", "<b c='\u202ex\u2066'/>\n"]
    out, terminal = (kind(io.BytesIO()) for kind in (io.TextIOWrapper, Terminal))
    Console(out, stream("utf-8")).stream(pieces)
    Console(terminal, stream("utf-8")).stream(pieces)
    assert written(out).decode() == "".join(pieces)
    shown = "<a>山\t&#155;2J</a>\n<b c='&#8238;x&#8294;'/>\n"
    assert written(terminal).decode() == shown


@pytest.mark.parametrize("quiet", [False, True])
def test_without_a_terminal_there_is_a_line_from_time_to_time_unless_quiet(
    quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcmweb.cli.watch.PATIENCE", 0.01)
    monkeypatch.setattr("dcmweb.cli.progress.HEARTBEAT", 0.02)
    err = stream("utf-8")
    console = Console(stream("utf-8"), err)
    console.quiet = quiet
    looked = threading.Event()

    def progress() -> Progress:
        if b"So far" in written(err):
            looked.set()
        return Progress(counts={Status.STORED: 3}, expected=6)

    with console.watching(progress, Activity("Storing", "file")):
        assert looked.wait(0.1 if quiet else 20.0) != quiet
    lines = written(err).decode().splitlines()
    assert bool(lines) != quiet
    assert all(line.endswith(" -- So far: 50% 3 of 6 files") for line in lines)


def test_what_is_to_be_done_is_said_where_no_bar_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    err = stream("utf-8")
    console = Console(stream("utf-8"), err)
    console.start("Storing x")
    console.quiet = True
    console.start("Storing y")
    assert written(err).count(b" -- Storing x") == 1
    assert b"Storing y" not in written(err)
    terminal = Terminal(io.BytesIO())
    Console(stream("utf-8"), terminal).start("Storing z")
    assert written(terminal) == b""
