"""Attributes by keyword and tag (PS3.6 section 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from dcmweb.errors import UsageError

# The attributes that searches use most, since pydicom takes long to load.
_USUAL: Mapping[str, tuple[str, str]] = {
    "AccessionNumber": ("00080050", "SH"),
    "BodyPartExamined": ("00180015", "CS"),
    "Columns": ("00280011", "US"),
    "InstanceNumber": ("00200013", "IS"),
    "InstitutionName": ("00080080", "LO"),
    "Manufacturer": ("00080070", "LO"),
    "ModalitiesInStudy": ("00080061", "CS"),
    "Modality": ("00080060", "CS"),
    "NumberOfFrames": ("00280008", "IS"),
    "NumberOfSeriesRelatedInstances": ("00201209", "IS"),
    "NumberOfStudyRelatedInstances": ("00201208", "IS"),
    "NumberOfStudyRelatedSeries": ("00201206", "IS"),
    "PatientBirthDate": ("00100030", "DA"),
    "PatientID": ("00100020", "LO"),
    "PatientName": ("00100010", "PN"),
    "PatientSex": ("00100040", "CS"),
    "PerformedProcedureStepStartDate": ("00400244", "DA"),
    "PerformedProcedureStepStartTime": ("00400245", "TM"),
    "ProtocolName": ("00181030", "LO"),
    "ReferringPhysicianName": ("00080090", "PN"),
    "Rows": ("00280010", "US"),
    "SOPClassUID": ("00080016", "UI"),
    "SOPInstanceUID": ("00080018", "UI"),
    "SeriesDate": ("00080021", "DA"),
    "SeriesDescription": ("0008103E", "LO"),
    "SeriesInstanceUID": ("0020000E", "UI"),
    "SeriesNumber": ("00200011", "IS"),
    "SeriesTime": ("00080031", "TM"),
    "StationName": ("00081010", "SH"),
    "StudyDate": ("00080020", "DA"),
    "StudyDescription": ("00081030", "LO"),
    "StudyID": ("00200010", "SH"),
    "StudyInstanceUID": ("0020000D", "UI"),
    "StudyTime": ("00080030", "TM"),
}
_DICOM_ROOT = "1.2.840.10008."  # which the UIDs of the standard begin with
_KEYWORDS = {tag: keyword for keyword, (tag, _) in _USUAL.items()}
SIMILAR = 0.85  # ratio from which a name is suggested for a mistyped one; 1 means equal
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


class Attribute(NamedTuple):
    """An attribute: its tag as eight hexadecimal digits; keyword and VR, "" where not known."""

    tag: str
    keyword: str = ""
    vr: str = ""

    @property
    def name(self) -> str:
        """The keyword, or the tag where there is none."""
        return self.keyword or self.tag


def attribute(name: str) -> Attribute:
    """Find an attribute by keyword, or by tag: `00100010`, `0010,0010` or `(0010,0010)`.

    Any tag is accepted. Raises UsageError for an unknown keyword, and suggests a similar one.
    """
    if name in _USUAL:
        tag, vr = _USUAL[name]
        return Attribute(tag, name, vr)
    if match := _TAG.fullmatch(name):
        return attribute_of((match[1] + match[2]).upper())
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(name) if name else None
    if number is None:
        raise UsageError(f"there is no attribute {name!r}", _hint(name))
    return attribute_of(f"{number:08X}")


def attribute_of(tag: str) -> Attribute:
    """Return the attribute of a tag, which need not be in PS3.6."""
    if keyword := _KEYWORDS.get(tag):
        return Attribute(tag, keyword, _USUAL[keyword][1])
    from pydicom.datadict import dictionary_VR, keyword_for_tag

    try:
        return Attribute(tag, keyword_for_tag(int(tag, 16)), dictionary_VR(int(tag, 16))[:2])
    except KeyError:
        return Attribute(tag)


def attributes(path: str) -> tuple[Attribute, ...]:
    """Find the attributes of a path into sequences, such as `RequestAttributesSequence.StudyID`."""
    return tuple(attribute(name) for name in path.split("."))


def uid_name(uid: str) -> str:
    """Return the name of a UID that PS3.6 registers; other UIDs unchanged."""
    if not uid.startswith(_DICOM_ROOT):
        return uid
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    return UID(uid, validation_mode=IGNORE).name


def _hint(name: str) -> str:
    """Suggest the keyword that was meant."""
    from difflib import get_close_matches

    from pydicom.datadict import keyword_dict

    known = {keyword.lower(): keyword for keyword in keyword_dict}
    if close := get_close_matches(name.lower(), known, n=1, cutoff=SIMILAR):
        return f"did you mean {known[close[0]]}?"
    return "write a keyword of PS3.6, such as PatientID, or a tag, such as 00100020"
