"""The options of a store run, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from dcmweb.transactions.on_error import OnError

if TYPE_CHECKING:
    from dcmweb.transactions.store.selection import Selection


class IfExists(str, Enum):
    """What to do with an instance that the server has."""

    SKIP = "skip"
    REPLACE = "replace"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Options of a store run.

    A dry run sends nothing. To verify is to ask the server afterwards whether it has every
    instance. The storage class is that of Google Cloud Healthcare; "" leaves it to the server.
    `if_exists` says what to do with an instance that the server has; to replace one may need
    Orthanc's REST API, at `orthanc_api`.
    The shard is the part of the folders whose files to store, as I/N; the selection says which of
    these, and in which order.
    """

    dry_run: bool = False
    verify: bool = False
    storage_class: str = ""
    if_exists: IfExists = IfExists.SKIP
    orthanc_api: str = ""
    shard: str = ""
    selection: Selection | None = None
    on_error: OnError = OnError.OUTCOME
