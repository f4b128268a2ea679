"""The Retrieve transaction for metadata (PS3.18 section 10.4.1.1.2)."""

from __future__ import annotations

from dcmweb.dicom.model import Dataset
from dcmweb.dicom.paths import Resource
from dcmweb.errors import NothingMatched
from dcmweb.transactions.client import Client
from dcmweb.transactions.qido import fetch_page


def metadata(client: Client, resource: Resource) -> list[Dataset]:
    """Get the metadata of all instances of a study or series, or of one, as DICOM JSON.

    Raises NothingMatched if there is no such resource.
    """
    rows = fetch_page(client, f"{resource}/metadata").rows
    if not rows:
        raise NothingMatched(f"there is no metadata of {resource}")
    return rows
