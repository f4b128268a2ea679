"""One of several parts of a run, each for another process or machine.

Parts of the same number are disjoint, and together everything: what belongs where depends on names
alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from dcmweb.errors import UsageError

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard | None:
        """Read `I/N`; "" is the whole. Raises UsageError for what is neither."""
        if not text:
            return None
        found = _FORM.fullmatch(text.strip())
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(
                f"shard {text!r} is not one of I/N",
                "give one from 1/N to N/N; where numbers begin at 0, add 1",
            )
        return cls(index, count)

    def has(self, name: str) -> bool:
        """Return True if what has this name belongs to this part."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
