"""Writes text for people: makes control characters visible, some of many names, durations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dcmweb.counted import plural

_OBEYED = r"[\x80-\x9f\u202a-\u202e\u2066-\u2069]"
_INVISIBLE = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"])


def visible(text: str) -> str:
    r"""Write control characters, and others that change how text looks, as `\x1b` or `\u202e`.

    Text from a server or a file name must pass through this before it reaches a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def with_references(text: str) -> str:
    """Write what XML may hold and a terminal obeys as references, such as `&#155;`.

    These are the control characters beyond ASCII, and those that reorder text. No other format of
    ours has them.
    """
    if text.isascii():
        return text
    return re.sub(_OBEYED, lambda found: f"&#{ord(found[0])};", text)


def width_of(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(0, wcswidth(text))


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Write names, of many only the first ones: a, b, c and 4 others."""
    others = len(names) - most
    more = f" and {plural(others, 'other')}" if others > 0 else ""
    return ", ".join(names[:most]) + more


def duration(seconds: float) -> str:
    """Write an estimated time: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
