"""What every transaction needs: settings, the HTTP session, the engine."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings
from dcmweb.settings.servers import Server
from dcmweb.transfer.engine import Engine, RetryPolicy
from dcmweb.transfer.stop import Stop

if TYPE_CHECKING:
    from dcmweb.transfer.shard import Shard

MOST_WARNINGS = 20  # of one server; it may have another one for each instance
_ADDITIONAL = r"(?i)\badditional results\b"


class RunContext:
    """What one run of a transaction owns; its transport is shared with other runs.

    `notify` is told, in words, what a user should know beside the outcomes; `tick` is called
    every now and then while the run waits.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        stop: Stop | None = None,
        notify: Callable[[str], None] = lambda _: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        # Is told of each target, and each resource below one, that was done as a whole.
        self.was_done: Callable[[str], None] = lambda _: None
        self.settings: Settings = transport.settings
        self.stop = Stop(stop)
        self.notify = notify
        self.shard: Shard | None = None  # the part of the whole that this run is for
        self.page_size = self.settings.page_size  # made smaller for a server that wants it so
        self.has_counts = True  # the server counts instances without being asked to
        self.accepted: dict[tuple[str, ...], str] = {}  # of several forms of Accept, what worked
        self._warnings = transport.warnings
        self.tick = tick
        self._said: set[str] = set()
        self._lock = Lock()
        self.transport = transport
        self.engine = Engine(
            workers=self.settings.workers,
            policy=RetryPolicy(self.settings.retries, self.settings.retry_time),
            stop=self.stop,
            adapts=self.settings.adapts,
            tick=tick,
        )
        self.session = self._session()
        self.stop.on_set(self.session.cut)

    @property
    def server(self) -> Server:
        """What is known of this kind of server, so far."""
        return self.transport.kind.server

    def undisturbed(self) -> RunContext:
        """Return a context whose requests a stop of the run does not end.

        It is for what must not be left half done. The bytes that it moves count as before.
        """
        other = copy.copy(self)
        other.stop = Stop()
        other.engine = Engine(workers=1, policy=self.engine.policy, stop=other.stop)
        other.engine.meter = self.engine.meter
        other.session = other._session()
        return other

    def another(self) -> RunContext:
        """Make the context of a run within this one, which stops with it and not the other way."""
        return RunContext(self.transport, stop=self.stop, notify=self.notify, tick=self.tick)

    def _session(self) -> Session:
        return Session(
            self.transport,
            self._on_warning,
            self.notify_once,
            sleep=self.engine.sleep,
            on_data=self._touch,
        )

    def _touch(self) -> None:
        """Note that something of an answer has come; another run may share the meter by now."""
        self.engine.meter.touch()

    def _on_warning(self, text: str) -> None:
        """Pass on what the server says beside an answer (PS3.18 section 8.3.4.2), each text once.

        That there are additional results is not passed on: the search asks for them, or says so.
        """
        if re.search(_ADDITIONAL, text):
            return
        with self._lock:
            is_known = text in self._warnings or len(self._warnings) > MOST_WARNINGS
            self._warnings.add(text)
            is_last = len(self._warnings) > MOST_WARNINGS
        if not is_known:
            more = "the server has further warnings, which are not shown"
            self.notify(more if is_last else f"the server says: {text}")

    def notify_once(self, text: str) -> None:
        """Say something that holds for many items, once in the run."""
        with self._lock:
            is_new = text not in self._said
            self._said.add(text)
        if is_new:
            self.notify(text)
