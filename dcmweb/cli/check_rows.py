"""Writes the rows of a comparison to stdout: for people, for spreadsheets, for other commands."""

from __future__ import annotations

import csv
import io
import os

from dcmweb.cli.console import Console
from dcmweb.cli.text import visible
from dcmweb.counted import plural
from dcmweb.transfer.outcomes import Outcome, Status

TABLE, CSV, UIDS, PATHS = "table", "csv", "uids", "paths"
FORMATS = (TABLE, CSV, UIDS, PATHS)
_COLUMNS = ("status", "instances", "path", "study", "series", "instance", "file", "reason")


class RowWriter:
    """Writes outcomes as they come, in one of the formats."""

    def __init__(
        self, console: Console, form: str, shown: frozenset[Status], *, null: bool
    ) -> None:
        self._console = console
        self._form = form
        self._shown = shown
        self._null = null
        self._any_row = False
        self._left_out = 0

    def begin(self) -> None:
        """Write what comes before the rows, also if there are none."""
        if self._form == CSV:
            self._console.data(_as_csv(_COLUMNS))

    def shows(self, outcome: Outcome) -> bool:
        """Return True if an outcome is a row that people read."""
        return self._form in (TABLE, CSV) and outcome.status in self._shown

    def write(self, outcome: Outcome) -> None:
        """Write the row of an outcome, if it is to be shown."""
        if outcome.status not in self._shown:
            return
        match self._form:
            case "table":
                self._write_line(outcome)
            case "csv":
                self._console.data(_as_csv(_cells(outcome)))
            case "uids" if outcome.study:
                self._console.raw(outcome.item.encode() + (b"\0" if self._null else b"\n"))
            case "paths" if outcome.place:
                self._write_path(os.fsencode(outcome.place))

    def end(self) -> None:
        """Say which files could not be written as lines."""
        if self._left_out:
            files = plural(self._left_out, "file")
            self._console.line(f"{files} left out, whose names no line can hold; use -0")

    def _write_line(self, outcome: Outcome) -> None:
        if not self._any_row:
            self._console.data(f"{'STATUS':<9}  {'INSTANCES':>9}  PATH")
            self._any_row = True
        count = outcome.instances or ("?" if outcome.study else "")
        reason = f"  {outcome.reason}" if outcome.reason else ""
        self._console.data(
            visible(f"{outcome.status.value:<9}  {count:>9}  {outcome.item}{reason}")
        )

    def _write_path(self, path: bytes) -> None:
        """Write the path of a file for `store --files-from`, which skips comments."""
        if self._null:
            self._console.raw(path + b"\0")
            return
        path = b"./" + path if path.startswith(b"#") else path
        if b"\n" in path or path.endswith(b"\r") or not path.strip():
            self._left_out += 1
        else:
            self._console.raw(path + b"\n")


def _cells(outcome: Outcome) -> list[str]:
    one = outcome
    count = str(one.instances or "")
    uids = (one.study, one.series, one.instance)
    return [one.status.value, count, visible(one.item), *uids, visible(one.place), one.reason]


def _as_csv(cells: list[str] | tuple[str, ...]) -> str:
    """Write a line of comma-separated values (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()
