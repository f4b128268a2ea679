"""The environment of these tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the variables of this machine say of credentials."""
    for name in list(os.environ):
        if name.startswith(("DCMWEB_", "GOOGLE_", "GCE_", "AZURE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
