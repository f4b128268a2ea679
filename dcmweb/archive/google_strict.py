"""What the Cloud Healthcare API refuses and this archive otherwise accepts: `serve --strict`.

Sources: the DICOM conformance statement of the Cloud Healthcare API (sections Store, Search,
Retrieve), its REST reference for the system parameters, and its guide to updating DICOM data.
"""

from __future__ import annotations

from collections.abc import Mapping

from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Request

from dcmweb.archive.query import QueryRules
from dcmweb.archive.search import RowRules
from dcmweb.dicom.element_walk import DEFLATED, EXPLICIT_VR_BIG_ENDIAN
from dcmweb.dicom.json_model import Dataset, bulk_references, text, values
from dcmweb.dicom.resources import Level
from dcmweb.dicom.tags import (
    PIXEL_DATA,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
    TRANSFER_SYNTAX_UID,
)

_STUDY_FILTERS = (
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDate",
)
_SERIES_FILTERS = (*_STUDY_FILTERS, "SeriesInstanceUID", "Modality")
_SYSTEM_PARAMETERS = (
    "$.xgafv",
    "access_token",
    "alt",
    "callback",
    "fields",
    "key",
    "oauth_token",
    "prettyPrint",
    "quotaUser",
    "uploadType",
    "upload_protocol",
    "userProject",
)
STRICT_QUERIES = QueryRules(
    is_literal=True,
    filters={
        Level.STUDIES: _STUDY_FILTERS,
        Level.SERIES: _SERIES_FILTERS,
        Level.INSTANCES: (*_SERIES_FILTERS, "SOPInstanceUID"),
    },
    parameters=_SYSTEM_PARAMETERS,
)
_STUDY_ATTRIBUTES = (
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "InstanceAvailability",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
)
_SERIES_ATTRIBUTES = (
    "SpecificCharacterSet",
    "Modality",
    "TimezoneOffsetFromUTC",
    "SeriesDescription",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
)
_INSTANCE_ATTRIBUTES = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceAvailability",
    "TimezoneOffsetFromUTC",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)
STRICT_ROWS = RowRules(
    all_levels=False,
    empty_attributes=False,
    file_meta=True,
    by_default={
        Level.STUDIES: _STUDY_ATTRIBUTES,
        Level.SERIES: _SERIES_ATTRIBUTES,
        Level.INSTANCES: _INSTANCE_ATTRIBUTES,
    },
)
RENDERED_TYPES = ("image/jpeg", "image/png")

_REQUIRED = {
    SPECIFIC_CHARACTER_SET: "SpecificCharacterSet",
    TRANSFER_SYNTAX_UID: "TransferSyntaxUID",
    SOP_CLASS_UID: "SOPClassUID",
    STUDY_INSTANCE_UID: "StudyInstanceUID",
    SERIES_INSTANCE_UID: "SeriesInstanceUID",
    SOP_INSTANCE_UID: "SOPInstanceUID",
}
_BULK_VRS = ("OB", "OW", "UN")


def check_endpoint(endpoint: str, request: Request, args: Mapping[str, str]) -> None:
    """Reject transactions that the API does not have."""
    if endpoint == "thumbnail":
        raise NotFound("thumbnails are not supported")
    if endpoint in ("update", "patch") and args["version"] != "v1beta1":
        raise NotFound("updating instances is part of v1beta1 only")
    if endpoint != "rendered":
        return
    if "instance" not in args:
        raise NotFound("rendering is supported for instances and frames only")
    others = request.args.keys() - {"viewport", "accept", *_SYSTEM_PARAMETERS}
    if others:
        raise BadRequest(f"unsupported parameters of a rendered image: {', '.join(sorted(others))}")


def check_metadata(metadata: Dataset) -> None:
    """Check an instance that is stored as JSON; raises BadRequest with the reason."""
    for tag, keyword in _REQUIRED.items():
        if not text(metadata, tag):
            raise BadRequest(f"{keyword} is required")
    if values(metadata, SPECIFIC_CHARACTER_SET) != ["ISO_IR 192"]:
        raise BadRequest("SpecificCharacterSet must be ISO_IR 192")
    syntax = text(metadata, TRANSFER_SYNTAX_UID)
    if syntax in (EXPLICIT_VR_BIG_ENDIAN, DEFLATED):
        raise BadRequest(f"transfer syntax {syntax} is not supported for JSON metadata")
    references = [str(element.get("vr", "")) for _, element in bulk_references(metadata)]
    if len(references) > 1:
        raise BadRequest("an instance can have one BulkDataURI only")
    if any(vr not in _BULK_VRS for vr in references):
        raise BadRequest(f"a BulkDataURI must have one of the VRs {', '.join(_BULK_VRS)}")
    if "InlineBinary" in metadata.get(PIXEL_DATA, {}):
        raise BadRequest("PixelData must be a BulkDataURI, not InlineBinary")
