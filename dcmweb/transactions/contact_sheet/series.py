"""The series of a contact sheet: what the server lists of them, and the one in their middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from dcmweb.dicom import json_model
from dcmweb.dicom.dictionary import attribute, uid_name
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import (
    INSTANCE_NUMBER,
    MODALITY,
    NUMBER_OF_FRAMES,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    PATIENT_ID,
    PATIENT_NAME,
    SOP_CLASS_UID,
)
from dcmweb.errors import NothingMatched, ProtocolError, Refused
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search.listing import Lister
from dcmweb.transactions.search.paging import Query

STUDY_DATE, STUDY_DESCRIPTION, SERIES_DESCRIPTION, SERIES_NUMBER = (
    attribute(name).tag
    for name in ("StudyDate", "StudyDescription", "SeriesDescription", "SeriesNumber")
)
_KEPT_STUDIES = 1000
# Words in the names of SOP Classes that have pixel data (PS3.4 table B.5-1).
_PICTURES = ("Image", "RT Dose", "Parametric Map", "Segmentation Storage")
_NO_PICTURES = ("Surface Segmentation", "Image Reference", "Key Object")


@dataclass(frozen=True)
class ListedSeries:
    """A series as the server lists it; `only` is the instance if one alone was asked for."""

    resource: Resource
    row: Dataset
    study_row: Dataset
    only: str = ""

    @property
    def item(self) -> str:
        """The path that was asked for, of the series or of the instance."""
        resource = self.resource
        return str(Resource(resource.study, resource.series, self.only))

    @property
    def counted(self) -> int | None:
        """How many instances the server counts."""
        return json_model.number(self.row, NUMBER_OF_SERIES_RELATED_INSTANCES)


@dataclass
class Middle:
    """What is in a series, and the instance in its middle, with its middle frame."""

    instances: int = 0
    frames: int = 0
    resource: Resource | None = None  # None if no instance has a picture
    kinds: set[str] = field(default_factory=set)  # SOP Classes without pictures


class SeriesFinder:
    """Asks the server for studies and series."""

    def __init__(self, context: RunContext) -> None:
        self._lister = Lister(context)
        self._studies: dict[str, Dataset] = {}
        self._lock = Lock()

    def below(self, resource: Resource) -> Iterator[ListedSeries | None]:
        """Yield the series at and below a resource in order; None for one without its UID.

        Raises NothingMatched if the server lists none.
        """
        if not resource.study:
            for study, _ in self._lister.studies():
                yield from self.below(study) if study else [None]
            return
        study_row = self._study_row(resource.study)
        listed = list(
            self._lister.rows(
                Query(Resource(resource.study), Level.SERIES),
                MODALITY,
                SERIES_DESCRIPTION,
                SERIES_NUMBER,
                NUMBER_OF_SERIES_RELATED_INSTANCES,
            )
        )
        listed.sort(key=lambda one: json_model.number(one[1], SERIES_NUMBER) or 0)
        found = False
        for series, row in listed:
            if not resource.series or (series and series.series == resource.series):
                found = True
                yield ListedSeries(series, row, study_row, resource.instance) if series else None
        if not found:
            raise NothingMatched(f"the server lists no series in {resource}", "check the path")

    def _study_row(self, study: str) -> Dataset:
        """Ask what a study is; {} if the server does not say."""
        with self._lock:
            if study in self._studies:
                return self._studies[study]
        query = Query(Resource(), Level.STUDIES, (("StudyInstanceUID", study),))
        fields = (PATIENT_NAME, PATIENT_ID, STUDY_DATE, STUDY_DESCRIPTION)
        try:
            rows = self._lister.rows(query, *fields)
            row = next((row for found, row in rows if found == Resource(study)), {})
        except (Refused, NothingMatched, ProtocolError):
            row = {}
        with self._lock:
            if len(self._studies) >= _KEPT_STUDIES:
                self._studies.clear()
            self._studies[study] = row
        return row

    def middle(self, series: ListedSeries) -> Middle:
        """Find the instance in the middle, by Instance Number, of those that have pictures."""
        middle = Middle()
        pictures: list[tuple[int, str, int]] = []
        fields = (INSTANCE_NUMBER, NUMBER_OF_FRAMES, SOP_CLASS_UID)
        for instance, row in self._lister.instances(series.resource, *fields):
            if instance is None or series.only not in ("", instance.instance):
                continue
            frames = json_model.number(row, NUMBER_OF_FRAMES) or 1
            middle.instances += 1
            sop_class = json_model.text(row, SOP_CLASS_UID)
            if has_picture(sop_class):
                middle.frames += frames
                number = json_model.number(row, INSTANCE_NUMBER) or 0
                pictures.append((number, instance.instance, frames))
            else:
                middle.kinds.add(sop_class)
        if pictures:
            pictures.sort()
            _, uid, frames = pictures[(len(pictures) - 1) // 2]
            found = Resource(series.resource.study, series.resource.series, uid)
            middle.resource = found.with_frames((frames + 1) // 2) if frames > 1 else found
        return middle


def has_picture(sop_class: str) -> bool:
    """Return True unless the instances of a SOP Class are known to have no pixel data."""
    name = uid_name(sop_class) if sop_class else ""
    if name == sop_class:  # a private or unknown one
        return True
    return any(word in name for word in _PICTURES) and not any(w in name for w in _NO_PICTURES)
