"""What is fuzzed: a function that takes bytes and must not raise, and inputs to begin with."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

LARGEST = 4096  # bytes of an input


@dataclass(frozen=True)
class Target:
    """A parser, or a part of the archive.

    `run` raises AssertionError for a wrong answer, and whatever a defect raises. `seeds` makes
    inputs that are valid or nearly; `words` are put into them.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    words: Sequence[bytes] = field(default=())

    @cached_property
    def first(self) -> Sequence[bytes]:
        """The inputs to begin with."""
        return self.seeds()


_BYTES = [
    b"\0",
    b"\xff",
    b"\r\n",
    b" ",
    b"9" * 30,
    b"-1",
    b"\xd8\x00",
    b"\xff\xff\xff\xff",
    b"A" * 200,
]

Edit = tuple[int, int, int]  # what to do, where, and with what


def edited(data: bytes, edits: Iterable[Edit], words: Sequence[bytes]) -> bytes:
    """Change an input: each edit cuts, doubles, replaces or inserts something."""
    known = [*_BYTES, *words]
    for kind, place, content in edits:
        at = place % (len(data) + 1)
        word = known[content % len(known)]
        match kind % 7:
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[at + 1 + content % 8 :]
            case 2:
                data = data[:at] + bytes([content % 256]) + data[at + 1 :]
            case 3:
                data = data[:at] + word + data[at:]
            case 4:
                data = data[:at] + word + data[at + len(word) :]
            case 5:
                data = data[:at] + data[at : at + content % 64] + data[at:]
            case _:
                data = data[at:] + data[:at]
    return data[: max(LARGEST, len(data) // 2)]


def chance_input(target: Target, chance: random.Random) -> bytes:
    """Make an input without knowing what code it will reach."""
    edits = [
        (chance.randrange(7), chance.randrange(1 << 16), chance.randrange(1 << 16))
        for _ in range(chance.randrange(1, 7))
    ]
    return edited(chance.choice(target.first), edits, target.words)
