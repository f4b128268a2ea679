"""Proxies: how they are named, what they are told, and what they answer."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from dcmweb.errors import ExitCode
from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.certificates import HOSTS, context_of
from tests.functional.origin import Answer, Request, serving
from tests.functional.proxies import proxying

LOGIN, ENCODED, WRONG = "jo:p@ss/é", "jo:p%40ss%2F%C3%A9", "jo:wr%40ng"
TLS = (False, True)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(tmp_path: Path, authority: trustme.CA) -> list[str]:
    """The options that trust the servers of these tests."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return ["--retries", "0", "--ca-bundle", str(path)]


@pytest.fixture
def contexts(authority: trustme.CA) -> dict[bool, ssl.SSLContext | None]:
    return {False: None, True: context_of(authority.issue_cert(*HOSTS, "pacs.invalid"))}


def nothing(_: Request) -> Answer:
    return json_answer([])


Contexts = dict[bool, ssl.SSLContext | None]


@pytest.mark.parametrize("is_tls", TLS)
@pytest.mark.parametrize("scheme", ["http", "", "socks5h"])
@pytest.mark.parametrize("login", ["", LOGIN])
def test_the_option_names_a_proxy(
    dcmweb: Dcmweb, trusting: list[str], contexts: Contexts, is_tls: bool, scheme: str, login: str
) -> None:
    kind = "socks" if scheme == "socks5h" else "http"
    with serving(nothing, contexts[is_tls]) as origin, proxying(kind, login) as proxy:
        url = proxy.url(scheme or "http", ENCODED if login else "")
        given = url if scheme else url.removeprefix("http://")
        result = dcmweb(*trusting, "--proxy", given, "--debug", origin.url, "search", "--count")
    assert (result.code, result.out) == (0, "0\n")
    assert len(proxy.targets) == 1
    assert len(origin.requests) == 1
    assert "proxy-authorization" not in origin.requests[0].headers
    assert "p@ss" not in result.err
    assert "p%40ss" not in result.err


@pytest.mark.parametrize("is_tls", TLS)
@pytest.mark.parametrize("name", ["HTTP(S)_PROXY", "ALL_PROXY"])
def test_the_environment_names_a_proxy(
    dcmweb: Dcmweb, trusting: list[str], contexts: Contexts, is_tls: bool, name: str
) -> None:
    variable = name.replace("(S)", "S" if is_tls else "")
    with serving(nothing, contexts[is_tls]) as origin, proxying("http") as proxy:
        environment = {variable: proxy.url("http")}
        assert dcmweb(*trusting, origin.url, "search", env=environment).code == 0
        assert len(proxy.targets) == 1
        named = origin.url.replace("127.0.0.1", "localhost")
        for url, left_out in (
            (origin.url, "10.0.0.0/8, 127.0.0.1"),
            (origin.url, "127.0.0.0/8"),
            (named, "localhost"),
            (named, f"localhost:{origin.port}"),
            (named, "*"),
        ):
            environment["NO_PROXY"] = left_out
            assert dcmweb(*trusting, url, "search", env=environment).code == 0
        assert len(proxy.targets) == 1


@pytest.mark.parametrize(
    ("scheme", "asked"), [("socks5h", "pacs.invalid"), ("socks5", "127.0.0.1")]
)
def test_who_looks_up_the_name_of_the_host(
    dcmweb: Dcmweb, trusting: list[str], contexts: Contexts, scheme: str, asked: str
) -> None:
    with serving(nothing, contexts[True]) as origin, proxying("socks") as proxy:
        name = "pacs.invalid" if scheme == "socks5h" else "localhost"
        url = origin.url.replace("127.0.0.1", name)
        result = dcmweb(*trusting, "--proxy", proxy.url(scheme), url, "search")
    assert result.code == 0
    assert proxy.targets[0].rpartition(":")[0] in (asked, "::1")


@pytest.mark.parametrize("is_tls", TLS)
@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("socks", "socks5h")])
@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_proxy_that_wants_a_password(
    dcmweb: Dcmweb, is_tls: bool, kind: str, scheme: str, way: str
) -> None:
    server = f"{'https' if is_tls else 'http'}://pacs.invalid/x"
    variable = "HTTPS_PROXY" if is_tls else "HTTP_PROXY"
    for login, words in (("", "asks for a user and password"), (WRONG, "refuses the user name")):
        with proxying(kind, LOGIN) as proxy:
            url = proxy.url(scheme, login)
            options = ["--proxy", url] if way == "option" else []
            environment = {variable: url} if way == "variable" else {}
            result = dcmweb(*options, server, "search", env=environment)
        assert result.code == ExitCode.NETWORK
        assert len(result.err.splitlines()) == 1  # no retries
        assert f"the proxy {scheme}://127.0.0.1:{proxy.port} {words}" in result.last
        assert ("--proxy" if way == "option" else variable) in result.last
        assert "--user" not in result.err
        assert "wr" not in result.last.replace("write", "")


@pytest.mark.parametrize(
    ("kind", "scheme", "answer", "words"),
    [
        ("http", "http", 403, "refuses to connect to pacs.invalid: 403"),
        ("http", "http", 502, "cannot connect to pacs.invalid: 502"),
        ("http", "http", 503, "cannot connect to pacs.invalid: 503"),
        ("socks", "socks5h", 2, "refuses to connect to pacs.invalid: connection not allowed"),
        ("socks", "socks5h", 4, "cannot connect to pacs.invalid: host unreachable"),
        ("socks", "socks5h", 5, "cannot connect to pacs.invalid: connection refused"),
        ("http", "socks5h", 0, "broke off: "),
    ],
)
def test_a_proxy_that_does_not_connect(
    dcmweb: Dcmweb, kind: str, scheme: str, answer: int, words: str
) -> None:
    with proxying(kind, answer=answer) as proxy:
        options = ["--retries", "0", "--connect-timeout", "1", "--proxy", proxy.url(scheme)]
        result = dcmweb(*options, "https://pacs.invalid/x", "search")
    assert result.code == ExitCode.NETWORK
    assert f"the proxy {scheme}://127.0.0.1:{proxy.port} {words}" in result.last


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h", "socks4"])
@pytest.mark.parametrize("server", ["http", "https"])
def test_a_proxy_that_is_not_there(dcmweb: Dcmweb, scheme: str, server: str) -> None:
    options = ["--retries", "0", "--proxy", f"{scheme}://jo:secret@127.0.0.1:9"]
    result = dcmweb(*options, f"{server}://127.0.0.1:10/x", "search")
    assert result.code == ExitCode.NETWORK
    assert f"the proxy {scheme}://127.0.0.1:9 cannot be reached: Connection refused" in result.last
    assert "secret" not in result.err


def test_a_status_that_may_be_the_proxy_s_own(dcmweb: Dcmweb) -> None:
    with proxying("http", answer=503) as proxy:
        options = ["--retries", "0", "--proxy", proxy.url("http")]
        result = dcmweb(*options, "http://pacs.invalid/x", "search")
    assert result.code == ExitCode.REFUSED
    assert f"it may be the proxy http://127.0.0.1:{proxy.port} that answers this" in result.last


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("is_tls", TLS)
def test_many_requests_go_through_one_proxy(
    dcmweb: Dcmweb,
    tmp_path: Path,
    trusting: list[str],
    contexts: Contexts,
    scheme: str,
    is_tls: bool,
) -> None:
    files = make_series(3)
    write_files(tmp_path / "in", files)
    archive = Archive()
    kind = "socks" if scheme == "socks5h" else "http"
    with serving(archive, contexts[is_tls]) as origin, proxying(kind) as proxy:
        options = [*trusting, "--proxy", proxy.url(scheme)]
        assert dcmweb(*options, origin.url, "store", "in").code == 0
        assert dcmweb(*options, origin.url, "retrieve", "-o", "out").code == 0
    assert len(tree(tmp_path / "out")) == 3


def test_each_hop_of_a_redirect_has_its_own_proxy(dcmweb: Dcmweb) -> None:
    with serving(nothing) as there, proxying("http", LOGIN) as proxy:
        target = there.url.replace("127.0.0.1", "localhost")
        away = {"Location": f"{target}/studies"}
        with serving(lambda _: Answer(302, b"", away)) as origin:
            environment = {"HTTP_PROXY": proxy.url("http", ENCODED), "NO_PROXY": "localhost"}
            result = dcmweb(origin.url, "search", env=environment)
    assert result.code == 0
    assert len(proxy.targets) == 1
    assert "proxy-authorization" not in there.requests[0].headers


def test_a_socks_proxy_s_password_does_not_go_along_a_redirect(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if request.path.endswith("there"):
            return json_answer([])
        return Answer(302, b"", {"Location": "/dicomweb/there"})

    with serving(handle) as origin, proxying("socks", LOGIN) as proxy:
        environment = {"HTTP_PROXY": proxy.url("socks5h", ENCODED)}
        result = dcmweb(origin.url, "search", env=environment)
    assert result.code == 0
    assert len(origin.requests) == 2
    assert not any("proxy-authorization" in request.headers for request in origin.requests)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ftp://127.0.0.1:9", "begins with ftp://"),
        ("http://", "does not name a host"),
        ("http://jo:p#ss@127.0.0.1:9", "write / as %2F, # as %23"),
        ("http://jo/secret@127.0.0.1:9", "has more than a host and a port"),
        ("http://127.0.0.1:9 ", "a space"),
    ],
)
def test_what_is_not_a_proxy(dcmweb: Dcmweb, given: str, words: str) -> None:
    command = ("http://127.0.0.1:9/x", "search")
    for result in (dcmweb("--proxy", given, *command), dcmweb(*command, env={"ALL_PROXY": given})):
        assert result.code == ExitCode.USAGE
        assert words in result.last
        assert "p#ss" not in result.err
