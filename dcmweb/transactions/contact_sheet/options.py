"""Options of a contact sheet, as a value that is checked when it is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

from dcmweb.errors import LocalError, UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.rendering_parameters import RenderingParameters, parse_rendering

HTML_ENDS = (".html", ".htm")
PNG_END = ".png"
SIDE = 256  # pixels of a picture that is asked for


@dataclass(frozen=True, kw_only=True)
class SheetOptions:
    """Options of a contact sheet. Raises UsageError or LocalError for what cannot be.

    `file` is the sheet: a page if its name ends in .html, a picture if in .png, which needs Pillow.
    `viewport`, `window` and `quality` are for what the server renders (PS3.18 section 8.3.5).
    """

    file: str
    viewport: str = ""
    window: str = ""
    quality: int | None = None
    on_error: OnError = OnError.OUTCOME

    def __post_init__(self) -> None:
        """Check what is given."""
        name = self.file.lower()
        if not name.endswith((*HTML_ENDS, PNG_END)):
            raise UsageError(
                f"the contact sheet {self.file} is neither a page nor a picture",
                "name a file that ends in .html or .png",
            )
        if self.is_picture and find_spec("PIL") is None:
            raise UsageError(
                "a contact sheet as PNG needs Pillow, which is not installed",
                "run pip install 'dcmweb[pictures]', or name a file that ends in .html",
            )
        _ = self.rendering
        _check_place(self.file)

    @property
    def is_picture(self) -> bool:
        """Whether the sheet is one picture, rather than a page."""
        return self.file.lower().endswith(PNG_END)

    @cached_property
    def rendering(self) -> RenderingParameters:
        """How to render."""
        viewport = self.viewport or f"{SIDE},{SIDE}"
        return parse_rendering(viewport, self.window or None, self.quality)


def _check_place(path: str) -> None:
    """Raise an error if a sheet cannot be written, before anything is asked for."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise LocalError(f"there is no folder {folder}", path=folder)
    if not os.access(folder, os.W_OK):
        raise LocalError(f"{folder} cannot be written into", path=folder)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise LocalError(f"{path} is not a file", path=path)
    try:
        with open(path, "rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}", path=path) from error
    if head[128:] == b"DICM":
        raise UsageError(f"{path} is a DICOM file", "choose another file for the contact sheet")
