"""Options of a copy, as a value that is checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dcmweb.errors import UsageError
from dcmweb.http.media_types import DICOM, DICOM_AS_STORED, MediaType, parse_wanted
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.store.options import IfExists
from dcmweb.transfer.shard import Shard


@dataclass(frozen=True, kw_only=True)
class CopyOptions:
    """Options of a copy. Raises UsageError for what cannot be.

    `media_type` is what to ask the source for, `application/dicom` with a transfer syntax; "" is
    instances as they are stored. `shard` is the part of the studies to copy, as I/N. All others are
    those of `StoreOptions`, for the destination.
    """

    media_type: str = ""
    dry_run: bool = False
    verify: bool = False
    storage_class: str = ""
    if_exists: IfExists = IfExists.SKIP
    orthanc_api: str = ""
    shard: str = ""
    on_error: OnError = OnError.OUTCOME

    def __post_init__(self) -> None:
        """Check what is given."""
        _ = self.wanted, Shard.parse(self.shard)

    @cached_property
    def wanted(self) -> MediaType:
        """The media type to ask the source for."""
        wanted = parse_wanted(self.media_type) if self.media_type else DICOM_AS_STORED
        if wanted.name != DICOM:
            raise UsageError(
                f"instances are copied, and {wanted.name} is something else",
                "leave out --type, or give application/dicom with a transfer syntax",
            )
        return wanted
