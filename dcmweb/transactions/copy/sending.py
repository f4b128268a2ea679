"""A batch that is being sent by a thread of its own, while the next one is received."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

from dcmweb.transfer.outcomes import Outcome


class Sending:
    """Takes all outcomes of a batch, in a thread that begins at once."""

    def __init__(self, outcomes: Iterator[Outcome]) -> None:
        self._outcomes: list[Outcome] = []
        self._error: BaseException | None = None
        # A daemon: a thread that hangs in a call must not keep the process alive.
        self._thread = Thread(target=self._run, args=(outcomes,), name="dcmweb sender", daemon=True)
        self._thread.start()

    def _run(self, outcomes: Iterator[Outcome]) -> None:
        try:
            self._outcomes.extend(outcomes)
        except BaseException as error:
            self._error = error

    @property
    def is_over(self) -> bool:
        """Whether nothing has to be waited for."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until the batch was sent, or failed."""
        self._thread.join()

    def outcomes(self) -> Iterator[Outcome]:
        """Wait, then yield the outcomes. Raises what ended them."""
        self.wait()
        yield from self._outcomes
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # with its traceback, it would keep all that it passed through
