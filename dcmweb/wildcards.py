"""Wildcards of masks: `*`, `?` and `[...]` within one name, `**` for any number of folders.

A path is matched in time in proportion to its length, however many wildcards there are. A regular
expression with several of them goes back and forth: 64 characters and ten `*` can keep it busy for
hours. It is only used where there are few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
        self._heads = [matcher(part, flags) for part in heads]
        self._mask, self._flags = "/".join(parts), flags
        self._whole = matcher(self._mask, flags)

    def enters(self, parts: tuple[str, ...]) -> bool:
        """Return True if a folder can have matches below it."""
        depth = len(parts)
        if depth <= len(self._heads):
            return self._heads[depth - 1](parts[-1])
        return self._recursive and (self._names_hidden or not parts[-1].startswith("."))

    def left_below(self, parts: tuple[str, ...]) -> Left:
        """Return what of the mask is left for paths below a folder.

        Where the same is left below two folders, the same paths below them match.
        """
        path = "".join(f"{part}/" for part in parts)
        return _left_after(path, list(_pieces(self._mask)), self._flags)

    def has_less(self, parts: tuple[str, ...], others: tuple[str, ...]) -> bool:
        """Return True if all paths that match below a folder match below another one as well."""
        return _is_within(self.left_below(parts), self.left_below(others))

    def accepts(self, parts: tuple[str, ...]) -> bool:
        """Return True if a file matches."""
        return self._whole("/".join(parts))


_MOST_IN_REGEX = 2  # wildcards
_TOKENS = re.compile(r"(?:^|(?<=/))\*\*/|\*\*|\*|\?|\[!?\]?[^]]*\]|.", re.DOTALL)
_WILDCARDS = {
    "**/": r"(?:(?!\.)[^/]+/)*",  # any folders, or none
    "**": r"(?:[^/]|/(?!\.))*",  # anything, slashes included
    "*": "[^/]*",
    "?": "[^/]",
}
_STARS = ("**/", "**", "*")
_ACROSS = ("**/", "**")  # folders

Matches = Callable[[str], bool]
_Step = Callable[[str, int], Iterator[int]]


def matcher(mask: str, flags: int) -> Matches:
    """Make the test of whether a whole path matches a mask."""
    pieces = list(_pieces(mask))
    if sum(piece in _STARS for piece, _ in pieces) > _MOST_IN_REGEX:
        return _linear(pieces, flags)
    pattern = re.compile("".join(_regex(*piece) for piece in pieces), flags)
    return lambda path: pattern.fullmatch(path) is not None


def _pieces(mask: str) -> Iterator[tuple[str, bool]]:
    """Yield wildcards and characters, and whether each is at the beginning of a name."""
    at_start = True
    for piece in _TOKENS.findall(mask):
        yield piece, at_start
        at_start = piece.endswith("/")


def _regex(piece: str, at_start: bool) -> str:
    """Translate a piece; a wildcard at the beginning of a name does not stand for a dot there."""
    guard = r"(?!\.)" if at_start else ""
    if piece in _WILDCARDS:
        return guard * (piece != "**/") + _WILDCARDS[piece]
    if piece.startswith("[") and len(piece) > 1:
        # fnmatch knows how to write a set of characters, in a frame of its own.
        framed = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", translate(piece), re.DOTALL)
        return f"{guard}(?!/){framed[1] if framed else re.escape(piece)}"
    return re.escape(piece)


def _linear(pieces: list[tuple[str, bool]], flags: int) -> Matches:
    """Make a test that finds all places that each piece can end at, one piece after another."""
    steps = [_step(piece, at_start, flags) for piece, at_start in pieces]

    def matches(path: str) -> bool:
        places = {0}
        for step in steps:
            places = _after(step, path, places)
        return len(path) in places

    return matches


def _after(step: _Step, path: str, places: set[int]) -> set[int]:
    """Return where a piece can end, if it begins at any of these places."""
    found: set[int] = set()
    for place in sorted(places):
        for end in step(path, place):
            if end in found:  # so is all that can be reached from there
                break
            found.add(end)
    return found


# The pieces that can come next, by their number, and whether each has begun.
Left = frozenset[tuple[int, bool]]


def _is_within(left: Left, other: Left) -> bool:
    """Return True if what matches by the first also matches by the second."""
    return all(one in other or (one[0], False) in other for one in left)


def _left_after(path: str, pieces: list[tuple[str, bool]], flags: int) -> Left:
    """Find what of a mask is left after the path of a folder, which ends with a slash."""
    left: set[tuple[int, bool]] = set()
    places = {0}
    for number, (piece, at_start) in enumerate(pieces):
        if len(path) in places:
            left.add((number, False))
        before = places - {len(path)}
        places = _after(_step(piece, at_start, flags), path, places)
        if piece in _ACROSS and len(path) in _after(_step(piece, at_start, flags), path, before):
            left.add((number, True))
    return frozenset(left)


def _step(piece: str, at_start: bool, flags: int) -> _Step:
    """Make a function that yields where a piece can end, if it begins at a place."""
    if piece == "**/":
        return _folders
    if piece in _STARS:
        return lambda path, place: _anything(path, place, piece == "**", at_start)
    pattern = re.compile(_regex(piece, at_start), flags)

    def one(path: str, place: int) -> Iterator[int]:
        if match := pattern.match(path, place):
            yield match.end()

    return one


def _folders(path: str, place: int) -> Iterator[int]:
    """Yield the ends of whole folders, none of them hidden."""
    while True:
        yield place
        end = path.find("/", place)
        if end <= place or path[place] == ".":
            return
        place = end + 1


def _anything(path: str, place: int, with_folders: bool, at_start: bool) -> Iterator[int]:
    """Yield the ends of any text: within a name, or across folders that are not hidden."""
    if at_start and path.startswith(".", place):
        return
    yield place
    for at in range(place, len(path)):
        if path[at] == "/" and (not with_folders or path.startswith(".", at + 1)):
            return
        yield at + 1
