"""Records the outcomes of a run in its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dcmweb.errors import DcmwebError, LocalError
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.transfer.engine import Engine
    from dcmweb.transfer.manifest import Manifest


def recorded(outcomes: Iterator[Outcome], manifest: Manifest, engine: Engine) -> Iterator[Outcome]:
    """Record outcomes before anybody sees them, those that came together at once; yield each.

    If the manifest cannot be written, the run stops. What was sent by then is still yielded, and
    the error is raised after that.
    """
    end: BaseException | None = None
    lost: LocalError | None = None
    while end is None:
        group: list[Outcome] = []
        try:
            group.append(next(outcomes))
            while engine.waiting:
                group.append(next(outcomes))
        except BaseException as error:
            end = error
        try:
            if lost is None:
                manifest.record(*group)
        except LocalError as error:
            lost = error
            engine.stop.set()
        yield from group
    try:
        if lost is not None and isinstance(end, (StopIteration, DcmwebError)):
            raise lost
        if not isinstance(end, StopIteration):
            raise end
    finally:
        del end, lost
