"""Records the outcomes of a run in its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dcmweb.errors import LocalError
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.transfer.engine import Engine
    from dcmweb.transfer.manifest import Manifest


def recorded(outcomes: Iterator[Outcome], manifest: Manifest, engine: Engine) -> Iterator[Outcome]:
    """Write outcomes to the manifest before anybody sees them: those that came together at once."""
    end: BaseException | None = None
    while end is None:
        group: list[Outcome] = []
        try:
            group.append(next(outcomes))
            while engine.waiting:
                group.append(next(outcomes))
        except BaseException as error:
            end = error
        try:
            manifest.record(*group)
        except LocalError as error:
            end = error  # rather than what came meanwhile: there is no record any more
        yield from group
    try:
        if not isinstance(end, StopIteration):
            raise end
    finally:
        del end
