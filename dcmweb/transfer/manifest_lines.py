"""Lines of a manifest, written and read without a parser: there can be ten million.

Lines that were written in another way are for the parser.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from dcmweb.transfer.outcomes import MOST_EXACT, Outcome, Status

_TYPES = {status: status.name.lower() for status in Status}

_TEXT = r'"[ !#-\[\]-~]*"'  # in ASCII, without escapes
# Below 2^63, which is what SQLite keeps; as text as well, since some programs round large numbers.
_NUMBER = r'("?)(0|[1-8][0-9]{18}|[1-9][0-9]{0,17})'
_NAME = r'"(?!type"|item"|size"|mtime_ns")[a-z_]+"'  # of a member that is not kept
_OTHER = rf"{_NAME}: (?:{_TEXT}|[0-9]{{1,18}})"
_LINE = re.compile(
    rf'^\{{(?:{_OTHER}, )*"type": "([a-z_]+)", "item": ({_TEXT})'
    rf'(?:, "size": {_NUMBER}\3)?(?:, "mtime_ns": {_NUMBER}\5)?(?:, {_OTHER})*\}}\n',
    re.MULTILINE,
)

# The type of an event, the item in JSON, size and time as text with the quotes before them.
Row = tuple[str, str, str, str, str, str]


class Line(NamedTuple):
    """What a line says: the type of its event, the item in JSON, its size and time."""

    kind: str
    item: str
    size: int
    mtime_ns: int


def read_line(line: bytes) -> Line | None:
    """Return what a line says; None for one that has to be parsed."""
    rows = read_lines(line)
    if rows is None or len(rows) != 1:
        return None
    ((kind, item, _, size, _, mtime_ns),) = rows
    return Line(kind, item, int(size or 0), int(mtime_ns or 0))


def read_lines(lines: bytes) -> list[Row] | None:
    """Return what whole lines say; None if any of them has to be parsed."""
    rows: list[Row] = _LINE.findall(lines.decode("latin-1"))
    # Each match is one line from its beginning to its end.
    return rows if len(rows) == lines.count(b"\n") and lines.endswith(b"\n") else None


def write_line(outcome: Outcome, item: str, marks: str) -> str:
    """Write the event of an outcome as a line; `marks` are the members at its end, in JSON."""
    line = f'{{"type": "{_TYPES[outcome.status]}", "item": {quoted(item)}'
    if size := outcome.size:
        line += f', "size": {size}' if size <= MOST_EXACT else f', "size": "{size}"'
    if outcome.mtime_ns:
        line += f', "mtime_ns": "{outcome.mtime_ns}"'
    if outcome.study:
        line += f', "study": {quoted(outcome.study)}'
    if outcome.series:
        line += f', "series": {quoted(outcome.series)}'
    if outcome.instance:
        line += f', "instance": {quoted(outcome.instance)}'
    if outcome.instances:
        line += f', "instances": {outcome.instances}'
    if outcome.place:
        line += f', "place": {quoted(outcome.place)}'
    if outcome.reason:
        line += f', "reason": {quoted(outcome.reason)}'
    if outcome.attempts:
        line += f', "attempts": {outcome.attempts}'
    return f"{line}, {marks}}}\n"
