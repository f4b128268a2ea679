"""What is behind the calls of a client: what its runs share, and which were never begun."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from dcmweb.errors import DcmwebError, UsageError
from dcmweb.library.ahead import Ahead
from dcmweb.library.arguments import AnyPath, read_path
from dcmweb.library.runs import Account, OnProgress, OpenManifest, Run, Transfer
from dcmweb.settings import Settings
from dcmweb.transfer.outcomes import IsDone, Outcomes, Status
from dcmweb.transfer.stop import Stop

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext
    from dcmweb.transfer.manifest import Manifest

log = logging.getLogger("dcmweb")

_INSECURE = (
    "Please note: --insecure leaves certificates unchecked: whoever is between here and the "
    "server can read and change all that is sent, credentials included"
)

_R = TypeVar("_R", bound=Run[Any])
_Self = TypeVar("_Self", bound="ClientBase")


class ClientBase:
    """Owns the connections, makes runs, and remembers those that were never begun."""

    @classmethod
    def of(
        cls: type[_Self],
        settings: Settings,
        *,
        on_note: Callable[[str], None] | None = None,
        on_progress: OnProgress | None = None,
        stop: Stop | None = None,
        run_id: str = "",
    ) -> _Self:
        """Make a client of settings, which another process may have handed over.

        A signal that `stop` is told of ends all runs of the client. `run_id` is in what its runs
        write to manifests; without it, each run has an id of its own.
        """
        client = cls.__new__(cls)
        client._set_up(settings, on_note, on_progress, stop)
        client._run_id = run_id
        return client

    @classmethod
    def from_profile(
        cls: type[_Self],
        name: str,
        *,
        on_note: Callable[[str], None] | None = None,
        on_progress: OnProgress | None = None,
    ) -> _Self:
        """Make a client of a profile: a server by name, in the file that DCMWEB_CONFIG names.

        Raises UsageError if there is none of this name, or anything in it is wrong.
        """
        from dcmweb.library.profiles import read_profile

        client = cls.of(read_profile(name).settings(), on_note=on_note, on_progress=on_progress)
        client.profile = name
        return client

    def _set_up(
        self,
        settings: Settings,
        on_note: Callable[[str], None] | None,
        on_progress: OnProgress | None,
        stop: Stop | None,
    ) -> None:
        self.settings = settings
        self.profile = ""  # that they are from, "" if they are not
        self._on_note = on_note or log.info
        self._on_progress = on_progress
        self._stop = stop
        self._run_id = ""
        from dcmweb.http.transport import Transport

        self._transport = Transport(settings)
        self._note_insecure(settings)
        self._is_closed = False
        self._numbers = itertools.count()
        self._not_begun: dict[int, str] = {}

    def _note_insecure(self, settings: Settings) -> None:
        if settings.insecure and any(root.startswith("https:") for root in settings.roots):
            self._on_note(_INSECURE)

    @property
    def base_url(self) -> str:
        """The root of the service, without a slash at its end."""
        return self.settings.base_url

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if error is None and self._not_begun:
            names = " and ".join(sorted(set(self._not_begun.values())))
            hint = "iterate over the run, or call wait()"
            raise UsageError(f"{names} was called, but nothing was done", hint)

    def close(self) -> None:
        """Close the kept connections; further calls raise UsageError."""
        self._is_closed = True
        self._transport.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: credentials would go along, and connections cannot."""
        raise TypeError("a Client cannot be pickled; pass its `settings`, and use Client.of(them)")

    def _transfer(
        self,
        name: str,
        begin: Callable[[RunContext, IsDone], Outcomes],
        purpose: Status,
        manifest: OpenManifest | None = None,
        count: Callable[[RunContext], Iterator[tuple[int, int | None] | None]] | None = None,
    ) -> Transfer:
        """Make a run. `count` counts what there is to do, in another thread."""
        ahead = Ahead(lambda stop: count(self._beside(stop))) if count else None
        account = Account(purpose, self._on_progress, ahead)
        context = self._context(account.report)
        opened = partial(_opened, manifest, context) if manifest else None
        follow = partial(account.follow, context.engine, partial(begin, context), opened)
        return self._begun_later(Transfer(name, follow, account), context)

    def _context(self, tick: Callable[[], None] = lambda: None) -> RunContext:
        """Make what one run owns."""
        from dcmweb.transactions.context import RunContext

        if self._is_closed:
            raise UsageError("the client is closed", "make another one")
        return RunContext(self._transport, stop=self._stop, notify=self._on_note, tick=tick)

    def _beside(self, stop: Stop) -> RunContext:
        """Make the context of what is asked beside a run, which ends with the run."""
        context = self._context()
        stop.on_set(context.stop.set)
        return context

    def _begun_later(self, run: _R, context: RunContext) -> _R:
        """Remember a run until it is begun, or closed on purpose."""
        run.on_close = context.stop.set
        number = next(self._numbers)
        self._not_begun[number] = run.name
        run.on_begun = partial(self._not_begun.pop, number, None)
        return run

    def _manifest(
        self, command: str, path: AnyPath, *, writes: bool, shard: str = "", destination: str = ""
    ) -> OpenManifest | None:
        if not (file := read_path(path, "manifest")):
            return None
        from dcmweb.transactions.store.finding import record_name
        from dcmweb.transfer.manifest import Manifest

        # Files keep their name in the manifest wherever a run is started.
        name = record_name if command == "store" else str
        bound = {"shard": shard, "destination": destination, "run_id": self._run_id}
        return partial(Manifest, file, self.base_url, command, name, writes=writes, **bound)


def _opened(open_manifest: OpenManifest, context: RunContext) -> Manifest:
    manifest = open_manifest()
    context.was_done = manifest.was_done
    return manifest


def find_root(client: ClientBase, failed: DcmwebError) -> str:
    """Look for a DICOMweb service near BASE_URL, after an error that suggests it is not one.

    Returns its URL; "" if there is none, or if BASE_URL is right. A few requests are made.
    """
    from dcmweb.transactions.find_root import find_root

    return find_root(client._context(), failed) if failed.may_be_wrong_root else ""
