"""Outcomes as events: the one schema of the manifest and of `--json`."""

from __future__ import annotations

from typing import Any

from dcmweb.transfer.outcomes import Outcome

Event = dict[str, Any]


def as_event(outcome: Outcome) -> Event:
    """Write an outcome as an event; what is not known is left out.

    `type` is the status; `item` a path on this machine or a resource of the server; `size` is in
    bytes, `mtime_ns` in nanoseconds; `place` is where the item is now.
    """
    event: Event = {"type": outcome.status.name.lower(), "item": outcome.item}
    for name in ("size", "mtime_ns", "study", "series", "instance", "place", "reason", "attempts"):
        if value := getattr(outcome, name):
            event[name] = value
    return event
