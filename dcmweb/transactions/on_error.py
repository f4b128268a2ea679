"""The one rule for the errors of targets, which a caller chooses.

A target is what a call names: a path of the server, an operation, a file or mask. The failure of
something below a target, such as an instance of a study, is always an outcome of its own. An
error that no other target can escape (credentials, an unreachable server, a full disk) always
ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.transfer.engine import Engine
from dcmweb.transfer.outcomes import Outcome, Status


class OnError(str, Enum):
    """What to do with the error of a target."""

    OUTCOME = "outcome"  # it is the outcome of the target, and the run goes on
    RAISE = "raise"  # it is raised, and ends the run

    def apply(
        self, engine: Engine, item: str, job: Callable[[], Iterable[Outcome]]
    ) -> Iterator[Outcome]:
        """Do the job of a target, and treat its error by this rule."""
        if self is OnError.RAISE:
            try:
                yield from job()
            except DcmwebError as error:
                if error.leaves_open:  # then it has not just failed
                    yield _outcome(item, error)
                raise
            return
        try:
            yield from job()
        except Interrupted:
            raise
        except DcmwebError as error:
            if not error.reported_as.startswith(f"{item}/"):  # it is that of something below
                yield _outcome(item, error)
            if engine.gives_up(error):
                error.reported_as = error.reported_as or item
                raise


def _outcome(item: str, error: DcmwebError) -> Outcome:
    if error.leaves_open:
        return Outcome(Status.UNKNOWN, item, reason=f"{error.message}; the server may have done it")
    return Outcome(Status.FAILED, item, reason=error.message)
