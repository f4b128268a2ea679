"""The log of a run, in a file: what happened, for a person who reads it the morning after."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from types import FrameType

import click

from dcmweb import __version__
from dcmweb.cli.command_line import command_line, in_force_besides
from dcmweb.cli.log_file import LogFile
from dcmweb.cli.options import Invocation
from dcmweb.cli.own_files import check_not_used
from dcmweb.cli.text import visible
from dcmweb.errors import Interrupted
from dcmweb.transfer.outcomes import Outcome, Status

_MARKS = {"Error: ": "ERROR", "Please note: ": "WARNING"}  # at the beginning of messages
_DONE = (Status.STORED, Status.RETRIEVED, Status.DELETED, Status.FINISHED)
_REQUESTS = "dcmweb.http.exchange_log"  # whose lines are for -v only


class RunLog:
    """Writes lines of the form `TIME LEVEL RUN MESSAGE`.

    The time is that of this machine, with its offset from UTC (ISO 8601).
    """

    def __init__(self, file: LogFile, run: str, *, is_verbose: bool) -> None:
        self._file = file
        self._run = run
        self._is_verbose = is_verbose
        self._began = time.monotonic()
        self._second: tuple[int, str, str] = (-1, "", "")  # with its text, and the offset

    def line(self, message: str, level: str = "") -> None:
        """Write a line; its level is known by how it begins, unless it is given."""
        if not level:
            begins = (of for mark, of in _MARKS.items() if message.startswith(mark))
            level = next(begins, "INFO")
        self._file.write(f"{self._now()} {level:<7} {self._run}", visible(message))

    def _now(self) -> str:
        """Return the time, as 2026-11-26T15:00:00.123+01:00."""
        now = time.time()
        second, text, offset = self._second
        if int(now) != second:
            second = int(now)
            local = time.localtime(second)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            plain = time.strftime("%z", local)
            offset = f"{plain[:3]}:{plain[3:5]}"
            self._second = second, text, offset
        return f"{text}.{int((now - second) * 1000):03d}{offset}"

    def outcome(self, outcome: Outcome, words: str) -> None:
        """Write the outcome of an item that failed, or that there is a remark on; with -v any."""
        level = "INFO" if outcome.status.is_good else "ERROR"
        if outcome.reason and outcome.status in _DONE:
            level = "WARNING"
        if level != "INFO" or self._is_verbose:
            reason = f": {outcome.reason}" if outcome.reason else ""
            self.line(words or f"{outcome.item} {outcome.status.value}{reason}", level)

    def sum_up(self, lines: Iterable[str], *, is_good: bool) -> None:
        """Write what failed by reason, and the counts."""
        for line in lines:
            self.line(line, "INFO" if is_good else "ERROR")

    def end(self, code: int) -> None:
        """Write the exit code, as the last line."""
        seconds = time.monotonic() - self._began
        level = "ERROR" if code else "INFO"
        self.line(f"Ended with exit code {code} after {seconds:.1f} s", level)
        self._file.close()


def start_log(ctx: click.Context, path: str, *, level: str = "") -> None:
    """Open the log of this run, and begin it with the command line.

    `level` is what the library logs on stderr as well: "" for nothing, INFO or DEBUG. Raises
    UsageError or LocalError if the file cannot be the log.
    """
    invocation: Invocation = ctx.obj
    console = invocation.console
    check_not_used(ctx, "log_file", path)
    file = LogFile(path, console.show)
    log = console.log = RunLog(file, console.marks.run, is_verbose=bool(level))
    _reopen_on_hang_up(file, invocation)
    version = f"dcmweb {__version__}, process {os.getpid()}"
    log.line(f"Started: {command_line(ctx)} ({version})")
    if others := in_force_besides(ctx):
        log.line(f"Set by variables or the profile: {others}")
    _take_library_log(log, level)


def _take_library_log(log: RunLog, level: str) -> None:
    """Write what the library logs: retries always, requests with -v, header fields with --debug."""
    handler = logging.Handler()
    handler.emit = lambda record: log.line(  # type: ignore[method-assign]
        record.getMessage(), record.levelname
    )
    if not level:
        handler.addFilter(lambda record: record.name != _REQUESTS)
    logger = logging.getLogger("dcmweb")
    logger.addHandler(handler)
    logger.setLevel(level or "INFO")
    logger.propagate = False


def _reopen_on_hang_up(file: LogFile, invocation: Invocation) -> None:
    """Open the log anew at SIGHUP, as logrotate wants it; Windows has no such signal.

    A terminal that is closed sends the same signal. It still ends the run, unless nohup said that
    it should not.
    """
    number = getattr(signal, "SIGHUP", None)
    if number is None:
        return
    is_ignored = signal.getsignal(number) is signal.SIG_IGN
    terminals = [] if is_ignored else [one for one in (0, 1, 2) if os.isatty(one)]

    def handle(_number: int, _frame: FrameType | None) -> None:
        if any(not os.isatty(one) for one in terminals):
            invocation.stop.request(Interrupted(number))
        file.reopen_soon()

    signal.signal(number, handle)
