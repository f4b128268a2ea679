"""Proxies: which one a request takes, and how their URLs are read."""

from __future__ import annotations

import os
import pickle

import pytest

from dcmweb.errors import UsageError
from dcmweb.http.proxies import Proxies
from dcmweb.http.routes import RoutedAdapter
from dcmweb.http.tls import Tls
from dcmweb.settings import Settings
from dcmweb.settings.proxy_url import parse_proxy, without_login

URL = "http://server.example/dicomweb"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example", "http://proxy.example"),
        ("http://proxy.example:3128/proxy.pac", "http://proxy.example:3128"),
        ("HTTP://proxy.example:3128/", "http://proxy.example:3128"),
        ("https://[::1]:3128", "https://[::1]:3128"),
        ("jo:p%40ss@proxy.example:3128", "http://jo:p%40ss@proxy.example:3128"),
        ("jo:p@ss@proxy.example:3128", "http://jo:p@ss@proxy.example:3128"),
        ("SOCKS5H://proxy.example", "socks5h://proxy.example"),
        ("socks4a://proxy.example:1080", "socks4a://proxy.example:1080"),
    ],
)
def test_urls_of_proxies(given: str, read: str) -> None:
    assert parse_proxy(given, "proxy") == read


@pytest.mark.parametrize(
    "given",
    ["", "http://", "ftp://h", "http://h:port", "http://jo/p@h", "http://h?q", "jo:p#s@h", "a b"],
)
def test_what_is_not_the_url_of_a_proxy(given: str) -> None:
    with pytest.raises(UsageError, match="proxy") as raised:
        parse_proxy(given, "proxy")
    assert "p#s" not in str(raised.value)


def test_the_password_of_a_proxy_does_not_go_along_with_settings() -> None:
    settings = Settings(base_url=URL, proxy="jo:secret@proxy.example:3128")
    assert settings.proxy == "http://jo:secret@proxy.example:3128"
    assert pickle.loads(pickle.dumps(settings)).proxy == "http://proxy.example:3128"
    assert "secret" not in repr(settings)
    assert "secret" not in repr(Proxies(settings).of(URL))
    assert without_login("socks5://jo:secret@[::1]:1") == "socks5://[::1]:1"


def chosen(url: str, **given: str) -> tuple[str, str]:
    found = Proxies(Settings(base_url=URL, **given)).of(url)  # type: ignore[arg-type]
    return (found.url, found.name) if found else ("", "")


def test_the_option_counts_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://other.example:1")
    monkeypatch.setenv("NO_PROXY", "server.example")
    assert chosen(URL, proxy="proxy.example:3128") == ("http://proxy.example:3128", "--proxy")
    assert chosen(URL) == ("", "")


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
def test_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    name = name.lower() if os.name == "nt" else name  # names have no case there
    monkeypatch.setenv(name, "SOCKS5://127.0.0.1:9")
    assert chosen(URL) == ("socks5://127.0.0.1:9", name)
    monkeypatch.setenv(name, "ftp://127.0.0.1:9")
    with pytest.raises(UsageError, match=f"^{name} begins with ftp://"):
        chosen(URL)


@pytest.mark.parametrize(
    ("left_out", "is_proxied"),
    [
        ("server.example", False),
        (".example", False),
        ("server.example:80", True),  # requests compares what the URL has
        ("10.0.0.0/8", True),
        ("other.example, server.example", False),
        ("*", False),
        ("", True),
    ],
)
def test_hosts_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch, left_out: str, is_proxied: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("NO_PROXY", left_out)
    assert bool(chosen(URL)[0]) is is_proxied


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ("", {}),
        ("jo:p%40ss%2F%C3%A9@", {"Proxy-Authorization": "Basic am86cEBzcy/DqQ=="}),
        ("jo@", {"Proxy-Authorization": "Basic am86"}),
        ("jo:%C5%82@", {"Proxy-Authorization": "Basic am86xYI="}),  # not in Latin-1
    ],
)
def test_the_password_of_a_proxy_is_utf_8(login: str, sent: dict[str, str]) -> None:
    settings = Settings(base_url=URL)
    adapter = RoutedAdapter(Tls(settings), Proxies(settings))
    assert adapter.proxy_headers(f"http://{login}proxy.example:3128") == sent


def test_the_proxy_of_a_host_is_found_again_where_variables_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://one.example:1")
    proxies = Proxies(Settings(base_url=URL))

    def found(url: str) -> str:
        proxy = proxies.of(url)
        return proxy.url if proxy else ""

    assert [found(URL), found(URL), found("http://other.example/")] == ["http://one.example:1"] * 3
    monkeypatch.setenv("NO_PROXY", "server.example")
    assert [found(URL), found("http://other.example/")] == ["", "http://one.example:1"]
    monkeypatch.setenv("HTTP_PROXY", "http://two.example:2")
    assert found("http://other.example/") == "http://two.example:2"


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2", "metadata.google.internal"])
@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
def test_no_proxy_is_asked_for_the_identity_of_this_machine(
    host: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://other.example:3128")
    proxies = Proxies(Settings(base_url="http://pacs.example", proxy=proxy))
    assert proxies.of(f"http://{host}/latest") is None
    assert proxies.of("http://pacs.example/") is not None


def test_of_many_hosts_few_are_remembered() -> None:
    proxies = Proxies(Settings(base_url="http://pacs.example", proxy="http://proxy.example"))
    for number in range(1000):
        assert proxies.of(f"http://h{number}.example/")
    assert len(proxies._found) <= 100
