"""Jobs for the engine, and those of many items: the failure of one does not end the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.transfer.engine import Engine
from dcmweb.transfer.outcomes import Outcome, Status

Job = Callable[[], Iterable[Outcome]]


def one_of_many(engine: Engine, item: str, job: Job) -> Iterator[Outcome]:
    """Run a job; its error becomes the outcome of the item, and is raised if it ends the run."""
    try:
        yield from job()
    except Interrupted:
        raise
    except DcmwebError as error:
        yield Outcome(Status.FAILED, item, reason=error.message)
        if engine.gives_up(error):
            raise
