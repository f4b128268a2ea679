"""Output formats of data sets; each is written piece by piece, as data sets arrive."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from dcmweb.cli.fields import Field
from dcmweb.cli.text import visible
from dcmweb.cli.values import readable
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_text import as_line, indented

MEASURED = 1000  # rows that decide the widths of the columns of a table

Rows = Iterable[Dataset]
Writer = Callable[[Rows, Sequence[Field]], Iterator[str]]


def as_json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write an array, indented by 2, keys sorted. An incomplete array has no closing bracket."""
    opening = "["
    for row in rows:
        yield f"{opening}\n  {indented(row)}"
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def as_ndjson(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write a line for each data set."""
    for row in rows:
        yield as_line(row) + "\n"


def as_xml(documents: Iterable[bytes]) -> Iterator[str]:
    """Write documents of the Native DICOM Model as one document, below a root element."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModels>\n'
    for document in documents:
        text = document.decode("utf-8-sig", "replace").strip()
        yield re.sub(r"^<\?xml.*?\?>\s*", "", text, count=1, flags=re.DOTALL) + "\n"
    yield "</NativeDicomModels>\n"


def as_table(rows: Rows, fields: Sequence[Field]) -> Iterator[str]:
    """Write columns that are wide enough for the first rows; wider values later stick out."""
    lines = _lines(rows, fields, visible, names_uids=True)
    measured = list(islice(lines, MEASURED + 1))
    widths = [max(map(_width, column)) for column in zip(*measured, strict=True)]
    for line in chain(measured, lines):
        cells = (cell + " " * (w - _width(cell)) for cell, w in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip() + "\n"


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(0, wcswidth(text))


def as_csv(rows: Rows, fields: Sequence[Field]) -> Iterator[str]:
    """Write comma-separated values (RFC 4180), with a line of names."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for line in _lines(rows, fields, _visible_but_lines):
        writer.writerow(line)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def as_tsv(rows: Rows, fields: Sequence[Field]) -> Iterator[str]:
    """Write tab-separated values; tabs and line ends within values are made visible."""
    for line in _lines(rows, fields, visible):
        yield "\t".join(line) + "\n"


def _lines(
    rows: Rows, fields: Sequence[Field], clean: Callable[[str], str], *, names_uids: bool = False
) -> Iterator[list[str]]:
    """Yield the names of the fields, then the readable values of each row."""
    yield [field.name for field in fields]
    for row in rows:
        yield [clean(readable(f.elements(row), names_uids=names_uids)) for f in fields]


def _visible_but_lines(text: str) -> str:
    """Make control characters visible, except line ends and tabs, which CSV quotes."""
    if text.isprintable():
        return text
    return "".join(
        part if part in "\r\n\t" else visible(part) for part in re.split(r"([\r\n\t])", text)
    )


def as_xml_rows(rows: Rows) -> Iterator[str]:
    """Write each row as a Native DICOM Model."""
    from dcmweb.dicom.native_xml import write_native_xml

    return as_xml(map(write_native_xml, rows))


# Formats with a column for each field, and formats that write whole data sets.
WITH_COLUMNS: Mapping[str, Writer] = {"table": as_table, "csv": as_csv, "tsv": as_tsv}
OF_DATASETS: Mapping[str, Callable[[Rows], Iterator[str]]] = {
    "json": as_json,
    "ndjson": as_ndjson,
    "xml": as_xml_rows,
}
UIDS = "uids"
FORMATS = ("json", "ndjson", "table", "csv", "tsv", "xml", UIDS)
