"""The limits of a run, divided among the units that are in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Condition

from dcmweb.settings import Settings
from dcmweb.settings.settings import LOWEST_RATE

_TICK = 0.2  # seconds


class Shares:
    """Gives each unit its share of requests at a time, requests and bytes per second.

    All shares that are given out make no more than the whole, however workers come and go: where
    more of them make the shares smaller, new units wait until larger shares have come back.
    `others` is 1 if this process sends requests beside the workers.
    """

    def __init__(self, settings: Settings, slots: Callable[[], int], *, queue: int, others: int):
        self._settings = settings
        self._slots = slots
        self._queue = queue
        self._others = others
        self._changed = Condition()
        self._given = 0.0

    @property
    def _most(self) -> int | None:
        """The most units at a time, by the limits; None for as many as there are slots."""
        settings = self._settings
        most = settings.workers if settings.limits_all or settings.adapts else None
        if settings.rate_limit is not None:
            by_rate = max(1, settings.rate_limit // LOWEST_RATE - self._others)
            most = min(most or by_rate, by_rate)
        return most

    @property
    def is_strict(self) -> bool:
        """Whether there is a limit, so that no unit may wait at a worker with its share."""
        settings = self._settings
        rates = (settings.requests_per_second, settings.rate_limit)
        has_rate = any(rate is not None for rate in rates)
        return settings.limits_all or settings.adapts or has_rate

    @property
    def running(self) -> int:
        """How many units may run at a time now."""
        slots = max(1, self._slots())
        return min(slots, self._most or slots)

    @property
    def in_flight(self) -> int:
        """How many units may be handed out now: those that wait for their turn included."""
        return self.running if self.is_strict else self.running * (1 + self._queue)

    @contextmanager
    def one(self, check: Callable[[], object]) -> Iterator[Settings]:
        """Wait for a share, and hold it for a block; `check` raises if it is not wanted any more.

        Yields the settings of the unit.
        """
        share = 0.0
        with self._changed:
            while self.is_strict:
                share = 1 / self.running
                if self._given + share <= 1 + 1e-9:
                    break
                check()
                self._changed.wait(_TICK)
            self._given += share
        try:
            yield self._settings_for(share or 1 / self.running)
        finally:
            with self._changed:
                self._given -= share
                self._changed.notify_all()

    def _settings_for(self, share: float) -> Settings:
        settings = self._settings
        shared = settings.limits_all or settings.adapts
        rates = self.rates(share)
        return replace(
            settings,
            workers=max(1, int(settings.workers * share + 1e-9)) if shared else 1,
            requests_per_second=rates[0],
            rate_limit=rates[1],
        )

    def rates(self, share: float) -> tuple[float | None, int | None]:
        """Return a share of the limits per second; what is left is that of this process."""
        settings = self._settings
        whole = 1 / (1 + self._others / self.running)
        requests, size = settings.requests_per_second, settings.rate_limit
        return (
            requests * share * whole if requests is not None else None,
            max(LOWEST_RATE, int(size * share * whole)) if size is not None else None,
        )

    def own_rates(self) -> tuple[float | None, int | None]:
        """Return what is left for the requests of this process."""
        return self.rates(1 / self.running) if self._others else self.rates(1.0)
