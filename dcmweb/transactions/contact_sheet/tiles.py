"""The tiles of a contact sheet, kept until it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.readable import displayable, readable
from dcmweb.sources import Stamp
from dcmweb.temporary import Kept, Spool

_IN_MEMORY = 32 * 1024 * 1024  # bytes of pictures
_LONGEST = 200  # characters of a value
_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}


@dataclass(frozen=True)
class Tile:
    """What a sheet shows of a series: its picture, or why there is none."""

    order: int
    item: str  # the path of the series
    study: str = ""  # the path of its study
    patient: str = ""
    about_study: str = ""
    modality: str = ""
    description: str = ""
    number: str = ""
    counts: str = ""
    picture: Kept | None = None
    media_type: str = ""
    problem: str = ""
    is_failure: bool = False

    @property
    def content(self) -> bytes:
        """The bytes of the picture."""
        return b"".join(self.picture.pieces()) if self.picture else b""


class Tiles:
    """Takes tiles from several threads. Pictures are in a temporary file if they are many."""

    def __init__(self) -> None:
        self._spool = Spool(_IN_MEMORY)
        self._tiles: list[Tile] = []
        self._items: set[str] = set()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._tiles)

    def __contains__(self, item: str) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Tile]:
        """Yield all tiles in their order: that of the paths, then that of the series."""
        yield from sorted(self._tiles, key=lambda tile: tile.order)

    def keep(self, content: bytes) -> Kept:
        """Keep the bytes of a picture."""
        with self._lock:
            return self._spool.keep("", Stamp(0, 0), [content])

    def add(self, tile: Tile) -> None:
        """Add a tile."""
        with self._lock:
            self._tiles.append(tile)
            self._items.add(tile.item)

    def close(self) -> None:
        """Forget all pictures."""
        self._spool.close()


def picture_type(content: bytes) -> str:
    """Return the media type of a picture by its first bytes, "" for anything else."""
    return next((name for start, name in _KINDS.items() if content.startswith(start)), "")


def value_of(row: Dataset, tag: str) -> str:
    """Write a value of a row for people, cut if it is long."""
    element = row.get(tag)
    if not isinstance(element, dict):
        return ""
    text = displayable(" ".join(readable([element]).split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
