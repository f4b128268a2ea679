"""Output formats of data sets; each is written piece by piece, as data sets arrive."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from dcmweb.cli.text import visible, width_of
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_text import as_line, indented

if TYPE_CHECKING:
    from dcmweb.cli.fields import Field

_TAG = "[0-9A-Fa-f]{8}"
MEASURED = 1000  # rows that decide the widths of the columns of a table

Rows = Iterable[Dataset]
Writer = Callable[[Rows, "Sequence[Field]"], Iterator[str]]


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


def with_keywords(rows: Rows) -> Iterator[Dataset]:
    """Name the attributes of data sets by their keywords, where PS3.6 has one; also in sequences.

    This is for people: it is not the DICOM JSON model any more, which has tags.
    """
    return map(_with_keywords, rows)


def _with_keywords(dataset: Dataset) -> Dataset:
    from dcmweb.dicom.dictionary import attribute_of

    named: Dataset = {}
    waiting = [(dataset, named)]
    while waiting:  # not by recursion: sequences may be nested deeply
        given, made = waiting.pop()
        for tag, element in given.items():
            name = attribute_of(tag).name if re.fullmatch(_TAG, tag) else tag
            made[name] = element
            values = element.get("Value") if isinstance(element, dict) else None
            if isinstance(values, list) and element.get("vr") == "SQ":
                items = [{} if isinstance(value, dict) else value for value in values]
                made[name] = {**element, "Value": items}
                waiting += [
                    (v, m) for v, m in zip(values, items, strict=True) if isinstance(v, dict)
                ]
    return named


def as_table(rows: Rows, fields: Sequence[Field]) -> Iterator[str]:
    """Write columns that are wide enough for the first rows; wider values later stick out."""
    lines = _lines(rows, fields, visible, names_uids=True)
    measured = list(islice(lines, MEASURED + 1))
    widths = [max(map(width_of, column)) for column in zip(*measured, strict=True)]
    for line in chain(measured, lines):
        cells = (cell + " " * (w - width_of(cell)) for cell, w in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip() + "\n"


def as_csv(rows: Rows, fields: Sequence[Field]) -> Iterator[str]:
    """Write comma-separated values (RFC 4180), with a line of names."""
    import csv

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for line in _lines(rows, fields, without_controls_but_lines):
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
    from dcmweb.dicom.readable import readable

    yield [field.name for field in fields]
    for row in rows:
        yield [clean(readable(f.elements(row), names_uids=names_uids)) for f in fields]


def without_controls_but_lines(text: str) -> str:
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
TABLE = "table"
WITH_COLUMNS: Mapping[str, Writer] = {TABLE: as_table, "csv": as_csv, "tsv": as_tsv}
OF_DATASETS: Mapping[str, Callable[[Rows], Iterator[str]]] = {
    "json": as_json,
    "ndjson": as_ndjson,
    "xml": as_xml_rows,
}
WITH_KEYWORDS = ("json", "ndjson")
UIDS = "uids"
FORMATS = ("json", "ndjson", "table", "csv", "tsv", "xml", UIDS)
