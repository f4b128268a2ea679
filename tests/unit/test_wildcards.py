"""Masks with many wildcards: they mean the same, and take no more time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from dcmweb import wildcards
from dcmweb.wildcards import matcher

PIECES = ["a", "b", ".", "/", "*", "**", "**/", "?", "[ab]", "[!a]", "[.]", "A"]


@pytest.mark.parametrize("flags", [re.DOTALL, re.DOTALL | re.IGNORECASE])
def test_both_ways_of_matching_agree(flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    for _ in range(6_000):
        mask = "".join(chance.choices(PIECES, k=chance.randrange(1, 9)))
        path = "".join(chance.choices("aab./A", k=chance.randrange(10)))
        answers = set()
        for most in (0, 100):
            monkeypatch.setattr(wildcards, "_MOST_IN_REGEX", most)
            answers.add(matcher(mask, flags)(path))
        assert len(answers) == 1, (mask, path)


@pytest.mark.parametrize("star", ["*", "**", "*?", "**/"])
def test_chains_of_wildcards_end(star: str) -> None:
    """A regular expression would need longer than the universe has existed."""
    path = "a" * 250 if star != "**/" else "a/" * 125
    assert not matcher(f"{star}a" * 40 + "b", re.DOTALL)(path)
    assert matcher("*a" * 40 + "*", re.DOTALL)("a" * 250)


def test_each_place_of_a_path_is_reached_once_or_twice() -> None:
    reached: list[int] = []

    def anything(path: str, place: int) -> Iterator[int]:
        for end in range(place, len(path) + 1):
            reached.append(end)
            yield end

    assert wildcards._after(anything, "x" * 500, set(range(500))) == set(range(501))
    assert len(reached) <= 2 * 501
