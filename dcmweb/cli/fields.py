"""The attributes to print of search results, and where they are in a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from dcmweb.dicom import json_model
from dcmweb.dicom.dictionary import Attribute, attributes
from dcmweb.dicom.json_model import Dataset, Row
from dcmweb.dicom.resources import Level

_STUDY = (
    "StudyDate",
    "StudyTime",
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "ModalitiesInStudy",
    "StudyDescription",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "StudyInstanceUID",
)
_SERIES = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
    "StudyInstanceUID",
    "SeriesInstanceUID",
)
_INSTANCE = (
    "InstanceNumber",
    "SOPClassUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)
_DEFAULTS = {Level.STUDIES: _STUDY, Level.SERIES: _SERIES, Level.INSTANCES: _INSTANCE}
# Names in a list; a tag may be written with a comma in it.
_NAME = re.compile(r"\(?[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)?(?:\.[^,\s]+)?|[^,\s]+")


class Field(NamedTuple):
    """An attribute, with the sequences that contain it, outermost first."""

    path: tuple[Attribute, ...]

    @property
    def name(self) -> str:
        """Its keywords, joined by dots, for the head of a column."""
        return ".".join(attribute.name for attribute in self.path)

    @property
    def tag(self) -> str:
        """Its tags, joined by dots, for includefield."""
        return ".".join(attribute.tag for attribute in self.path)

    def elements(self, dataset: Row) -> list[dict[str, Any]]:
        """Return its elements in a data set: one at most, or one from each item of sequences."""
        datasets: list[Row] = [dataset]
        for attribute in self.path[:-1]:
            datasets = [item for one in datasets for item in json_model.items(one, attribute.tag)]
        tag = self.path[-1].tag
        return [element for one in datasets if isinstance(element := one.get(tag), dict)]


def parse_fields(texts: Iterable[str]) -> list[Field]:
    """Read lists of keywords and tags. Raises UsageError for anything else."""
    names = dict.fromkeys(name for text in texts for name in _NAME.findall(text))
    return [Field(attributes(name)) for name in names]


def default_fields(level: Level) -> list[Field]:
    """Return the columns of a table of studies, series or instances."""
    return [Field(attributes(name)) for name in _DEFAULTS[level]]


def only(dataset: Dataset, fields: Sequence[Field]) -> Dataset:
    """Return the elements of these fields; for fields in a sequence, the whole sequence."""
    tags = {field.path[0].tag for field in fields}
    return {tag: element for tag, element in dataset.items() if tag in tags}
