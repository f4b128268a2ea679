"""What every transaction needs: settings, the HTTP session, the engine."""

from __future__ import annotations

from collections.abc import Callable

from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings
from dcmweb.transfer.engine import Engine, RetryPolicy
from dcmweb.transfer.stop import Stop


class RunContext:
    """A user agent of one origin server (PS3.18 section 3.6).

    `notify` is told, in words, what a user should know beside the outcomes; `tick` is called
    every now and then while a run waits.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        stop: Stop | None = None,
        notify: Callable[[str], None] = lambda _: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.stop = stop or Stop()
        self.notify = notify
        self.page_size = settings.page_size  # made smaller for a server that wants it so
        self._transport = Transport(settings)
        self.session = Session(self._transport)
        self.engine = Engine(
            workers=settings.workers,
            policy=RetryPolicy(settings.retries, settings.retry_time),
            stop=self.stop,
            adapts=settings.adapts,
            tick=tick,
        )
        self.stop.on_set(self.session.cut)

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()
