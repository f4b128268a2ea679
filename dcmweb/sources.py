"""Sources of bytes that are somewhere else, not in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Source(Protocol):
    """Bytes whose number is known beforehand, and that can be read anew for each attempt."""

    @property
    def size(self) -> int:
        """Bytes it will yield."""

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes from the start; raises rather than yield fewer or more."""


def uncounted(source: Source) -> Source:
    """Return what a source that counts its bytes reads from; another source as it is.

    What reads a body without sending it, such as a signature of it, is not progress.
    """
    return getattr(source, "source", source)
