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

# The same for what nearly all lines are, those of files that were stored: faster by a third.
_UIDS = "".join(rf'(?:, "{name}": "[0-9.]*")?' for name in ("study", "series", "instance"))
_USUAL_LINE = re.compile(
    rf'^\{{"type": "([a-z_]+)", "item": ({_TEXT})(?:, "size": (0|[1-9][0-9]{{0,17}}))?'
    rf'(?:, "mtime_ns": "([1-8][0-9]{{18}}|[1-9][0-9]{{0,17}})")?{_UIDS}(?:, "place": {_TEXT})?'
    rf'(?:, "attempts": [0-9]{{1,9}})?(?:, "time": {_TEXT})?(?:, "run": {_TEXT})?\}}\n',
    re.MULTILINE,
)

Row = tuple[str, str, str, str]  # type of the event, item in JSON, size and time, "" for none


class Line(NamedTuple):
    """What a line says: the type of its event, the item in JSON, its size and time."""

    kind: str
    item: str
    size: int
    mtime_ns: int


def read_line(line: bytes) -> Line | None:
    """Return what a line says; None for one that has to be parsed."""
    rows = read_lines(line)
    if rows is None:
        return None
    ((kind, item, size, mtime_ns),) = rows
    return Line(kind, item, int(size or 0), int(mtime_ns or 0))


def read_lines(lines: bytes) -> list[Row] | None:
    """Return what whole lines say; None if any of them has to be parsed."""
    text, count = lines.decode("latin-1"), lines.count(b"\n")
    if not lines.endswith(b"\n"):
        return None
    # Each match is one line from its beginning to its end.
    rows: list[Row] = _USUAL_LINE.findall(text)
    if len(rows) != count:
        found = _LINE.findall(text)
        rows = [(kind, item, size, mtime_ns) for kind, item, _, size, _, mtime_ns in found]
    return rows if len(rows) == count else None


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
