"""Runs a function in the one process that it is meant for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcmweb.executors.base import PROCESS


class Elsewhere:
    """What comes back if another process is at that address by now."""


def run_in(process: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run a function, unless this is another process than the one that was meant."""
    return function(*args) if process == PROCESS else Elsewhere()
