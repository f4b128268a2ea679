"""Wildcards of masks: `*`, `?` and `[...]` within one name, `**` for any number of folders."""

from __future__ import annotations

import re
from fnmatch import translate

_MAGIC = re.compile(r"[*?[]")


def first_wildcard(parts: list[str]) -> int | None:
    """Return the index of the first part of a mask that has a wildcard; None without one."""
    return next((index for index, part in enumerate(parts) if _MAGIC.search(part)), None)


class Pattern:
    """The pattern of a mask, matched against paths below the folder the mask begins in."""

    def __init__(self, parts: list[str], *, ignores_case: bool = False) -> None:
        recursive = [index for index, part in enumerate(parts) if "**" in part]
        heads = parts[: recursive[0]] if recursive else parts[:-1]
        self._recursive = bool(recursive)
        self._names_hidden = any(part.startswith(".") for part in parts)
        flags = re.DOTALL | (re.IGNORECASE if ignores_case else 0)
        self._heads = [re.compile(_regex(part), flags) for part in heads]
        self._whole = re.compile(_regex("/".join(parts)), flags)

    def enters(self, parts: tuple[str, ...]) -> bool:
        """Return True if a folder can have matches below it."""
        depth = len(parts)
        if depth <= len(self._heads):
            return self._heads[depth - 1].fullmatch(parts[-1]) is not None
        return self._recursive and (self._names_hidden or not parts[-1].startswith("."))

    def accepts(self, parts: tuple[str, ...]) -> bool:
        """Return True if a file matches."""
        return self._whole.fullmatch("/".join(parts)) is not None


_TOKENS = re.compile(r"(?:^|(?<=/))\*\*/|\*\*|\*|\?|\[!?\]?[^]]*\]|.", re.DOTALL)
_WILDCARDS = {
    "**/": r"(?:(?!\.)[^/]+/)*",  # any folders, or none
    "**": r"(?:[^/]|/(?!\.))*",  # anything, slashes included
    "*": "[^/]*",
    "?": "[^/]",
}


def _regex(mask: str) -> str:
    """Translate a mask; a wildcard at the beginning of a name does not stand for a dot there."""
    pieces = []
    at_start = True
    for piece in _TOKENS.findall(mask):
        guard = r"(?!\.)" if at_start else ""
        if piece in _WILDCARDS:
            pieces.append(guard * (piece != "**/") + _WILDCARDS[piece])
        elif piece.startswith("[") and len(piece) > 1:
            # fnmatch knows how to write a set of characters, in a frame of its own.
            framed = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", translate(piece), re.DOTALL)
            pieces.append(f"{guard}(?!/){framed[1] if framed else re.escape(piece)}")
        else:
            pieces.append(re.escape(piece))
        at_start = piece.endswith("/")
    return "".join(pieces)
