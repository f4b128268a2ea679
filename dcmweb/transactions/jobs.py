"""Jobs for the engine: what goes wrong with one of many does not end the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.engine import Engine
from dcmweb.transfer.outcomes import Outcome

Job = Callable[[], Iterable[Outcome]]


def one_of_many(engine: Engine, item: str, job: Job) -> Iterator[Outcome]:
    """Do a job; its error is the outcome of the item, and is raised only if it ends the run."""
    return OnError.OUTCOME.apply(engine, item, job)
