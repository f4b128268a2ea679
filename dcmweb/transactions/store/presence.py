"""What a search says of an instance."""

from __future__ import annotations

from enum import Enum, auto


class Presence(Enum):
    """What a search says of an instance."""

    THERE = auto()
    MISSING = auto()
    UNCLEAR = auto()  # there is no search, or it fails
