"""Output formats of search results that come in pages of rows, most of which are text already."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dcmweb.cli.fields import Field
from dcmweb.cli.formats import without_controls_but_lines
from dcmweb.cli.text import visible
from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import Row
from dcmweb.dicom.json_rows import TextRow, attribute_of, only_text
from dcmweb.dicom.json_text import as_line, indented
from dcmweb.dicom.readable import readable, readable_text

_TOGETHER = 200  # rows that are written in one step
_MOST_CELLS = 2000  # that are remembered

Pages = Iterable[Sequence[Row]]


def as_json(pages: Pages, _fields: Sequence[Field]) -> Iterator[str]:
    """Write an array, as `formats.as_json` does."""
    opening = "["
    for rows in _few_at_a_time(pages):
        yield opening + ",".join(_lines_of(rows))
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """Write rows in lines: those that are text together, as long as they follow each other."""
    texts: list[bytes] = []
    for row in rows:
        if type(row) is TextRow:
            texts.append(row.text)
            continue
        if texts:
            yield _together(texts)
            texts = []
        yield f"\n  {indented(row)}"
    if texts:
        yield _together(texts)


def _together(texts: Sequence[bytes]) -> str:
    array = json_fast.indented(b"[%b]" % b",".join(texts))
    return array[len("[") : -len("\n]")]


def as_ndjson(pages: Pages, _fields: Sequence[Field]) -> Iterator[str]:
    """Write a line for each row."""
    for rows in _few_at_a_time(pages):
        yield "".join([f"{_line(row)}\n" for row in rows])


def _line(row: Row) -> str:
    return json_fast.spaced(row.text) if type(row) is TextRow else as_line(row)


def as_csv(pages: Pages, fields: Sequence[Field]) -> Iterator[str]:
    """Write comma-separated values, as `formats.as_csv` does."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in fields])
    cells = _Cells(fields, without_controls_but_lines)
    for rows in _few_at_a_time(pages):
        writer.writerows(map(cells.of, rows))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_tsv(pages: Pages, fields: Sequence[Field]) -> Iterator[str]:
    """Write tab-separated values, as `formats.as_tsv` does."""
    yield "\t".join(field.name for field in fields) + "\n"
    cells = _Cells(fields, visible)
    for rows in _few_at_a_time(pages):
        yield "".join(["\t".join(cells.of(row)) + "\n" for row in rows])


class _Cells:
    """Makes the cells of rows; those of many rows are the same."""

    def __init__(self, fields: Sequence[Field], clean: Callable[[str], str]) -> None:
        self._fields = fields
        self._clean = clean
        self._attributes = [attribute_of(field.path[0].tag) for field in fields]
        self._are_flat = all(len(field.path) == 1 for field in fields)
        self._known: dict[tuple[str, bytes], str] = {}

    def of(self, row: Row) -> list[str]:
        """Return the cells of a row."""
        if type(row) is not TextRow or not self._are_flat:
            return [self._clean(readable(field.elements(row))) for field in self._fields]
        known, parts = self._known, row.parts
        cells = []
        for attribute in self._attributes:
            part = getattr(parts, attribute, None)
            if not part or not part.Value:
                cells.append("")
                continue
            element = part.vr, bytes(part.Value)
            cell = known.get(element)
            cells.append(self._made(element) if cell is None else cell)
        return cells

    def _made(self, element: tuple[str, bytes]) -> str:
        vr, value = element
        text = only_text(value)
        if text is None:
            text = readable([{"vr": vr, "Value": json_fast.decoded(value)}])
        else:
            text = readable_text(text, vr)
        if len(self._known) == _MOST_CELLS:
            self._known.clear()
        self._known[element] = cell = self._clean(text)
        return cell


def _few_at_a_time(pages: Pages) -> Iterator[Sequence[Row]]:
    """Yield the rows of pages in short lists, so that memory stays low."""
    for rows in pages:
        for start in range(0, len(rows), _TOGETHER):
            yield rows[start : start + _TOGETHER]


BY_PAGE: Mapping[str, Callable[[Pages, Sequence[Field]], Iterator[str]]] = {
    "json": as_json,
    "ndjson": as_ndjson,
    "csv": as_csv,
    "tsv": as_tsv,
}
