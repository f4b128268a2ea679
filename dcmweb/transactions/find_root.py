"""Finds the root of a DICOMweb service near a BASE_URL that is not one.

People give the address of the server, as of Orthanc's own API, or of a search. Once a request has
failed in a way that suggests this, a few usual addresses on the same origin are tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from dcmweb.dicom import json_model
from dcmweb.dicom.tags import STUDY_INSTANCE_UID
from dcmweb.errors import DcmwebError
from dcmweb.http.media_types import DICOM_JSON
from dcmweb.http.response import NO_CONTENT, Response
from dcmweb.transactions.context import RunContext

MOST_REQUESTS = 6
LARGEST = 1024 * 1024  # of an answer that is looked at; one row is asked for
# Of Orthanc; of many others; of Google Cloud Healthcare; of dcm4chee, below its AE.
_BELOW = ("dicom-web", "dicomweb", "dicomWeb", "rs")
_AT_ORIGIN = ("dicom-web", "dicomweb")


def find_root(context: RunContext, failed: DcmwebError) -> str:
    """Return the URL of a DICOMweb service near BASE_URL, "" if there is none, or if it is one.

    `failed` is the error of the request that suggests that BASE_URL is wrong.
    """
    base = context.settings.base_url
    candidates = [base] if failed.request != f"GET {base}/studies" else []
    candidates += [url for url in dict.fromkeys(_near(base)) if url != base]
    for url in candidates[:MOST_REQUESTS]:
        if _is_root(context, url):
            return url if url != base else ""
    return ""


def _near(base: str) -> Iterator[str]:
    """Yield addresses at which services usually are, by an address that is near one."""
    parts = urlsplit(base)
    resource = re.search(r"/(studies|series|instances)(/|$)", parts.path)
    if resource:
        yield urlunsplit((parts.scheme, parts.netloc, parts.path[: resource.start()], "", ""))
    yield from (f"{base}/{name}" for name in _BELOW)
    if parts.path:
        yield from (f"{parts.scheme}://{parts.netloc}/{name}" for name in _AT_ORIGIN)


def _is_root(context: RunContext, url: str) -> bool:
    try:
        with context.session.probe(f"{url}/studies?limit=1", accept=DICOM_JSON) as response:
            return response.status in NO_CONTENT or _has_studies(response)
    except DcmwebError:
        return False


def _has_studies(response: Response) -> bool:
    if response.status != 200 or "json" not in response.media_type.name:
        return False
    studies = json_model.parse_json(response.content(LARGEST))
    if not studies:
        return response.media_type.name == DICOM_JSON
    return STUDY_INSTANCE_UID in studies[0]
