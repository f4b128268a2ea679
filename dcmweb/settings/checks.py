"""Checks of values that settings are given."""

from __future__ import annotations

import math

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


def check_seconds(name: str, value: object) -> None:
    """Raise UsageError for what is not a time above zero."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and isinstance(value, (int, float)) and 0 < value < math.inf):
        raise UsageError(f"{name} is {value!r}", "give a number of seconds above 0")
