"""Fixtures of tests against a real Orthanc."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.live.orthanc import MISSING, Orthanc, program, running

StartOrthanc = Callable[..., Orthanc]


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[StartOrthanc]:
    """Start Orthanc with settings of its own; it is stopped after the test."""
    if program() is None:
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    numbers = count()
    with ExitStack() as stack:

        def start(**settings: Any) -> Orthanc:
            storage = tmp_path / f"orthanc{next(numbers)}"
            return stack.enter_context(running(storage, **settings))

        yield start


@pytest.fixture
def orthanc(start_orthanc: StartOrthanc) -> Orthanc:
    """An empty Orthanc."""
    return start_orthanc()
