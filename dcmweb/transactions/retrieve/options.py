"""Options of a retrieve run, as a value that is checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dcmweb.errors import UsageError
from dcmweb.http.media_types import MediaType, parse_wanted
from dcmweb.local.layout import DEFAULT_TEMPLATE, Layout
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.rendering_parameters import RenderingParameters, parse_rendering
from dcmweb.transfer.shard import Shard


@dataclass(frozen=True, kw_only=True)
class RetrieveOptions:
    """Options of a retrieve run. Raises UsageError for what cannot be.

    `media_type` is what to ask for, such as `image/png` or `application/dicom;
    transfer-syntax=1.2.840.10008.1.2.1` (PS3.18 section 8.7.3); "" is instances as they are
    stored. `layout` says where files go below the folder,
    such as `{PatientID}/{StudyDate}`; "" is by UIDs. `viewport`, `window` and `quality` are
    for what the server renders (section 8.3.5). `skip_existing` skips instances whose file exists.
    `shard` is the part of the studies to retrieve, as I/N.
    """

    media_type: str = ""
    layout: str = ""
    viewport: str = ""
    window: str = ""
    quality: int | None = None
    skip_existing: bool = False
    shard: str = ""
    dry_run: bool = False
    on_error: OnError = OnError.OUTCOME

    def __post_init__(self) -> None:
        """Check what is given."""
        for name in ("media_type", "layout", "viewport", "window", "shard"):
            _check_type(name, getattr(self, name), str)
        if self.quality is not None:
            _check_type("quality", self.quality, int)
        _ = self.wanted, self.rendering, self.parsed_layout, Shard.parse(self.shard)

    @cached_property
    def wanted(self) -> MediaType | None:
        """The media type to ask for, None for the default."""
        return parse_wanted(self.media_type) if self.media_type else None

    @cached_property
    def rendering(self) -> RenderingParameters:
        """How to render."""
        return parse_rendering(self.viewport or None, self.window or None, self.quality)

    @cached_property
    def parsed_layout(self) -> Layout:
        """Where files go."""
        return Layout(self.layout or DEFAULT_TEMPLATE)


def _check_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        expected = "text" if kind is str else "a whole number"
        raise UsageError(f"{name} is of type {type(value).__name__}", f"give it as {expected}")
