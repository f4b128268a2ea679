"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Write a number with its noun: 1 file, 2,000 files, 1 study, 2 studies, 1 series, 2 series."""
    return f"{count:,} {noun if count == 1 else plural_of(noun)}"


def plural_of(noun: str) -> str:
    """Return the plural of a noun."""
    if noun.endswith("s"):  # series
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
