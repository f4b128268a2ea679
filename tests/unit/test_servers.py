"""The table of servers: which one an address or an answer is of."""

from __future__ import annotations

from typing import Any

import pytest

from dcmweb.errors import UsageError
from dcmweb.settings import MIB, Settings
from dcmweb.settings.checks import read_size
from dcmweb.settings.servers import BY_NAME, OTHER, SERVERS, Recognition, guess
from dcmweb.transactions.store.dialect import Dialect


@pytest.mark.parametrize(
    ("url", "name"),
    [
        *((server.base_url, server.name) for server in SERVERS if server.address),
        ("https://healthcare.googleapis.com/v1beta1/projects/p/x/dicomWeb", "google"),
        ("https://a-b.dicom.azurehealthcareapis.com/v1", "azure"),
        ("https://dicom-medical-imaging-fips.us-west-2.amazonaws.com/datastore/1", "aws"),
        ("https://demo.kheops.online/api", "kheops"),
        ("https://healthcare.googleapis.com.example.com/dicomWeb", "other"),
        ("https://example.com/dicomweb", "other"),
        ("https://example.com/dicom-web-server", "other"),
        ("https://example.com/rs", "other"),
    ],
)
def test_an_address_is_a_first_guess(url: str, name: str) -> None:
    for host in ("HOST", "WORKSPACE-SERVICE"):
        url = url.replace(host, "kheops.example" if name == "kheops" else "one.example")
    if name == "azure":
        url = url.replace("one.example.dicom", "one.dicom")
    assert guess(url).name == name


def test_answers_show_what_a_server_is() -> None:
    found = Recognition("", "http://example.com/dicomweb")
    found.note_product("nginx")
    found.note_error(b"no")
    assert found.server is OTHER
    found.note_product("Microsoft-IIS/10.0")
    assert found.server.name == "iis"
    found.note_error(b'{"OrthancError": "no"}')  # behind it
    assert found.server.name == "orthanc"
    found.note_product("Microsoft-IIS/10.0")
    assert found.server.name == "orthanc"


def test_what_the_user_named_stays() -> None:
    found = Recognition("azure", "http://example.com/dicom-web")
    found.note_product("Microsoft-IIS/10.0")
    found.note_error(b'{"OrthancError": "no"}')
    assert found.server is BY_NAME["azure"]


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, 5000),
        ({"server": "azure"}, 200),
        ({"server": "azure", "page_size": 300}, 300),
        ({"base_url": "https://x.dicom.azurehealthcareapis.com/v2"}, 200),
        ({"base_url": "https://x.dicom.azurehealthcareapis.com/v2", "server": "other"}, 5000),
    ],
)
def test_pages_are_as_large_as_the_server_takes(given: dict[str, object], page: int) -> None:
    settings = Settings(**{"base_url": "http://example.com", **given})  # type: ignore[arg-type]
    assert settings.page_size == page


@pytest.mark.parametrize(
    "wrong", [{"server": "pacs"}, {"stow_form": "xml"}, {"rate_limit": 1}, {"page_size": -1}]
)
def test_what_cannot_be_is_a_usage_error(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Settings(base_url="http://example.com", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({}, 8 * MIB),
        ({"batch_bytes": 10_000}, 10_000),
        ({"batch_bytes": 5 * 10**9}, 10**9),
        ({"batch_bytes": 5 * 10**9, "server": "other"}, 5 * 10**9),
    ],
)
def test_requests_are_not_larger_than_the_server_takes(given: dict[str, Any], most: int) -> None:
    settings = Settings(**{"base_url": "http://example.com", "server": "aws", **given})
    dialect = Dialect(settings, print, Recognition(settings.server, settings.base_url).server)
    assert dialect.batch_bytes == most


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000), ("500K", 500_000), ("50M", 50_000_000), ("50M/s", 50_000_000),
        ("1.5Mi", 1_572_864), ("8MiB", 8_388_608), ("1 GB", 10**9), (2048, 2048),
    ],
)  # fmt: skip
def test_sizes_have_units(text: object, size: int) -> None:
    assert read_size("it", text) == size


@pytest.mark.parametrize("text", ["", "M", "-5", "0", "5X", "nan", "1e9", True, None, 1.5])
def test_other_sizes_are_refused(text: object) -> None:
    with pytest.raises(UsageError):
        read_size("it", text)
