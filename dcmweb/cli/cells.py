"""Cells of tables for programs: what attributes of a row are, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dcmweb.cli.fields import Field
from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import Row
from dcmweb.dicom.json_rows import TextRow, attribute_of, only_text
from dcmweb.dicom.readable import readable, readable_text

_MOST_KNOWN = 2000  # cells that are remembered


class Cells:
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
        if len(self._known) == _MOST_KNOWN:
            self._known.clear()
        self._known[element] = cell = self._clean(text)
        return cell
