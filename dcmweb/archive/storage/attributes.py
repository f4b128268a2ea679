"""The attributes of QIDO-RS: which ones are indexed, searched and returned.

Sources: PS3.18 tables 10.6.1-5 (matching) and 10.6.3-3 to 10.6.3-5 (returned).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from werkzeug.exceptions import BadRequest

from dcmweb.dicom.resources import Level

STUDY_LEVEL, SERIES_LEVEL, INSTANCE_LEVEL = Level.STUDIES, Level.SERIES, Level.INSTANCES
LEVELS = (STUDY_LEVEL, SERIES_LEVEL, INSTANCE_LEVEL)

# Kept in the index, in the order of their tags. Those of a level are returned by default.
_INDEXED = {
    STUDY_LEVEL: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    ),
    SERIES_LEVEL: (
        "Modality",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    INSTANCE_LEVEL: (
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceNumber",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
    ),
}

# Read from the files when they are asked for, with the attributes of a level or by `all`.
_BY_DEFAULT = {SERIES_LEVEL: ("RequestAttributesSequence",)}
_WITH_ALL = {
    STUDY_LEVEL: (
        "PersonIdentificationCodeSequence",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionCodeSequence",
        "ReferringPhysicianIdentificationSequence",
        "ConsultingPhysicianName",
        "IssuerOfAccessionNumberSequence",
        "PhysiciansOfRecord",
        "NameOfPhysiciansReadingStudy",
        "RequestingServiceCodeSequence",
        "ReferencedStudySequence",
        "ProcedureCodeSequence",
        "ReasonForPerformedProcedureCodeSequence",
        "IssuerOfPatientID",
        "OtherPatientIDs",
        "PatientBirthTime",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "EthnicGroup",
        "PatientComments",
        "AdmittingDiagnosesDescription",
    ),
    SERIES_LEVEL: (
        "SeriesDate",
        "SeriesTime",
        "Laterality",
        "BodyPartExamined",
        "ProtocolName",
        "PatientPosition",
        "FrameOfReferenceUID",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
        "PerformingPhysicianName",
        "OperatorsName",
        "PerformedProcedureStepID",
        "PerformedProcedureStepDescription",
    ),
}


@dataclass(frozen=True)
class QueryAttribute:
    """An attribute: its tag as eight hexadecimal digits, keyword and VR."""

    tag: str
    keyword: str
    vr: str

    @property
    def is_indexed(self) -> bool:
        """Whether the index has a column for it, named by its keyword."""
        return self.keyword in INDEXED


def find_attribute(name: str) -> QueryAttribute:
    """Find an attribute by keyword or by tag.

    Raises BadRequest for a keyword that is not in PS3.6; any tag is accepted.
    """
    tag = tag_for_keyword(name)
    if tag is None:
        if not re.fullmatch(r"[0-9A-Fa-f]{8}", name):
            raise BadRequest(f"unknown attribute {name}")
        tag = int(name, 16)
    try:
        vr = dictionary_VR(tag)[:2]
    except KeyError:
        vr = "UN"
    return QueryAttribute(f"{tag:08X}", keyword_for_tag(tag), vr)


def _attributes(keywords: Iterable[str]) -> tuple[QueryAttribute, ...]:
    return tuple(sorted(map(find_attribute, keywords), key=lambda a: a.tag))


INDEXED: Mapping[str, QueryAttribute] = {
    a.keyword: a for a in _attributes(k for level in LEVELS for k in _INDEXED[level])
}
_INDEXED_AT = {level: _attributes(_INDEXED[level]) for level in LEVELS}
_FROM_FILES = {level: _attributes(_BY_DEFAULT.get(level, ())) for level in LEVELS}
_ALL_FROM_FILES = {level: _attributes(_WITH_ALL.get(level, ())) for level in LEVELS}

MODALITIES_IN_STUDY = find_attribute("ModalitiesInStudy")
SOP_CLASSES_IN_STUDY = find_attribute("SOPClassesInStudy")
AVAILABLE_TRANSFER_SYNTAX = find_attribute("AvailableTransferSyntaxUID")
TRANSFER_SYNTAX_COLUMN = "transfer_syntax"
_REQUIRED = {
    STUDY_LEVEL: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
    ),
    SERIES_LEVEL: (
        "Modality",
        "SeriesDescription",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    INSTANCE_LEVEL: ("InstanceNumber",),
}
_REQUIRED_AT = {level: _attributes(_REQUIRED[level]) for level in LEVELS}


def required(levels: Sequence[Level]) -> list[QueryAttribute]:
    """List what the rows of a search have even if it is empty (PS3.18 tables 10.6.3-3 to -5)."""
    last = levels[-1]
    return [a for lv in levels for a in _REQUIRED_AT[lv] if lv is last or a.is_indexed]


def returned(levels: Sequence[Level]) -> list[QueryAttribute]:
    """List the attributes that a search returns by default; the last level is the one searched.

    Only attributes of that level are read from files; those of the others come from the index.
    """
    indexed = [a for level in levels for a in _INDEXED_AT[level]]
    return [*indexed, *_FROM_FILES[levels[-1]]]


def added_by_all(levels: Iterable[Level]) -> list[QueryAttribute]:
    """List what `includefield=all` adds to them; for instances, all attributes are added."""
    return [a for level in levels for a in _ALL_FROM_FILES[level]]
