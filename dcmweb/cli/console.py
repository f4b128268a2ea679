"""What the user sees: data on stdout; lines, progress and the summary on stderr."""

from __future__ import annotations

import io
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, TextIO

from dcmweb.cli.left_over import LeftOver
from dcmweb.cli.line_time import LineTime
from dcmweb.cli.text import visible, with_references
from dcmweb.cli.watch import Display, Watch
from dcmweb.counted import plural, size
from dcmweb.errors import LocalError
from dcmweb.transfer.marks import Marks
from dcmweb.transfer.outcomes import Event, FailureGroup, Outcome, Status, exact
from dcmweb.transfer.summary import NOT_BEGUN, Progress, Summary

if TYPE_CHECKING:
    from dcmweb.cli.activity import Activity
    from dcmweb.cli.run_log import RunLog
    from dcmweb.library.runs import Transfer


TOGETHER = 0.1  # seconds for which lines are gathered while a run is followed


class ReaderGone(Exception):
    """The reader of stdout closed it, as `head` does: not a failure."""


class Console:
    """The two streams; every text from elsewhere is made visible before it is written."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdout = _utf8(stdout or sys.stdout or _nowhere())
        self._stderr = _lenient(stderr or sys.stderr or _nowhere())
        self._lock = RLock()  # of what is written, and of the display
        self._display: Display | None = None
        self._is_line_begun = False  # on stdout, if that is a terminal
        self._lines: deque[str] = deque()  # that wait to be written; workers add to them
        self._time = LineTime()
        self._next_write: float | None = None  # when it is time to; None is at once
        self._summary: list[str] = []
        self._named: Counter[Status] = Counter()  # outcomes that went wrong, with a line each
        self._last_event: Event = {"type": "end", "end": NOT_BEGUN}
        self.marks = Marks()  # of events, and of the log
        self.log: RunLog | None = None  # a file beside stderr
        self.prints_events = False
        self.quiet = False  # only what went wrong
        self.brief = False  # no line for each item that went well
        self.way_on = ""  # how to go on after an interruption
        self._left = ""  # what is left then

    def data(self, text: str) -> None:
        """Write data to stdout.

        Raises ReaderGone if nobody reads it any more, LocalError if it cannot be written.
        """
        with self._writing():
            self._stdout.write(text + "\n")
            self._stdout.flush()

    def event(self, event: Event) -> None:
        """Write an event to stdout, with its time and the run; errors as of `data`."""
        import json

        self.data(json.dumps(self.marks.on(event)))

    def raw(self, data: bytes) -> None:
        """Write bytes to stdout as they are; errors as of `data`."""
        with self._writing():
            self._stdout.flush()
            self._stdout.buffer.write(data)
            self._stdout.flush()
            self._is_line_begun = not data.endswith(b"\n")

    def stream(self, pieces: Iterable[str]) -> None:
        """Write data to stdout piece by piece; errors as of `data`."""
        flushed = 0.0
        for piece in map(with_references, pieces) if self.has_terminal_for_data else pieces:
            with self._writing():
                self._stdout.write(piece)
                self._is_line_begun = not piece.endswith("\n")
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
        import shutil

        with self._writing(), open(path, "rb") as file:
            shutil.copyfileobj(file, self._stdout.buffer)
            self._stdout.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Translate errors of stdout; clear the progress bar if data go to a terminal as well."""
        try:
            if self._display is None or not self._stdout.isatty():
                yield
                return
            with self._lock:
                self._display.hide()
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
        """Write a line with the time to stderr, and to the log.

        The run goes on if neither can be written: the disk is full, or the reader is gone.
        """
        if self.log:
            self.log.line(message)
        self.show(message)

    def show(self, message: str) -> None:
        """Write a line with the time to stderr alone."""
        self._lines.append(f"{self._time.now()} -- {visible(message)}\n")
        if self._next_write is None:
            self._write_lines()

    def _write_lines(self) -> None:
        with self._lock:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if not lines:
                return
            with suppress(OSError):
                if self._display:
                    self._display.hide()
                self._stderr.write("".join(lines))
                self._stderr.flush()

    @property
    def shows_bar(self) -> bool:
        """Whether there is a terminal to show progress on, and somebody wants to see it."""
        return self._stderr.isatty() and not self.quiet and os.environ.get("TERM") != "dumb"

    def start(self, message: str) -> None:
        """Say what is to be done, in a log or where no bar shows it."""
        if self.log:
            self.log.line(message)
        if not self.quiet and not self.shows_bar:
            self.show(message)

    def note(self, message: str) -> None:
        """Write a line that a user who wants quiet need not see."""
        if self.log:
            self.log.line(message)
        if not self.quiet:
            self.show(message)

    def show_log(self, level: str) -> None:
        """Write what the library logs, from a level on."""
        import logging

        handler = logging.Handler(level)
        handler.emit = lambda record: self.show(record.getMessage())  # type: ignore[method-assign]
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

    def interruption(self, message: str) -> None:
        """Write that the run was interrupted, how much is left, and how to go on."""
        self.problem(f"{message}{self._left}", self.way_on)

    def tick(self, _progress: Progress) -> None:
        """Write the lines that wait, if it is time to."""
        now = time.monotonic()
        if self._next_write is not None and now >= self._next_write:
            self._write_lines()
            self._next_write = now + TOGETHER

    def follow(
        self,
        run: Transfer,
        activity: Activity,
        *,
        describe: Callable[[Outcome], str],
        records: Sequence[Callable[[Outcome], None]] = (),
    ) -> Summary:
        """Show a run as it goes, with a line for each outcome that is described.

        Each outcome goes to the records first.
        """
        left_over = LeftOver()
        try:
            with self._gathering_lines(), self._watched(run, activity), closing(run):
                for outcome in run:
                    for record in records:
                        record(outcome)
                    if outcome.is_left_over:
                        left_over.add(outcome)
                    else:
                        self._show_outcome(outcome, describe(outcome))
        finally:
            for outcome in left_over.few:
                self._show_outcome(outcome, describe(outcome))
            self._left = left_over.words(run.progress, activity.noun)
            if run.summary.is_begun:
                self._sum_up(run.summary)
                self._last_event = summary_event(run.summary)
        return run.summary

    def _show_outcome(self, outcome: Outcome, words: str) -> None:
        if self.log:
            self.log.outcome(outcome, words)
        if words and not ((self.quiet or self.brief) and outcome.status.is_good):
            self._named[outcome.status] += not outcome.status.is_good
            self.show(words)

    def _sum_up(self, summary: Summary) -> None:
        """Keep the summary in words for the end; with -q only if something went wrong.

        With -q, what failed is not grouped by reason if all of it has been named.
        """
        groups = list(summary.failures)
        counts = "; ".join(filter(None, [_in_words(summary), summary.end]))
        if self.log:
            lines = [*map(failed_in_words, groups), counts]
            self.log.sum_up(lines, is_good=summary.is_good)
        if self.quiet:
            met: Counter[Status] = Counter()
            for group in groups:
                met[group.status] += group.outcomes
            groups = [one for one in groups if met[one.status] > self._named[one.status]]
        is_silent = self.quiet and summary.is_good
        self._summary = [] if is_silent else [*map(failed_in_words, groups), counts]

    def close(self, code: int) -> None:
        """Sum up the run, whatever ended it, with its exit code.

        The last event has the code; the last line counts all, below what failed by reason.
        """
        if self.prints_events:
            with suppress(ReaderGone, LocalError):  # which the events before have told
                self.event({**self._last_event, "exit_code": code})
        for line in self._summary:
            self.show(line)
        if self.log:
            self.log.end(code)

    @contextmanager
    def _gathering_lines(self) -> Iterator[None]:
        """Write lines several at a time: of small files there are thousands in a second."""
        self._next_write = 0.0
        try:
            yield
        finally:
            self._next_write = None
            self._write_lines()

    def _watched(self, run: Transfer, activity: Activity) -> AbstractContextManager[None]:
        return self.watching(lambda: run.progress, activity, run.count_ahead)

    @contextmanager
    def watching(
        self,
        progress: Callable[[], Progress],
        activity: Activity,
        on_patience: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Show progress for the time of a block; `on_patience` is called if that is not short."""
        if self.quiet and not self.log:
            yield
            return
        begin = partial(self._displays, activity)
        watch = Watch(begin, progress, self._lock, on_patience=on_patience)
        try:
            yield
        finally:
            watch.close()
            self._display = None

    def _displays(self, activity: Activity) -> list[Display]:
        """Make what shows progress; that is not needed for most runs, which are short."""
        from dcmweb.cli.progress import Bar, Heartbeat

        displays: list[Display] = []
        if self.shows_bar:
            displays.append(Bar(self._stderr, activity, lambda: not self._is_line_begun))
        elif not self.quiet:
            displays.append(Heartbeat(self.show, activity))
        if self.log:
            displays.append(Heartbeat(self.log.line, activity))
        self._display = displays[0]
        return displays


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


def summary_event(summary: Summary) -> Event:
    """Make the event that sums up a run."""
    counts = {status.name.lower(): summary.counts.get(status, 0) for status in _shown(summary)}
    moved = {"bytes": exact(summary.bytes), "seconds": summary.seconds}
    how = {"workers": summary.workers, "retries": summary.retries}
    event: Event = {"type": "summary", **counts, **moved, **how}
    return event | ({"end": summary.end} if summary.end else {})


def _in_words(summary: Summary) -> str:
    """Write the summary line: what was moved, the outcomes of all items, and how it went."""
    counts = summary.counts
    shown = [f"{status.value} {counts.get(status, 0):,}" for status in _shown(summary)]
    moved = counts.get(Status.STORED, 0) + counts.get(Status.RETRIEVED, 0)
    rate = size(summary.bytes / summary.seconds if summary.seconds else 0)
    how = [
        f"{summary.seconds:.1f} s",
        f"{rate}/s",
        plural(summary.workers, "worker"),
        plural(summary.retries, "retry"),
    ]
    size_word = size(summary.bytes).replace(" ", "")  # one word, as scripts expect of dcmweb 1
    transferred = f"Transferred {size_word} in {plural(moved, 'file')}: "
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
