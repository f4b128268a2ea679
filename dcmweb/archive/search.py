"""QIDO-RS: the results of a search (PS3.18 section 10.6)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from dcmweb.archive.query import Key, ParsedQuery
from dcmweb.archive.representations.metadata import PIXEL_DATA_TAGS, file_metadata, read_elements
from dcmweb.archive.storage.attributes import (
    AVAILABLE_TRANSFER_SYNTAX,
    INDEXED,
    INSTANCE_LEVEL,
    LEVELS,
    MODALITIES_IN_STUDY,
    SERIES_LEVEL,
    SOP_CLASSES_IN_STUDY,
    STUDY_LEVEL,
    QueryAttribute,
    added_by_all,
    find_attribute,
    required,
    returned,
)
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry, below, entry
from dcmweb.archive.storage.matching import Matches, matcher
from dcmweb.dicom.json_model import Dataset, items, values
from dcmweb.dicom.person_names import join_groups, split_groups
from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import (
    INSTANCE_AVAILABILITY,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_SERIES,
    RETRIEVE_URL,
    SPECIFIC_CHARACTER_SET,
)
from dcmweb.errors import BrokenDicom

# Each row is a group of instances; the first of them represents it.
_GROUP = {
    STUDY_LEVEL: "StudyInstanceUID",
    SERIES_LEVEL: "StudyInstanceUID, SeriesInstanceUID",
    INSTANCE_LEVEL: "id",
}
_AVAILABILITY = (INSTANCE_AVAILABILITY, "CS", ["ONLINE"])
_CHARACTER_SET = (SPECIFIC_CHARACTER_SET, "CS", ["ISO_IR 192"])


@dataclass(frozen=True)
class RowRules:
    """What the rows of a search contain."""

    all_levels: bool = True  # whether they have the attributes of the levels above, too
    empty_attributes: bool = True  # whether required attributes are there without a value
    file_meta: bool = False  # whether they can have elements of group 0002
    # Keywords of what they have unless more is asked for, by level; None for all there is.
    by_default: Mapping[Level, Collection[str]] | None = None


@dataclass
class IndexSearch:
    """The rows of a query; `remaining` is known after `entries`."""

    storage: Storage
    query: ParsedQuery
    most: int  # rows that the server gives at most
    rows_like: RowRules
    remaining: int = field(default=0, init=False)

    def entries(self) -> list[Entry]:
        """Find the first instance of each row of this page."""
        most = self.most if self.query.limit is None else min(self.query.limit, self.most)
        if all(key.column for key in self.query.keys):
            return self._page(most)
        return self._page_with_files(most)

    def _selection(self) -> tuple[str, list[object]]:
        """Make the SQL that selects one instance for each row, without order."""
        where, given = self._conditions()
        group = _GROUP[self.query.level]
        return f"SELECT MIN(id) FROM instances WHERE {where} GROUP BY {group}", given

    def _conditions(self) -> tuple[str, list[object]]:
        """Make the SQL of all conditions on the index."""
        where, parameters = below(self.query.resource)
        conditions, given = [where], list[object](parameters)
        for key in self.query.keys:
            if key.column:
                fits = f'fits("{key.column}", ?, ?, ?)'
                if key.path[0] in (MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY):
                    uid = '"StudyInstanceUID"'  # any instance of the study may have the value
                    fits = f"{uid} IN (SELECT {uid} FROM instances WHERE {fits})"
                conditions.append(fits)
                given += [key.vr, key.wanted, self.query.how.value]
        return " AND ".join(conditions), given

    def _page(self, most: int) -> list[Entry]:
        ids, given = self._selection()
        connection = self.storage.index.connection()
        rows = connection.execute(
            f"SELECT * FROM instances WHERE id IN ({ids}) ORDER BY id LIMIT ? OFFSET ?",
            [*given, most, self.query.offset],
        ).fetchall()
        if len(rows) == most:
            (total,) = connection.execute(f"SELECT COUNT(*) FROM ({ids})", given).fetchone()
            self.remaining = max(0, total - self.query.offset - len(rows))
        return [entry(row) for row in rows]

    def _page_with_files(self, most: int) -> list[Entry]:
        """Find the rows if keys are not in the index: read the files of all candidates.

        The first matching instance represents its study or series.
        """
        where, given = self._conditions()
        found: list[Entry] = []
        passed = set[Resource]()
        rows = self.storage.index.connection().execute(
            f"SELECT * FROM instances WHERE {where} ORDER BY id", given
        )
        for candidate in map(entry, rows):
            stands_for = self._at_level(candidate.resource)
            if stands_for not in passed and self._fits_in_file(candidate):
                passed.add(stands_for)
                if len(passed) > self.query.offset and len(found) < most:
                    found.append(candidate)
        self.remaining = max(0, len(passed) - self.query.offset - len(found))
        return found

    def _at_level(self, whole: Resource) -> Resource:
        """Return the study, series or instance that a row represents."""
        depth = LEVELS.index(self.query.level)
        return Resource(
            whole.study,
            whole.series if depth > 0 else "",
            whole.instance if depth > 1 else "",
        )

    def _fits_in_file(self, candidate: Entry) -> bool:
        keys = [key for key in self.query.keys if not key.column]
        try:
            there = read_elements(
                self.storage.present_path(candidate), [key.path[0].tag for key in keys]
            )
        except FileNotFoundError:
            return False
        except BrokenDicom:
            there = {}
        return all(_fits(there, key.path, self._matcher(key)) for key in keys)

    def _matcher(self, key: Key) -> Matches:
        return matcher(key.vr, key.wanted, self.query.how)

    def rows(self, entries: Iterable[Entry], base_url: str) -> Iterator[Dataset]:
        """Make the data set that is returned for each row."""
        for one in entries:
            with suppress(FileNotFoundError):  # it has been deleted meanwhile
                yield dict(sorted(self._row(one, base_url).items()))

    @cached_property
    def _levels(self) -> list[Level]:
        """The levels whose attributes are returned: those not given in the path."""
        depth = LEVELS.index(self.query.level)
        given = {STUDY_LEVEL: self.query.resource.study, SERIES_LEVEL: self.query.resource.series}
        above = [
            level for level in LEVELS[:depth] if self.rows_like.all_levels and not given.get(level)
        ]
        return [*above, self.query.level]

    @cached_property
    def _attributes(self) -> list[QueryAttribute]:
        above = [INDEXED["StudyInstanceUID"], INDEXED["SeriesInstanceUID"]]
        depth = LEVELS.index(self.query.level)
        named = [key.path[0] for key in self.query.keys]
        more = added_by_all(self._levels) if self.query.include_all else []
        everything = [*above[:depth], *returned(self._levels), *more, *self.query.include, *named]
        return list({a.tag: a for a in everything}.values())

    def _row(self, one: Entry, base_url: str) -> Dataset:
        row: Dataset = {}
        url = f"{base_url}/{one.resource}"
        with_meta = self.rows_like.file_meta
        if self.rows_like.empty_attributes:
            row = {a.tag: {"vr": a.vr} for a in required(self._levels)}
        from_file = [a.tag for a in self._attributes if not a.is_indexed]
        with suppress(BrokenDicom):  # one file that cannot be read must not hide the others
            if self.query.include_all and self.query.level is INSTANCE_LEVEL:
                row |= file_metadata(self.storage.present_path(one), url, with_meta=with_meta)
            if missing := [tag for tag in from_file if tag not in row or "Value" not in row[tag]]:
                row |= read_elements(
                    self.storage.present_path(one), missing, url, with_meta=with_meta
                )
        for a in self._attributes:
            if a.is_indexed and a.keyword in one.values:
                row[a.tag] = element(a.vr, one.values[a.keyword])
        for tag in PIXEL_DATA_TAGS:
            row.pop(tag, None)
        for tag, vr, value in (_AVAILABILITY, _CHARACTER_SET):
            row[tag] = {"vr": vr, "Value": value}
        return self._limited(row | self._counted(one)) | self._retrieve_url(one, base_url)

    def _limited(self, row: Dataset) -> Dataset:
        """Leave out what the server does not return unless it is asked for."""
        if self.rows_like.by_default is None or self.query.include_all:
            return row
        named = {key.path[0].tag for key in self.query.keys}
        named |= {attribute.tag for attribute in self.query.include}
        keywords = self.rows_like.by_default[self.query.level]
        tags = named | {find_attribute(keyword).tag for keyword in keywords}
        return {tag: found for tag, found in row.items() if tag in tags}

    def _retrieve_url(self, one: Entry, base_url: str) -> Dataset:
        url = f"{base_url}/{self._at_level(one.resource)}"
        return {RETRIEVE_URL: {"vr": "UR", "Value": [url]}}

    def _counted(self, one: Entry) -> Dataset:
        """Count what belongs to the study or series of a row."""
        whole = one.resource
        connection = self.storage.index.connection()
        if SERIES_LEVEL in self._levels and self.query.level is not INSTANCE_LEVEL:
            number = _count(connection, Resource(whole.study, whole.series))["instances"]
            counted = {NUMBER_OF_SERIES_RELATED_INSTANCES: _integer(number)}
        else:
            counted = {}
        if STUDY_LEVEL not in self._levels or self.query.level is INSTANCE_LEVEL:
            return counted
        study = _count(connection, Resource(whole.study))
        modalities = sorted(filter(None, (study["modalities"] or "").split(",")))
        classes = sorted(filter(None, (study["classes"] or "").split(",")))
        return counted | {
            MODALITIES_IN_STUDY.tag: {"vr": "CS", "Value": modalities}
            if modalities
            else {"vr": "CS"},
            SOP_CLASSES_IN_STUDY.tag: {"vr": "UI", "Value": classes},
            NUMBER_OF_STUDY_RELATED_SERIES: _integer(study["series"]),
            NUMBER_OF_STUDY_RELATED_INSTANCES: _integer(study["instances"]),
        }


def indexed_metadata(one: Entry) -> Dataset:
    """Return what the index has of an instance, in place of metadata that cannot be read."""
    found = {
        a.tag: element(a.vr, one.values[a.keyword])
        for a in INDEXED.values()
        if a.keyword in one.values
    }
    found[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    if one.transfer_syntax:
        found[AVAILABLE_TRANSFER_SYNTAX.tag] = {"vr": "UI", "Value": [one.transfer_syntax]}
    return dict(sorted(found.items()))


def _count(connection: sqlite3.Connection, resource: Resource) -> sqlite3.Row:
    where, parameters = below(resource)
    row: sqlite3.Row = connection.execute(
        "SELECT COUNT(*) AS instances, COUNT(DISTINCT SeriesInstanceUID) AS series, "
        "GROUP_CONCAT(DISTINCT Modality) AS modalities, "
        f"GROUP_CONCAT(DISTINCT SOPClassUID) AS classes FROM instances WHERE {where}",
        parameters,
    ).fetchone()
    return row


def _integer(number: int) -> dict[str, object]:
    return {"vr": "IS", "Value": [number]}


def element(vr: str, text: str) -> dict[str, object]:
    """Write a value of the index in the DICOM JSON model (PS3.18 section F.2.2)."""
    if not text:
        return {"vr": vr}
    return {"vr": vr, "Value": [_value(vr, part) for part in text.split("\\")]}


def _value(vr: str, text: str) -> object:
    if vr == "PN":
        return {name: group for name, group in split_groups(text).items() if group} or None
    if vr in ("IS", "US"):
        try:
            return int(text)
        except ValueError:
            return text or None
    return text or None


def _fits(dataset: Dataset, path: Sequence[QueryAttribute], fits: Matches) -> bool:
    """Test a value in a data set; in a sequence, any matching item is enough."""
    first, *rest = path
    if rest:
        return any(_fits(item, rest, fits) for item in items(dataset, first.tag))
    found = values(dataset, first.tag)
    if not found:
        return fits(None)
    return any(fits(_as_text(value)) for value in found)


def _as_text(value: object) -> str:
    """Write a value in the form of the index."""
    if isinstance(value, dict):
        return join_groups(value)
    return "" if value is None else str(value)
