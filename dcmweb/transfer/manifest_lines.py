"""Lines of a manifest as dcmweb writes them, read without a parser: there can be ten million."""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = rb'"[ !#-\[\]-~]*"'  # in ASCII, without escapes
# Below 2^63, which is what SQLite keeps; as text as well, since some programs round large numbers.
_NUMBER = rb'("?)(0|[1-8][0-9]{18}|[1-9][0-9]{0,17})'
_NAME = rb'"(?!type"|item"|size"|mtime_ns")[a-z_]+"'  # of a member that is not kept
_OTHER = rb"%b: (?:%b|[0-9]{1,18})" % (_NAME, _TEXT)
_LINE = re.compile(
    rb'\{(?:%b, )*"type": "([a-z_]+)", "item": (%b)(?:, "size": %b\3)?(?:, "mtime_ns": %b\5)?'
    rb"(?:, %b)*\}\n" % (_OTHER, _TEXT, _NUMBER, _NUMBER, _OTHER)
)


class Line(NamedTuple):
    """What a line says: the type of its event, the item in JSON, its size and time."""

    kind: str
    item: str
    size: int
    mtime_ns: int


def read_line(line: bytes) -> Line | None:
    """Return what a line says; None for one that has to be parsed."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    kind, item, _, size, _, mtime_ns = found.groups(b"0")
    return Line(kind.decode(), item.decode(), int(size), int(mtime_ns))
