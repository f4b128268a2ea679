"""A unit: items that a worker process moves together, as a value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

MOST_ITEMS = 256
MOST_BYTES = 64 * 1024 * 1024  # a unit that runs is hard to stop
FIRST_ITEMS = 32  # of the first units, so that all workers soon have one
MOST_LOSSES = 3  # workers that a single item may take with it
MOST_TRIES = 20  # of a unit that only waited while workers ended


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Items by their names, each of which gets an outcome of this name.

    `names` are what the worker calls them, if that is something else. `target` is the resource
    that has just these items, or whose items are not known: then there are none. `named` says
    whether the user named each of them. `is_again`: a worker that had it was lost, so some of it
    may be done; `losses` counts those that it may itself have ended.
    """

    items: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    target: str = ""
    named: bool = True
    raises: bool = False
    is_again: bool = False
    is_whole: bool = True  # as it was made, rather than a part
    losses: int = 0
    tries: int = 0

    @property
    def accounts_for(self) -> tuple[str, ...]:
        """The names that outcomes must have in the end."""
        return self.items or (self.target,)

    @property
    def items_to_do(self) -> tuple[str, ...]:
        """What a worker is to move: the target as a whole, or else each item."""
        return (self.target,) if self.target else self.names or self.items

    def only(self, items: tuple[str, ...]) -> Unit:
        """Return the unit of some of the items."""
        names = dict(zip(self.items, self.names, strict=True)) if self.names else {}
        return replace(
            self, items=items, names=tuple(names[item] for item in items if names), target=""
        )

    def after_loss(self, *, was_running: bool) -> Iterator[Unit]:
        """Yield what to try after a worker was lost; nothing if it was tried enough.

        The second time it goes in smaller units, so that what ends workers does not take others
        with it.
        """
        again = replace(self, is_again=True, tries=self.tries + 1)
        losses = self.losses + was_running
        if again.tries >= MOST_TRIES:
            return
        if not was_running or (self.is_whole and losses == 1):
            yield replace(again, losses=losses)  # most workers are not lost by what they do
        elif len(self.items) > 1:
            step = math.isqrt(len(self.items) - 1) + 1 if self.is_whole else 1
            for start in range(0, len(self.items), step):
                part = again.only(self.items[start : start + step])
                yield replace(part, is_whole=False, losses=0)
        elif losses < (MOST_LOSSES if self.is_whole else MOST_LOSSES - 1):
            yield replace(again, losses=losses)


class Growing:
    """How many items units have: few at first, and more once each worker has had some."""

    def __init__(self, workers: int) -> None:
        self._workers = max(1, workers)
        self._made = 0

    @property
    def most(self) -> int:
        """The most items of the next unit."""
        rounds = self._made // (2 * self._workers)
        return min(MOST_ITEMS, FIRST_ITEMS << min(rounds, 8))

    def note(self) -> None:
        """Count a unit."""
        self._made += 1
