"""Where a long-running operation is asked for."""

from __future__ import annotations

import pytest

from dcmweb.errors import ProtocolError
from dcmweb.transactions.delete.operations import operation_url

GOOGLE = "https://healthcare.googleapis.com"
NAME = "projects/p/locations/l/datasets/d/operations/123"
STORE = "projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"


@pytest.mark.parametrize(
    ("base_url", "name", "url"),
    [
        (f"{GOOGLE}/v1/{STORE}", NAME, f"{GOOGLE}/v1/{NAME}"),
        (f"{GOOGLE}/v1beta1/{STORE}", NAME, f"{GOOGLE}/v1beta1/{NAME}"),
        (f"{GOOGLE}/v1/{STORE}", f"/{NAME}/", f"{GOOGLE}/v1/{NAME}"),
        (f"https://proxy:8443/google/v1/{STORE}", NAME, f"https://proxy:8443/google/v1/{NAME}"),
        (f"http://localhost:8080/{STORE}", NAME, f"http://localhost:8080/{NAME}"),
        (f"http://localhost/emulator/{STORE}", NAME, f"http://localhost/emulator/{NAME}"),
        ("https://azure/v2", "operations/1", "https://azure/v2/operations/1"),
        ("http://localhost:8042/dicom-web", "op", "http://localhost:8042/op"),
        ("http://localhost/vna/rs", "op", "http://localhost/op"),
        ("http://h/v1", "a b?c#d", "http://h/v1/a%20b%3Fc%23d"),
        ("http://h/v1", "https://evil/x", "http://h/v1/https%3A//evil/x"),
        ("http://h", "//evil/x", "http://h/evil/x"),
        ("http://h/v1", "%2e%2e/x", "http://h/v1/%252e%252e/x"),
        ("http://h/v1", "@evil", "http://h/v1/%40evil"),
    ],
)
def test_an_operation_is_asked_for_at_the_version_of_the_service(
    base_url: str, name: str, url: str
) -> None:
    assert operation_url(base_url, name) == url


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/./b", "..", "a/..", "a\ud800", "a\nb"])
def test_an_operation_outside_the_service_is_not_asked_for(name: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be asked for"):
        operation_url("https://healthcare.googleapis.com/v1/projects/p", name)
