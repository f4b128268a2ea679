"""Each target with a few hundred inputs, the same ones in each run."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import edited
from tests.fuzz.targets import TARGETS

_EDIT = st.tuples(st.integers(0, 6), st.integers(0, 1 << 16), st.integers(0, 1 << 16))
_SLOW = ("archive-files", "archive-bodies", "archive-patches")
_FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_targets_begin_with_is_answered(name: str) -> None:
    target = TARGETS[name]
    with warnings.catch_warnings():
        for data in target.first:
            target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_nobody_thought_of_are_answered(name: str) -> None:
    target = TARGETS[name]

    @settings(_FIXED, max_examples=30 if name in _SLOW else 200)
    @given(st.sampled_from(list(target.first)), st.lists(_EDIT, max_size=6))
    def answered(data: bytes, edits: list[tuple[int, int, int]]) -> None:
        target.run(edited(data, edits, target.words))

    @settings(_FIXED, max_examples=10 if name in _SLOW else 100)
    @given(st.binary(max_size=300))
    def answered_noise(data: bytes) -> None:
        target.run(data)

    with warnings.catch_warnings():
        answered()
        answered_noise()
