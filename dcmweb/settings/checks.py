"""Checks of values that settings are given."""

from __future__ import annotations

import math
import re

from dcmweb.errors import UsageError


def check_text(name: str, value: object) -> None:
    """Raise UsageError for what is not text; it is not shown, as it may be a secret."""
    if not isinstance(value, str):
        raise UsageError(f"{name} is of type {type(value).__name__}", "give it as text")


def check_range(name: str, value: object, lowest: int, highest: int | None = None) -> None:
    """Raise UsageError for what is not a whole number in a range."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and isinstance(value, int) and lowest <= value <= (highest or value)):
        most = f"from {lowest} to {highest}" if highest else f"of at least {lowest}"
        raise UsageError(f"{name} is {value!r}", f"give a whole number {most}")


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]i?)?B?(?:/s)?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def read_size(name: str, value: object) -> int:
    """Read a number of bytes such as 50M (millions) or 8Mi (of 1,048,576). Raises UsageError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = 0.0
    if found:
        unit = found[2] or ""
        base = 1024 if unit.endswith("i") else 1000
        size = float(found[1]) * base ** _POWERS.get(unit[:1].lower(), 0)
    if not 1 <= size < math.inf:
        raise UsageError(
            f"{name} is {value!r}", "give a number of bytes, as 500K (500,000) or 8Mi (8 MiB)"
        )
    return int(size)


def check_number(name: str, value: object) -> None:
    """Raise UsageError for what is not a number above zero."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and isinstance(value, (int, float)) and 0 < value < math.inf):
        raise UsageError(f"{name} is {value!r}", "give a number above 0")


def check_seconds(name: str, value: object) -> None:
    """Raise UsageError for what is not a time above zero."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and isinstance(value, (int, float)) and 0 < value < math.inf):
        raise UsageError(f"{name} is {value!r}", "give a number of seconds above 0")
