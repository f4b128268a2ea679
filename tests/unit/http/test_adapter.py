"""Connections: which run has which, how they are cut, and how they are kept alive."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import trustme

from dcmweb.errors import Interrupted, Unreachable
from dcmweb.http.adapter import PROBE_AFTER, Connections
from dcmweb.http.routes import RoutedAdapter
from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Credentials, Settings
from tests.functional.certificates import context_of, issued
from tests.functional.origin import Answer, Request, serving
from tests.functional.proxies import proxying


def answered(_: Request) -> Answer:
    return Answer(200, b"[]", {"Content-Type": "application/dicom+json"})


@pytest.mark.parametrize("workers", [1, 4])
def test_many_requests_go_through_one_proxy(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    with serving(answered) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        transport = Transport(Settings(base_url="http://server.example/", workers=workers))
        session = Session(transport)

        def search() -> bytes:
            with session.get("studies", accept="*/*") as response:
                return response.content()

        with ThreadPoolExecutor(workers) as pool:
            answers = [pool.submit(search) for _ in range(3 * workers)]
        assert {answer.result() for answer in answers} == {b"[]"}
        transport.close()
    assert len(proxy.requests) == 3 * workers


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("scheme", ["", "http", "socks5h"])
def test_probes_keep_an_idle_connection_alive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_tls: bool, scheme: str
) -> None:
    used: list[socket.socket] = []
    add = Connections.add

    def note(self: Connections, sock: object) -> None:
        if isinstance(sock, socket.socket):
            used.append(sock)
            assert isinstance(sock, ssl.SSLSocket) is is_tls
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE") and os.name != "nt":  # wine 8 cannot tell
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBE_AFTER
        add(self, sock)

    monkeypatch.setattr(Connections, "add", note)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = context_of(authority.issue_cert("127.0.0.1")) if is_tls else None
    kind = "socks" if scheme.startswith("socks") else "http"
    with serving(answered, context) as origin, proxying(kind) as proxy:
        given = proxy.url(scheme) if scheme else ""
        bundle = str(tmp_path / "ca.pem")
        transport = Transport(Settings(base_url=origin.url, ca_bundle=bundle, proxy=given))
        for _ in range(2):
            with Session(transport).get("studies", accept="*/*") as response:
                assert response.content() == b"[]"
        transport.close()
    assert used
    assert len(proxy.targets) == (1 if scheme else 0)  # the connection was kept


def test_tls_to_a_proxy_that_connects_to_a_server_with_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = context_of(authority.issue_cert("127.0.0.1"), authority, demands=False)
    client = issued(tmp_path, "client", authority.issue_cert(common_name="joe"))
    given = Credentials(cert=str(client.both))
    with serving(answered, context) as origin, proxying("http", tls=context) as proxy:
        settings = Settings(
            base_url=origin.url,
            ca_bundle=str(tmp_path / "ca.pem"),
            proxy=proxy.url("https"),
            credentials=given,
        )
        transport = Transport(settings)
        session = Session(transport)
        for _ in range(2):
            with session.get("studies", accept="*/*") as response:
                assert response.content() == b"[]"
        assert transport.adapter.connected is not None
        assert transport.adapter.connected.tls.startswith("TLS")
        session.cut()
        transport.close()
    assert all(origin.certificates)
    assert not any(proxy.certificates)  # it is not shown the certificate


def test_the_zone_of_an_address_is_passed_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def look_up(host: str, *_: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    transport = Transport(Settings(base_url="http://[fe80::1%25eth0]:8042/dicom-web"))
    with pytest.raises(Unreachable, match="unknown host"):
        Session(transport).get("studies", accept="*/*")
    assert asked == ["fe80::1%eth0"]
    transport.close()


def test_a_dead_address_of_a_host_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answered) as origin, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # nothing listens there
        ports = (dead.getsockname()[1], origin.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: found)
        transport = Transport(Settings(base_url="http://two.example/dicomweb"))
        with Session(transport).get("studies", accept="*/*") as response:
            assert response.content() == b"[]"
        transport.close()


@pytest.mark.skipif(os.name == "nt", reason="wine 8 does not wake a read that is shut down")
def test_a_cut_ends_the_exchanges_of_one_session_alone() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer:
        if request.path.endswith("slow"):
            begun.set()
            assert go.wait(20)
        return answered(request)

    with serving(slow) as origin:
        transport = Transport(Settings(base_url=origin.url, workers=4))
        one, other = Session(transport), Session(transport)
        raised: list[BaseException] = []

        def wait_for_an_answer() -> None:
            try:
                one.get("slow", accept="*/*")
            except Interrupted as error:
                raised.append(error)

        thread = threading.Thread(target=wait_for_an_answer)
        thread.start()
        assert begun.wait(20)
        for _ in range(3):
            with other.get("studies", accept="*/*") as response:
                assert response.content() == b"[]"
        one.cut()
        thread.join(20)
        assert len(raised) == 1
        with pytest.raises(Interrupted):
            one.get("studies", accept="*/*")
        with other.get("studies", accept="*/*") as response:
            assert response.content() == b"[]"
        go.set()
        transport.close()


def test_a_connection_that_went_back_to_the_pool_is_not_cut() -> None:
    with serving(answered) as origin:
        transport = Transport(Settings(base_url=origin.url, workers=1))
        one, other = Session(transport), Session(transport)
        with one.get("studies", accept="*/*") as response:
            response.content()
        held = other.get("studies", accept="*/*")
        one.cut()
        time.sleep(0.01)
        assert held.content() == b"[]"
        held.close()
        assert {request.connection for request in origin.requests} == {0}
        transport.close()


def test_a_connection_that_is_made_after_the_cut_is_cut_as_well() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connections = Connections()
        connections.cut()
        connections.add(ours)
        theirs.settimeout(5)
        assert theirs.recv(1) == b""


def test_a_fork_does_not_cut_the_connections_of_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connections = Connections()
        connections.add(ours)
        with monkeypatch.context() as forked:
            forked.setattr("os.getpid", lambda: -1)
            connections.cut()
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
        assert connections.are_cut


def test_no_credentials_go_to_another_server_that_redirects_within_itself() -> None:
    def elsewhere(request: Request) -> Answer:
        if request.path == "/here":
            return Answer(302, headers={"Location": "/there"})
        return answered(request)

    with serving(elsewhere) as other:
        given = Credentials(user="me", password="secret")
        transport = Transport(Settings(base_url="http://pacs.example/x", credentials=given))
        url = f"http://127.0.0.1:{other.port}/here"
        with Session(transport).get(url, accept="*/*") as response:
            assert response.content() == b"[]"
        transport.close()
    assert [request.path for request in other.requests] == ["/here", "/there"]
    assert not any("authorization" in request.headers for request in other.requests)


def test_a_fork_leaves_the_connections_to_proxies_to_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RoutedAdapter, "send", lambda *_args, **_options: None)
    transport = Transport(Settings(base_url="http://pacs.example/x"))
    adapter, pools = transport.adapter, transport.adapter.poolmanager
    adapter.proxy_manager["http://proxy.example"] = pools
    request = requests.Request("GET", "http://pacs.example/x").prepare()
    adapter.send(request)
    assert adapter.poolmanager is pools
    with monkeypatch.context() as forked:
        forked.setattr("os.getpid", lambda: -1)
        adapter.send(request)
    assert adapter.poolmanager is not pools
    assert adapter.proxy_manager == {}
    transport.close()
