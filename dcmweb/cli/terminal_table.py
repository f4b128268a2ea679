"""A table that fits a terminal: short headings, numbers on the right, what is too long cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from dcmweb.cli.fields import Field
from dcmweb.cli.text import visible, width_of
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.readable import readable

MEASURED = 200  # rows that decide the widths of the columns
GAP = "  "
CUT = "…"
# Columns of the terminal that a text keeps, if it has as many: as long as columns can be left out
# instead, and then.
SHORTEST, LEAST = 10, 4
_HEADINGS = {
    "StudyDate": "Date",
    "StudyTime": "Time",
    "PatientID": "ID",
    "PatientName": "Patient",
    "AccessionNumber": "Accession",
    "ModalitiesInStudy": "Modalities",
    "StudyDescription": "Description",
    "SeriesDescription": "Description",
    "NumberOfStudyRelatedSeries": "Series",
    "NumberOfStudyRelatedInstances": "Instances",
    "NumberOfSeriesRelatedInstances": "Instances",
    "SeriesNumber": "Number",
    "InstanceNumber": "Number",
    "BodyPartExamined": "Body part",
    "SOPClassUID": "SOP Class",
    "NumberOfFrames": "Frames",
    "StudyInstanceUID": "Study UID",
    "SeriesInstanceUID": "Series UID",
    "SOPInstanceUID": "Instance UID",
}
# Columns that are left out where not even the shortest texts fit, in this order.
_LEFT_OUT = (
    "StudyTime",
    "AccessionNumber",
    "NumberOfStudyRelatedSeries",
    "BodyPartExamined",
    "Columns",
    "Rows",
    "NumberOfFrames",
    "ModalitiesInStudy",
    "PatientID",
    "StudyDescription",
)
_NUMBERS = frozenset(["DS", "FL", "FD", "IS", "SL", "SS", "SV", "UL", "US", "UV"])
_WHOLE = _NUMBERS | {"DA", "TM", "DT"}  # of no use with a part cut off


@dataclass(frozen=True)
class _Column:
    """A column: which cell of a row it is, and how wide it is on the terminal."""

    field: Field
    number: int
    width: int

    @property
    def vr(self) -> str:
        return self.field.path[-1].vr

    def at_most(self, longest: int) -> int:
        """Return its width if texts may take so much; a number or a date is never cut."""
        return self.width if self.vr in _WHOLE else min(self.width, longest)

    def cell(self, text: str) -> str:
        """Write a cell as wide as the column."""
        size = width_of(text)
        if size > self.width:
            text = _cut_at_start(text, self.width) if self.vr == "UI" else _cut(text, self.width)
            size = width_of(text)
        space = " " * (self.width - size)
        return space + text if self.vr in _NUMBERS else text + space


def as_fitted_table(
    rows: Iterable[Dataset],
    fields: Sequence[Field],
    width: int,
    *,
    may_leave_out: bool = False,
    on_cut: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Write a table for a terminal that is so wide; nothing for no rows.

    `may_leave_out` allows to leave columns out. `on_cut` is called once if that is done, or if a
    value is cut.
    """
    lines = ([_readable(field, row) for field in fields] for row in rows)
    measured = list(islice(lines, MEASURED))
    if not measured:
        return
    headings = [_HEADINGS.get(field.name, field.name) for field in fields]
    widths = [max(map(width_of, cells)) for cells in zip(headings, *measured, strict=True)]
    columns = [
        _Column(field, number, size)
        for number, (field, size) in enumerate(zip(fields, widths, strict=True))
    ]
    fitting = _fitted(columns, width, may_leave_out=may_leave_out)
    is_cut = fitting != columns
    for line in chain([headings], measured, lines):
        is_cut = is_cut or any(width_of(line[one.number]) > one.width for one in fitting)
        yield GAP.join(one.cell(line[one.number]) for one in fitting).rstrip() + "\n"
    if is_cut:
        on_cut()


def _readable(field: Field, row: Dataset) -> str:
    return visible(readable(field.elements(row), names_uids=True))


def _fitted(columns: list[_Column], width: int, *, may_leave_out: bool) -> list[_Column]:
    """Leave out what there is no room for, and share what room there is."""
    for name in _LEFT_OUT if may_leave_out else ():
        if _total(one.at_most(SHORTEST) for one in columns) <= width:
            break
        columns = [one for one in columns if one.field.name != name]
    longest = _longest(columns, width)
    return [replace(one, width=one.at_most(longest)) for one in columns]


def _longest(columns: list[_Column], width: int) -> int:
    """Return the most that a text may take, so that all columns fit."""
    widest = max((one.width for one in columns), default=0)
    for longest in range(widest, LEAST, -1):
        if _total(one.at_most(longest) for one in columns) <= width:
            return longest
    return LEAST


def _total(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + len(GAP) * (len(found) - 1)


def _cut(text: str, width: int) -> str:
    """Cut the end off."""
    while text and width_of(text) > width - 1:
        text = text[: min(len(text) - 1, width)]
    return text + CUT


def _cut_at_start(text: str, width: int) -> str:
    """Cut the beginning off: of UIDs, which differ at their end."""
    return CUT + text[len(text) - width + 1 :] if text.isascii() else _cut(text, width)
