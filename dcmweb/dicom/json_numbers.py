"""Numbers of JSON that Python cannot write again as they came: they remember how they were written.

A float has 17 digits at most, and no exponent above 308.
"""

from __future__ import annotations

import math
from typing import Any


class Number(float):
    """A number with more digits than a float has, or with others: `0.50`, `1E2`."""

    written: str

    def __str__(self) -> str:
        return self.written


class HugeNumber(str):
    """A number that is too large for a float: "inf" or "-inf", since JSON has no infinity."""

    written: str

    def __str__(self) -> str:
        return self.written


class Seen:
    """Whether there was ever such a number: most servers send none, and writing others is fast."""

    any_odd = False


def parse_float(text: str) -> float | str:
    """Read a number of JSON that is not whole."""
    value = float(text)
    if repr(value) == text:
        return value
    Seen.any_odd = True
    found: Any = Number(value) if math.isfinite(value) else HugeNumber(str(value))
    found.written = text
    return found  # type: ignore[no-any-return]


def written(value: object) -> str:
    """Return how a number was written; "" for all other values."""
    return value.written if isinstance(value, (Number, HugeNumber)) else ""
