"""What a command does, for whoever shows its progress."""

from __future__ import annotations

from typing import NamedTuple


class Activity(NamedTuple):
    """What is done, and to what: "Storing", "file"."""

    doing: str
    noun: str
    moves_bytes: bool = True
