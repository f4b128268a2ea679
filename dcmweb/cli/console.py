"""What the user sees: data on stdout; lines, progress and the summary on stderr."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from dcmweb.cli.progress import Bar, Display, PlainLines, Share, share_of_items
from dcmweb.cli.text import plural, size, visible
from dcmweb.errors import LocalError
from dcmweb.transfer.outcomes import FailureGroup, Outcome, Status
from dcmweb.transfer.summary import Progress, Summary

if TYPE_CHECKING:
    from dcmweb.library.runs import Transfer


TOGETHER = 0.1  # seconds for which lines are gathered while a run is followed


class ReaderGone(Exception):
    """The reader of stdout closed it, as `head` does: not a failure."""


class Console:
    """The two streams; every text from elsewhere is made visible before it is written."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdout = _utf8(stdout or sys.stdout or _nowhere())
        self._stderr = _lenient(stderr or sys.stderr or _nowhere())
        self._display: Display | None = None
        self._lines: deque[str] = deque()  # that wait to be written; workers add to them
        self._next_write: float | None = None  # when it is time to; None is at once
        self._summary: list[str] = []
        self.prints_events = False
        self.quiet = False  # only what went wrong

    def data(self, text: str) -> None:
        """Write data to stdout.

        Raises ReaderGone if nobody reads it any more, LocalError if it cannot be written.
        """
        self._hide_display()
        with self._writing():
            self._stdout.write(text + "\n")
            self._stdout.flush()

    def raw(self, data: bytes) -> None:
        """Write bytes to stdout as they are; errors as of `data`."""
        self._hide_display()
        with self._writing():
            self._stdout.flush()
            self._stdout.buffer.write(data)
            self._stdout.flush()

    def stream(self, pieces: Iterable[str]) -> None:
        """Write data to stdout piece by piece; errors as of `data`."""
        flushed = 0.0
        for piece in pieces:
            with self._writing():
                self._stdout.write(piece)
                if (now := time.monotonic()) > flushed + TOGETHER:
                    self._stdout.flush()
                    flushed = now
        with self._writing():
            self._stdout.flush()

    def paths(self, paths: Iterable[str], end: bytes) -> None:
        """Write paths as they are, even those that are not UTF-8; errors as of `data`."""
        with self._writing():
            for path in paths:
                self._stdout.buffer.write(os.fsencode(path) + end)
            self._stdout.flush()

    def copy(self, path: str) -> None:
        """Write a file to stdout as it is; errors as of `data`."""
        with self._writing(), open(path, "rb") as file:
            shutil.copyfileobj(file, self._stdout.buffer)
            self._stdout.flush()

    def _hide_display(self) -> None:
        """Clear the progress bar if data go to a terminal as well, for which there is one line."""
        if self._display and self._stdout.isatty():
            self._display.hide()

    @staticmethod
    @contextmanager
    def _writing() -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise LocalError(f"cannot write to stdout: {error.strerror}") from error

    @property
    def has_terminal_for_data(self) -> bool:
        """Whether stdout is a terminal, which is to be spared binary data."""
        return self._stdout.isatty()

    def line(self, message: str) -> None:
        """Write a line with the time to stderr.

        The run goes on if a log cannot be written: its disk is full, or its reader is gone.
        """
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        self._lines.append(f"{stamp},{int(now % 1 * 1000):03d} -- {visible(message)}\n")
        if self._next_write is None:
            self._write_lines()

    def _write_lines(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        if self._display:
            self._display.hide()
        with suppress(OSError):
            self._stderr.write("".join(lines))
            self._stderr.flush()

    @property
    def shows_bar(self) -> bool:
        """Whether there is a terminal to show progress on, and somebody wants to see it."""
        return self._stderr.isatty() and not self.quiet

    def note(self, message: str) -> None:
        """Write a line that a user who wants quiet need not see."""
        if not self.quiet:
            self.line(message)

    def show_log(self, level: str) -> None:
        """Write what the library logs, from a level on."""
        import logging

        handler = logging.Handler()
        handler.emit = lambda record: self.line(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("dcmweb")
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False

    def problem(self, message: str, hint: str = "") -> None:
        """Write what stopped the run, in one line."""
        self.line(f"Error: {message}; {hint}" if hint else f"Error: {message}")

    def defect(self, error: BaseException) -> None:
        """Write what went wrong in dcmweb itself, where, and what to do about it."""
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        where = ""
        if trace:
            where = f" in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"
        self.problem(f"a defect{where}: {type(error).__name__}: {error}", "please report it")

    def tick(self, progress: Progress) -> None:
        """Write the lines that wait, and show how far a run has come, if it is time to."""
        now = time.monotonic()
        if self._next_write is not None and now >= self._next_write:
            self._write_lines()
            self._next_write = now + TOGETHER
        if self._display:
            self._display.show(progress)

    def follow(
        self,
        run: Transfer,
        *,
        describe: Callable[[Outcome], str],
        records: Sequence[Callable[[Outcome], None]] = (),
        share: Share = share_of_items,
    ) -> Summary:
        """Show a run as it goes, with a line for each outcome that is described.

        Each outcome goes to the records first. `share` says how much of the run is done.
        """
        try:
            with self._gathering_lines(), self._showing_progress(share), closing(run):
                for outcome in run:
                    for record in records:
                        record(outcome)
                    words = describe(outcome)
                    if words and not (self.quiet and outcome.status.is_good):
                        self.line(words)
        finally:
            if run.summary.is_begun:
                self._sum_up(run.summary)
                self._print_summary(run.summary)
        return run.summary

    def _sum_up(self, summary: Summary) -> None:
        """Keep the summary in words for the end; with -q only if something went wrong."""
        if self.quiet and summary.is_good:
            return
        self._summary = [failed_in_words(group) for group in summary.failures]
        self._summary.append("; ".join(filter(None, [_in_words(summary), summary.end])))

    def _print_summary(self, summary: Summary) -> None:
        """Print the summary as an event, if events are wanted."""
        if self.prints_events:
            counts = {
                status.name.lower(): summary.counts.get(status, 0) for status in _shown(summary)
            }
            event = {
                "type": "summary",
                **counts,
                "bytes": summary.bytes,
                "seconds": summary.seconds,
            }
            event |= {"workers": summary.workers, "retries": summary.retries}
            with suppress(ReaderGone, LocalError):  # which the events before have told
                self.data(json.dumps(event | ({"end": summary.end} if summary.end else {})))

    def close(self) -> None:
        """Sum up the run, whatever ended it: what failed by reason; the last line counts all."""
        for line in self._summary:
            self.line(line)

    @contextmanager
    def _gathering_lines(self) -> Iterator[None]:
        """Write lines several at a time: of small files there are thousands in a second."""
        self._next_write = 0.0
        try:
            yield
        finally:
            self._next_write = None
            self._write_lines()

    @contextmanager
    def _showing_progress(self, share: Share) -> Iterator[None]:
        if self.quiet:
            yield
            return
        self._display = Bar(self._stderr, share) if self.shows_bar else PlainLines(self.line)
        try:
            yield
        finally:
            self._display.close()
            self._display = None


def _utf8(stream: TextIO) -> TextIO:
    """Have data written as UTF-8, wherever, line ends included; what cannot be so is escaped."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    return stream


def _lenient(stream: TextIO) -> TextIO:
    """Have characters escaped that the terminal does not know, as on Windows or in the C locale."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _nowhere() -> TextIO:
    """Stand in for a stream that the shell closed."""
    return open(os.devnull, "w", encoding="utf-8")


def failed_in_words(group: FailureGroup) -> str:
    """Write a line for items that failed for the same reason, with some of them by name."""
    others = min(group.count, group.outcomes) - len(group.examples)
    more = f" and {plural(others, 'other')}" if others else ""
    examples = ", ".join(group.examples)
    return f"{group.status.value} {group.count:,}: {group.reason}: {examples}{more}"


def _in_words(summary: Summary) -> str:
    """Write the summary line: what was moved, the outcomes of all items, and how it went."""
    counts = summary.counts
    shown = [f"{status.value} {counts.get(status, 0):,}" for status in _shown(summary)]
    moved = counts.get(Status.STORED, 0) + counts.get(Status.RETRIEVED, 0)
    rate = size(summary.bytes / summary.seconds) if summary.seconds else "0B"
    how = [
        f"{summary.seconds:.1f} s",
        f"{rate}/s",
        plural(summary.workers, "worker"),
        plural(summary.retries, "retry"),
    ]
    transferred = f"Transferred {size(summary.bytes)} in {plural(moved, 'file')}: "
    if summary.purpose in (Status.DELETED, Status.FINISHED):
        transferred, how[1:2] = "", []
    if summary.purpose is Status.EQUAL:
        transferred, how[1:2] = f"Checked {plural(summary.items, 'item')}: ", []
    if summary.purpose is Status.PLANNED:
        known = f", {size(summary.bytes)}" if summary.bytes else ""
        transferred, how = f"Dry run{known}: ", how[:1]
    return f"{transferred}{', '.join(shown)}; {', '.join(how)}"


def _shown(summary: Summary) -> list[Status]:
    """Choose what a summary names: first what the run was for, and always what failed."""
    always: tuple[Status, ...] = (Status.SKIPPED, Status.FAILED)
    if summary.purpose is Status.EQUAL:
        always += (Status.MISSING, Status.EXTRA, Status.DIFFERENT)
    others = [
        status
        for status in Status
        if status is not summary.purpose and (summary.counts.get(status) or status in always)
    ]
    return [summary.purpose, *others]
