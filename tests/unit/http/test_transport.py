"""What the environment says of proxies and certificates."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from dcmweb.errors import UsageError
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings

URL = "http://server.example/dicomweb"


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    found = Transport(Settings(base_url=URL))
    yield found
    found.close()


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4"])
def test_a_socks_proxy_without_its_package_is_named(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    monkeypatch.setenv(name, f"{scheme}://127.0.0.1:9")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=f"(?i:{name})" + r" names a SOCKS proxy.*PySocks"):
        transport.environment(URL)
    monkeypatch.setenv("NO_PROXY", "server.example")
    transport.environment(URL)


def test_a_socks_proxy_with_its_package_is_used(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert transport.environment(URL)["proxies"]["all"] == "socks5://127.0.0.1:9"


def test_certificates_of_the_environment_do_not_matter_without_tls(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/ca.pem")
    transport.environment(URL)
    with pytest.raises(UsageError, match="REQUESTS_CA_BUNDLE=/no/such/ca"):
        transport.environment(URL.replace("http:", "https:"))
