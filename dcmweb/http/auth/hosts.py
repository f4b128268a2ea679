"""Knows by its address whether a server is one whose own credentials are found by themselves.

These need no library of Amazon, Google or Azure, which are slow to import.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_AWS = (
    r"(?:[a-z0-9-]+\.)*(?:[a-z]+-)?medical-imaging(?:-fips)?\.([a-z0-9-]+)(?:\.vpce)?"
    r"\.amazonaws\.com(?:\.cn)?"
)
_AZURE = ".dicom.azurehealthcareapis.com"


def is_aws(url: str) -> bool:
    """Return True if a URL leads to AWS HealthImaging over https."""
    return urlsplit(url).scheme == "https" and bool(aws_region(url))


def aws_region(url: str) -> str:
    """Return the region in the host name of AWS HealthImaging; "" for other hosts."""
    found = re.fullmatch(_AWS, (urlsplit(url).hostname or "").lower())
    return found[1] if found else ""


def is_azure(url: str) -> bool:
    """Return True if a URL leads to a DICOM service of Azure over https."""
    parts = urlsplit(url)
    return parts.scheme == "https" and (parts.hostname or "").endswith(_AZURE)


def is_google(url: str) -> bool:
    """Return True if a URL leads to Google over https."""
    return urlsplit(url).scheme == "https" and is_google_host(url)


def is_google_host(url: str) -> bool:
    """Return True if a URL leads to Google, encrypted or not."""
    host = urlsplit(url).hostname or ""
    return host == "googleapis.com" or host.endswith(".googleapis.com")
