"""Hints for searches that find nothing, as keys often mean something else than people expect."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dcmweb.dicom.dictionary import attributes
from dcmweb.dicom.resources import Level, parse_search
from dcmweb.errors import UsageError
from dcmweb.transactions.search.parameters import Pair

# Attributes of series and instances, and those of studies that say the same (PS3.4 C.3.4).
_OF_STUDIES = {
    "Modality": "ModalitiesInStudy",
    "SOPClassUID": "SOPClassesInStudy",
}
_OF_SERIES = (
    *("SeriesDescription", "SeriesNumber", "SeriesDate", "SeriesTime", "BodyPartExamined"),
    *("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "ProtocolName"),
    *("SeriesInstanceUID", "Modality"),
)
_OF_INSTANCES = ("InstanceNumber", "SOPInstanceUID", "SOPClassUID", "Rows", "Columns")
# Texts that people know in part. They match as a whole without a wildcard (PS3.4 C.2.2.2.1).
_KNOWN_IN_PART = ("Description", "Comments", "InstitutionName", "ProtocolName")


def hint_for_nothing(path: str, pairs: Sequence[Pair]) -> str:
    """Say what may be wrong with a search that found nothing; "" if nothing is conspicuous.

    The hint has keys, but no values, which may be a patient's.
    """
    level = parse_search(path)[1]
    parameters = {key.lower(): value for key, value in pairs}
    named = [(_name(key), _vr(key), value) for key, value in pairs]
    is_fuzzy = parameters.get("fuzzymatching", "").lower() == "true"
    for name, vr, value in named:
        if hint := _of_another_level(name, level):
            return hint
        if vr == "CS" and value != value.upper():
            return f"values of {name} are in upper case"
    for name, vr, value in named:
        is_whole = value and not re.search(r"[*?\\]", value) and value != '""'
        if vr == "PN" and is_whole and not is_fuzzy:
            return (
                f"{name} matches whole names; for a part of one, use wildcards, as in {name}=Doe*"
            )
    if parameters.get("offset", "0").strip("0 "):
        return "there may be fewer results than offset"
    for name, _, value in named:
        if name.endswith(_KNOWN_IN_PART) and value and not re.search(r"[*?\\]", value):
            return f"{name} matches whole values; for a part of one, use wildcards: {name}=*TEXT*"
    return ""


def _of_another_level(name: str, level: Level) -> str:
    """Say where to search for an attribute that a level does not have."""
    if level is Level.STUDIES and name in _OF_STUDIES:
        return f"{name} is not an attribute of studies; use {_OF_STUDIES[name]}"
    if level is Level.STUDIES and name in _OF_SERIES:
        return f"{name} is an attribute of series; search series"
    if level is not Level.INSTANCES and name in _OF_INSTANCES:
        return f"{name} is an attribute of instances; search instances"
    return ""


def _name(key: str) -> str:
    try:
        return attributes(key)[-1].name if "." not in key else ""
    except UsageError:
        return ""


def _vr(key: str) -> str:
    try:
        return attributes(key)[-1].vr
    except UsageError:
        return ""
