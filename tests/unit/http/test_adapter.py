"""Connections: which run has which, how they are cut, and how they are kept alive."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcmweb.errors import Interrupted
from dcmweb.http.adapter import PROBE_AFTER, Connections
from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings
from tests.functional.origin import Answer, Request, serving


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


def test_probes_keep_an_idle_connection_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[socket.socket] = []
    add = Connections.add

    def note(self: Connections, sock: object) -> None:
        if isinstance(sock, socket.socket):
            used.append(sock)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE") and os.name != "nt":  # wine 8 cannot tell
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PROBE_AFTER
        add(self, sock)

    monkeypatch.setattr(Connections, "add", note)
    with serving(answered) as origin:
        transport = Transport(Settings(base_url=origin.url))
        with Session(transport).get("studies", accept="*/*") as response:
            assert response.content() == b"[]"
        transport.close()
    assert used


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
