"""The page about a run that is made at its end: `--report FILE`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from dcmweb.cli.console import Console, ReaderGone
from dcmweb.cli.own_files import check_page, check_place, written_whole
from dcmweb.cli.report_page import page
from dcmweb.errors import DcmwebError, ExitCode, Interrupted, LocalError, UsageError
from dcmweb.library.manifests import Manifests
from dcmweb.transfer.manifest import is_manifest
from dcmweb.transfer.outcomes import Event, Outcome, as_event

_THIS_RUN = ""  # where a manifest would be named


class _Recorded:
    """What a run without a manifest did. A disk that is full does not end the run."""

    def __init__(self, header: Event, console: Console) -> None:
        self.manifests = Manifests(with_history=True)
        self._whole = self.manifests.begin(header, _THIS_RUN)
        self._marks = console.marks
        self._began = console.marks.now()
        self._lines = 1
        self._trouble: LocalError | None = None

    def record(self, outcome: Outcome) -> None:
        """Take the outcome of an item."""
        self._take(as_event(outcome))

    def end(self, error: BaseException | None) -> None:
        """Note how the run ended. Raises LocalError if anything of it is missing."""
        how, code = _ending(error) if error else ("complete", ExitCode.OK)
        totals = self.manifests.known.totals(self._whole.key)
        if error is None and not all(status.is_good for status, *_ in totals):
            code = ExitCode.SOME_FAILED
        self._take({"type": "end", "end": how, "exit_code": int(code), "started": self._began})
        self._whole.history.end_of_file()
        if self._trouble is not None:
            raise self._trouble

    def _take(self, event: Event) -> None:
        self._lines += 1
        if self._trouble is not None:
            return
        try:
            row = self.manifests.row(self._whole, self._marks.on(event), _THIS_RUN, self._lines)
            if row:
                self.manifests.known.add([row])
        except (LocalError, sqlite3.Error) as error:
            self._trouble = error if isinstance(error, LocalError) else LocalError(str(error))


def _ending(error: BaseException) -> tuple[str, int]:
    """Return how a run ended, and the exit code, as the command line has it."""
    if isinstance(error, DcmwebError):
        how = "interrupted" if isinstance(error, Interrupted) else "stopped early"
        return how, error.exit_code
    return "stopped early", ExitCode.OK if isinstance(error, ReaderGone) else ExitCode.DEFECT


@contextmanager
def reporting(
    path: str, header: Event, manifest: str | None, console: Console
) -> Iterator[Callable[[Outcome], None]]:
    """Make a page about a run when it is over, however it ended; yield what takes its outcomes.

    With a manifest, the page is about all of its runs. Raises LocalError if the page cannot be
    written, UsageError if another file would be lost.
    """
    check_page(path)
    check_place(path)
    recorded = None if manifest else _Recorded(header, console)
    try:
        yield recorded.record if recorded else _ignore
    except UsageError:
        raise
    except BaseException as error:
        try:
            _write(path, recorded, manifest, error)
        except DcmwebError as trouble:
            console.line(f"Please note: there is no report: {trouble}")
        raise
    _write(path, recorded, manifest, None)


def _ignore(_outcome: Outcome) -> None:
    """Do nothing: the manifest has it."""


def _write(
    path: str, recorded: _Recorded | None, manifest: str | None, error: BaseException | None
) -> None:
    if recorded is not None:
        recorded.end(error)
        manifests = recorded.manifests
    elif manifest is not None and is_manifest(manifest):
        manifests = Manifests([manifest], with_history=True)
    else:  # the run did not come so far
        return
    with closing(manifests):
        data = page(manifests, with_paths=False)
    with written_whole(path) as file:
        file.write(data)
