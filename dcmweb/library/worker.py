"""What a worker process does: it checks whether it can work, and does units of work."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from dcmweb import __version__
from dcmweb.errors import AuthError, DcmwebError, Interrupted, LocalError, UsageError
from dcmweb.executors.base import Checked, Sealed
from dcmweb.executors.cancelling import ending_early
from dcmweb.library.client import Client
from dcmweb.library.handed_secrets import HandedSecrets
from dcmweb.library.runs import Transfer
from dcmweb.settings import Settings
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status
from dcmweb.transfer.unit import Unit

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext
    from dcmweb.transactions.retrieve.options import RetrieveOptions
    from dcmweb.transactions.store.options import StoreOptions

Command = Literal["store", "retrieve"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What holds for all units of a run: where to, how, and what else a worker must know.

    `run` tells runs apart. `output` is the folder to retrieve into.
    """

    run: str
    command: Command
    settings: Settings
    secrets: HandedSecrets = field(default_factory=HandedSecrets)
    options: StoreOptions | RetrieveOptions | None = None
    output: str = ""

    def full_settings(self) -> Settings:
        """Return the settings with their secrets."""
        return self.secrets.added_to(self.settings)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a worker must see: a file of some size, or a file in the folder to write into."""

    path: str
    size: int = 0
    is_output: bool = False


@dataclass(frozen=True, kw_only=True)
class UnitDone:
    """The result of a unit: outcomes by the names of items there, and what ended it early.

    `begun` is None if all of its items were; `defect` is a fault of dcmweb's own.
    """

    worker: str
    outcomes: tuple[Outcome, ...]
    error: DcmwebError | None = None
    defect: str = ""
    begun: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    bytes: int = 0
    retries: int = 0


# Checking.


def check(sealed: Sealed) -> Checked:
    """Find out whether this process can work; errors are in what is returned."""
    name = worker_name()
    try:
        versions, data = pickle.loads(sealed.data)  # noqa: S301 - from the client of this run
        if problem := _other_versions(versions):
            return Checked(worker=name, error=problem)
        order, probe = pickle.loads(data)  # noqa: S301
        if probe is not None:
            _look(probe)
        _reach(order)
    except DcmwebError as error:
        return Checked(worker=name, error=error)
    except Exception as error:
        words = f"it cannot work: {type(error).__name__}: {error}"
        return Checked(worker=name, error=UsageError(words))
    return Checked(worker=name)


def sealed_check(order: Order, probe: Probe | None) -> Sealed:
    """Pack what `check` needs; the versions come first, as all else depends on them."""
    return Sealed(pickle.dumps((versions_here(), pickle.dumps((order, probe)))))


def versions_here() -> dict[str, str]:
    """Return the versions that client and workers must have in common."""
    from importlib.metadata import version

    return {"dcmweb": __version__, "pydicom": version("pydicom").partition(".")[0]}


def _other_versions(wanted: dict[str, str]) -> UsageError | None:
    for name, found in versions_here().items():
        if found != wanted.get(name):
            words = f"it has {name} {found}, and the client {wanted.get(name)}"
            return UsageError(words, "install the same version of dcmweb on both")
    return None


def _look(probe: Probe) -> None:
    """Raise LocalError if this process does not see what it is to read, or where to write."""
    hint = "workers need the same files under the same paths"
    try:
        size = os.stat(probe.path).st_size
        if not probe.is_output:
            with open(probe.path, "rb") as file:
                file.read(1)
    except OSError as error:
        where = os.path.dirname(probe.path) if probe.is_output else probe.path
        words = f"it does not see {where}: {error.strerror}"
        raise LocalError(words, hint, path=probe.path) from None
    if size != probe.size:
        words = f"{probe.path} has {size:,} bytes there, and {probe.size:,} here"
        raise LocalError(words, hint, path=probe.path)
    if probe.is_output:
        from dcmweb.local.partial_files import make_folder

        make_folder(os.path.dirname(probe.path))


def _reach(order: Order) -> None:
    """Raise the error of a request if the server cannot be reached from here."""
    from dcmweb.http.media_types import DICOM_JSON

    settings = order.full_settings()
    root = settings.stow_root if order.command == "store" else settings.wado_root
    client = Client.of(replace(settings, retries=0))
    try:
        url = f"{root or settings.base_url}/studies?limit=1"
        with client._context().session.probe(url, accept=DICOM_JSON) as response:
            if response.status in (401, 403):
                words = f"the server does not let it in (status {response.status})"
                raise AuthError(words, "give the workers their credentials")
    finally:
        client.close()


def worker_name() -> str:
    """Name this process, for messages."""
    return f"{socket.gethostname()}, process {os.getpid()}"


# Units.


def do_unit(sealed: Sealed) -> bytes:
    """Do a unit, and return UnitDone, pickled. Raises nothing."""
    order: Order
    unit: Unit
    order, unit = pickle.loads(sealed.data)  # noqa: S301 - from the client of this run
    outcomes: list[Outcome] = []
    begun: set[str] = set()
    notes: list[str] = []
    error: DcmwebError | None = None
    defect = ""
    moved = retries = 0
    try:
        client = _client(order, notes)
        with _begin(client, order, unit, begun) as run, ending_early(run.close):
            try:
                outcomes.extend(run)
            finally:
                moved, retries = run.progress.bytes, run.progress.retries
    except DcmwebError as raised:
        error = raised
    except Exception as raised:
        defect = f"{type(raised).__name__}: {raised}"
    if error is not None or defect:
        forget(threading.get_ident())
    return pickle.dumps(
        UnitDone(
            worker=worker_name(),
            outcomes=tuple(outcomes),
            error=error,
            defect=defect,
            begun=frozenset(begun),
            notes=tuple(notes),
            bytes=moved,
            retries=retries,
        )
    )


def _begin(client: Client, order: Order, unit: Unit, begun: set[str]) -> Transfer:
    if order.command == "store":
        begin = partial(_store, order, unit, begun)
        return client._transfer("store()", begin, Status.STORED)
    from dcmweb.transactions.retrieve.options import RetrieveOptions

    assert isinstance(order.options, RetrieveOptions)  # noqa: S101
    return client._transfer("retrieve()", partial(_retrieve, order, unit), Status.RETRIEVED)


def _store(
    order: Order, unit: Unit, begun: set[str], context: RunContext, _is_done: IsDone
) -> Outcomes:
    from dcmweb.transactions.store.options import StoreOptions
    from dcmweb.transactions.store.run import sender_of
    from dcmweb.transactions.store.units import store_unit

    assert isinstance(order.options, StoreOptions)  # noqa: S101
    sender = sender_of(context, order.options, is_again=unit.is_again)
    yield from store_unit(context, unit, sender, begun.add)


def _retrieve(order: Order, unit: Unit, context: RunContext, _is_done: IsDone) -> Outcomes:
    from dcmweb.transactions.retrieve.options import RetrieveOptions
    from dcmweb.transactions.retrieve.output import Destination
    from dcmweb.transactions.retrieve.run import retrieve

    assert isinstance(order.options, RetrieveOptions)  # noqa: S101
    rule = order.options.on_error if unit.raises else OnError.OUTCOME
    options = replace(order.options, on_error=rule, shard="")
    destination = Destination.of(order.output, options, None)
    yield from retrieve(context, list(unit.items_to_do), destination, options)


# Connections are kept between units: each thread has its own, so that limits are those of a unit.

_clients: dict[tuple[str, int], tuple[Any, Client]] = {}
_lock = threading.Lock()


def _client(order: Order, notes: list[str]) -> Client:
    """Return the client of this thread, with the limits of this unit."""
    thread = threading.get_ident()
    key = order.run, thread
    lasting = replace(order.settings, requests_per_second=None, rate_limit=None)
    with _lock:
        known, client = _clients.get(key, (None, None))
    if client is None or known != lasting:
        forget(thread)  # that of an earlier run as well: the process may live long
        client = Client.of(order.full_settings())
        with _lock:
            _clients[key] = lasting, client
    client._on_note = notes.append
    client._transport.limit.change(order.settings.requests_per_second, order.settings.rate_limit)
    return client


def forget(thread: int) -> None:
    """Close the connections of a thread."""
    with _lock:
        keys = [key for key in _clients if key[1] == thread]
        found = [_clients.pop(key)[1] for key in keys]
    for client in found:
        client.close()


def is_interrupted(done: UnitDone) -> bool:
    """Return True for a unit that was ended in the worker."""
    return isinstance(done.error, Interrupted)
