"""Numbers with their nouns and units, as people write them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plural(count: int, noun: str) -> str:
    """Write a number with its noun: 1 file, 2,000 files, 1 study, 2 studies, 1 series, 2 series."""
    return f"{count:,} {noun if count == 1 else plural_of(noun)}"


def plural_of(noun: str) -> str:
    """Return the plural of a noun."""
    if noun.endswith("s"):  # series
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def size(count: float) -> str:
    """Write a number of bytes, in units of 1,024: 512 B, 1.5 KiB, 2.0 GiB."""
    for unit in _UNITS:
        if count < 1023.95 or unit == _UNITS[-1]:  # not "1024.0 KiB" but "1.0 MiB"
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
