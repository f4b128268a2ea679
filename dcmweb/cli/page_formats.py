"""Output formats of search results that come in pages of rows, most of which are text already."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dcmweb.cli.formats import without_controls_but_lines
from dcmweb.cli.text import visible
from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import Row
from dcmweb.dicom.json_rows import TextRow
from dcmweb.dicom.json_text import as_line, indented

if TYPE_CHECKING:
    from dcmweb.cli.fields import Field

_TOGETHER = 200  # rows that are written in one step

Pages = Iterable[Sequence[Row]]
Writer = Callable[[Pages, "Sequence[Field]"], Iterator[str]]


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
    import csv

    from dcmweb.cli.cells import Cells

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in fields])
    cells = Cells(fields, without_controls_but_lines)
    for rows in _few_at_a_time(pages):
        writer.writerows(map(cells.of, rows))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_tsv(pages: Pages, fields: Sequence[Field]) -> Iterator[str]:
    """Write tab-separated values, as `formats.as_tsv` does."""
    from dcmweb.cli.cells import Cells

    yield "\t".join(field.name for field in fields) + "\n"
    cells = Cells(fields, visible)
    for rows in _few_at_a_time(pages):
        yield "".join(["\t".join(cells.of(row)) + "\n" for row in rows])


def _few_at_a_time(pages: Pages) -> Iterator[Sequence[Row]]:
    """Yield the rows of pages in short lists, so that memory stays low."""
    for rows in pages:
        for start in range(0, len(rows), _TOGETHER):
            yield rows[start : start + _TOGETHER]


BY_PAGE: Mapping[str, Writer] = {
    "json": as_json,
    "ndjson": as_ndjson,
    "csv": as_csv,
    "tsv": as_tsv,
}
