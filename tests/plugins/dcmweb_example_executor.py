"""An executor as another package would bring it: processes of the standard library."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor


def executor(on: str) -> Executor:
    """Make what `--on example://two` names."""
    if on != "example://two":
        raise ValueError(f"{on} is not known")
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
