"""Units of work: values that another process, or another machine, can be handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from dcmweb.errors import DcmwebError, UsageError
from dcmweb.library.client import Client
from dcmweb.library.runs import Transfer
from dcmweb.settings import Settings
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.transactions.delete.run import DeleteOptions
    from dcmweb.transactions.retrieve.options import RetrieveOptions
    from dcmweb.transactions.store.options import StoreOptions


@dataclass(frozen=True, kw_only=True)
class Work:
    """Files to store, or resources to retrieve or delete, and all that is needed to do so.

    It can be pickled; secrets are left out of that, so the process that performs it takes them
    from its own environment, or from the token file. `items` are paths of files, taken as they
    are, or of resources; `options` are those of the command. `output` is the folder to retrieve
    into.
    """

    settings: Settings
    command: Literal["store", "retrieve", "delete"]
    items: tuple[str, ...]
    options: StoreOptions | RetrieveOptions | DeleteOptions | None = None
    output: str = "."


@dataclass(frozen=True, kw_only=True)
class WorkDone:
    """Work with the outcomes of its items, and the error that ended it early, if one did."""

    work: Work
    outcomes: tuple[Outcome, ...]
    error: DcmwebError | None = None


def perform(work: Work) -> WorkDone:
    """Do work, in whatever process this is.

    Errors of the work are never raised: they are in the value returned. All outcomes are held in
    memory, so a unit should be a few hundred items.
    """
    outcomes: list[Outcome] = []
    error: DcmwebError | None = None
    try:
        with Client.of(work.settings) as client, _begin(client, work) as run:
            outcomes.extend(run)
    except DcmwebError as raised:
        error = raised
    return WorkDone(work=work, outcomes=tuple(outcomes), error=error)


def _begin(client: Client, work: Work) -> Transfer:
    options = asdict(work.options) if work.options else {}
    begin: dict[str, Callable[[], Transfer]] = {
        "store": lambda: client.store([], listed=work.items, **options),
        "retrieve": lambda: client.retrieve(work.items, work.output, **options),
        "delete": lambda: client.delete(work.items, **options),
    }
    if work.command not in begin:
        raise UsageError(f"{work.command!r} is not work that can be handed on")
    return begin[work.command]()
