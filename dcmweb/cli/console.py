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

from dcmweb.cli.progress import Bar, PlainLines, Progress, Share, share_of_items
from dcmweb.cli.text import plural, size, visible
from dcmweb.errors import Interrupted, LocalError
from dcmweb.transfer.outcomes import FailureGroup, Outcome, Outcomes, Status, Tally

if TYPE_CHECKING:
    from dcmweb.transfer.engine import Engine


TOGETHER = 0.1  # seconds for which lines are gathered while a run is followed


class ReaderGone(Exception):
    """Whoever reads stdout has had enough, as `head` has: no failure."""


class Console:
    """The two streams; every text from elsewhere is made visible before it is written."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdout = _utf8(stdout or sys.stdout or _nowhere())
        self._stderr = _lenient(stderr or sys.stderr or _nowhere())
        self._progress: Progress | None = None
        self._lines: deque[str] = deque()  # that wait to be written; workers add to them
        self._next_write: float | None = None  # when it is time to; None is at once
        self._summary: list[str] = []
        self.prints_events = False
        self.quiet = False  # only what failed, and the summary

    def data(self, text: str) -> None:
        """Write data to stdout.

        Raises ReaderGone if nobody reads it any more, LocalError if it cannot be written.
        """
        with self._writing():
            self._stdout.write(text + "\n")
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

    def copy(self, path: str) -> None:
        """Write a file to stdout as it is; errors as of `data`."""
        with self._writing(), open(path, "rb") as file:
            shutil.copyfileobj(file, self._stdout.buffer)
            self._stdout.flush()

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

        A log that cannot be written, its disk full or its reader gone, is no reason to stop.
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
        if self._progress:
            self._progress.hide()
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

    def tick(self) -> None:
        """Show what there is to be seen of a run, if it is time to."""
        now = time.monotonic()
        if self._next_write is not None and now >= self._next_write:
            self._write_lines()
            self._next_write = now + TOGETHER
        if self._progress:
            self._progress.show()

    def follow(
        self,
        outcomes: Outcomes,
        engine: Engine,
        *,
        purpose: Status,
        describe: Callable[[Outcome], str],
        records: Sequence[Callable[[Outcome], None]] = (),
        share: Share = share_of_items,
    ) -> Tally:
        """Show a run as it goes, and each outcome that is described in a line of its own.

        Each outcome goes to the records first. `share` tells how much of the run is done.
        """
        tally = Tally(purpose)
        began = time.monotonic()
        try:
            with (
                self._gathering_lines(),
                self._progressing(tally, engine, share),
                closing(outcomes),
            ):
                for outcome in outcomes:
                    tally.add(outcome)
                    for record in records:
                        record(outcome)
                    words = describe(outcome)
                    if words and not (self.quiet and outcome.status.is_good):
                        self.line(words)
                    self.tick()
        except Interrupted:
            self._end(tally, engine, began, "interrupted")
            raise
        except BaseException:
            self._end(tally, engine, began, "stopped early")
            raise
        self._end(tally, engine, began)
        return tally

    def _end(self, tally: Tally, engine: Engine, began: float, how: str = "") -> None:
        """Sum up a run: in words for later, as an event at once if events are wanted."""
        seconds = time.monotonic() - began
        self._summary = [_group(problem) for problem in tally.problems]
        self._summary.append("; ".join(filter(None, [_summary(tally, engine, seconds), how])))
        if self.prints_events:
            counts = {status.name.lower(): tally.counts[status] for status in _shown(tally)}
            event = {"type": "summary", **counts, "bytes": tally.bytes, "seconds": seconds}
            event |= {"workers": engine.concurrency.reached, "retries": engine.meter.retries}
            with suppress(ReaderGone, LocalError):  # which the events before have told
                self.data(json.dumps(event | ({"end": how} if how else {})))

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
    def _progressing(self, tally: Tally, engine: Engine, share: Share) -> Iterator[None]:
        if self.quiet:
            yield
            return
        if self.shows_bar:
            self._progress = Bar(self._stderr, tally, engine.meter, share)
        else:
            self._progress = PlainLines(self.line, tally, engine.meter)
        try:
            yield
        finally:
            self._progress.close()
            self._progress = None


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


def _group(problem: FailureGroup) -> str:
    others = problem.count - len(problem.examples)
    more = f" and {plural(others, 'other')}" if others else ""
    examples = ", ".join(problem.examples)
    return f"{problem.status.value} {problem.count:,}: {problem.reason}: {examples}{more}"


def _summary(tally: Tally, engine: Engine, seconds: float) -> str:
    """Write the summary line: what was moved, what became of every item, and how it went."""
    shown = [f"{status.value} {tally.counts[status]:,}" for status in _shown(tally)]
    moved = tally.counts[Status.STORED] + tally.counts[Status.RETRIEVED]
    rate = size(tally.bytes / seconds) if seconds else "0B"
    how = [
        f"{seconds:.1f} s",
        f"{rate}/s",
        plural(engine.concurrency.reached, "worker"),
        plural(engine.meter.retries, "retry"),
    ]
    transferred = f"Transferred {size(tally.bytes)} in {moved} files: "
    if tally.purpose in (Status.DELETED, Status.FINISHED):
        transferred, how[1:2] = "", []
    if tally.purpose is Status.PLANNED:
        known = f", {size(tally.bytes)}" if tally.bytes else ""
        transferred, how = f"Dry run{known}: ", how[:1]
    return f"{transferred}{', '.join(shown)}; {', '.join(how)}"


def _shown(tally: Tally) -> list[Status]:
    """Choose what a summary names: first what the run was for, and always what failed."""
    counts = tally.counts
    others = [
        status
        for status in Status
        if status is not tally.purpose
        and (counts[status] or status in (Status.SKIPPED, Status.FAILED))
    ]
    return [tally.purpose, *others]
