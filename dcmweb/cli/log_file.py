"""A file that lines are appended to, and that may be moved away meanwhile, as logrotate does."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from dcmweb.errors import LocalError, UsageError

# Owner and group alone: file names in it may be those of patients.
_MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_DONT_WAIT = getattr(os, "O_NONBLOCK", 0)  # for the reader of a pipe, which may never come
_HEAD = 4096


class LogFile:
    """An open log. What cannot be written is reported once, and ends no run."""

    def __init__(self, path: str, report: Callable[[str], None]) -> None:
        """Open the file. Raises LocalError if that fails, UsageError if it is not a log."""
        self.path = path
        self._report = report
        self._lock = Lock()
        self._lost = 0  # lines, since the last that was written
        self._is_cut = False  # the last line is incomplete
        self._is_reported = False
        self._is_moved = False
        try:
            _check_is_log(path)
            self._descriptor = _open(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LocalError(
                f"the log file {path} cannot be opened: {reason}", "choose another one", path=path
            ) from error

    def reopen_soon(self) -> None:
        """Have the file opened anew before the next line; a signal handler may call this."""
        self._is_moved = True

    def write(self, head: str, message: str) -> None:
        """Append a line; its head is also that of a line about those that were lost before it."""
        with self._lock:
            if self._is_moved:
                self._is_moved = False
                self._reopen()
            try:
                if self._lost:
                    self._append(
                        f"{head} {self._lost} lines before this one could not be written\n"
                    )
                    self._lost = 0
                self._append(f"{head} {message}\n")
                return
            except OSError as error:
                self._lost += 1
                trouble = error.strerror or str(error)
        self._trouble(f"cannot be written: {trouble}")

    def _append(self, text: str) -> None:
        """Write a text whole, on a line of its own. Raises OSError."""
        data = text.encode("utf-8", "backslashreplace")
        if self._is_cut:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            data = data[written:]
            self._is_cut = bool(data)

    def _reopen(self) -> None:
        try:
            descriptor = _open(self.path)
        except OSError as error:  # the old file is better than none
            self._trouble(f"cannot be opened again: {error.strerror}")
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._is_cut = False

    def _trouble(self, words: str) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._report(f"Please note: the log file {self.path} {words}; the run goes on")

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._descriptor)


def _open(path: str) -> int:
    is_pipe = os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)
    descriptor = os.open(path, _FLAGS | (_DONT_WAIT if is_pipe else 0), _MODE)
    if is_pipe:
        os.set_blocking(descriptor, True)
    return descriptor


def _check_is_log(path: str) -> None:
    """Raise UsageError for a file that is not text, such as an image, or that is JSON."""
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if b"\0" in head or head.lstrip()[:1] in (b"{", b"[", b"<"):
        raise UsageError(f"{path} exists, and is not a log", "choose another file")
