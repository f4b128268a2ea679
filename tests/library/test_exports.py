"""What the library exports: few names, each documented, imported when they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import dcmweb
from dcmweb import Client

EXPORTED = {
    "AuthError", "Authentication", "Client", "Credentials", "DcmwebError", "Finding",
    "Interrupted", "ItemsFailed", "LocalError", "NetworkError", "NothingMatched", "Outcome",
    "Progress", "ProtocolError", "Refused", "Rows", "Run", "SchemeArguments", "SearchRows",
    "Settings", "Status", "Summary", "Transfer", "UsageError", "Verdict", "Work", "WorkDone",
    "__version__", "perform",
}  # fmt: skip
CALLS = {
    "base_url", "check", "close", "contact_sheet", "copy", "delete", "from_profile", "metadata",
    "metadata_xml", "of", "ping", "retrieve", "search", "store", "store_metadata", "wait",
}  # fmt: skip


def test_the_exported_names_are_these() -> None:
    assert set(dcmweb.__all__) == EXPORTED
    assert dcmweb.__all__ == sorted(dcmweb.__all__)
    assert set(dir(dcmweb)) == EXPORTED


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_each_is_there_and_documented(name: str) -> None:
    exported = getattr(dcmweb, name)
    assert name == "__version__" or inspect.getdoc(exported)


def test_what_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        dcmweb.nonsense  # noqa: B018


def test_the_calls_of_a_client_are_these_and_documented() -> None:
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == CALLS
    assert all(inspect.getdoc(getattr(Client, name)) for name in public)


def test_importing_costs_nothing() -> None:
    code = "import sys; before = set(sys.modules); import dcmweb; print(set(sys.modules) - before)"
    printed = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "{'dcmweb'}"
