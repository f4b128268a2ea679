"""Options of a comparison, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of a comparison.

    `thorough` compares every UID, also where both sides count as many instances in a study.
    `contents` compares the bytes of every instance that both sides have. `one_way` ignores what
    only the server has. `each` yields an outcome for each instance, rather than one for a study or
    series whose instances all have the same.
    """

    thorough: bool = False
    contents: bool = False
    one_way: bool = False
    each: bool = False

    @property
    def lists_all(self) -> bool:
        """Whether counts are not enough."""
        return self.thorough or self.contents or self.each
