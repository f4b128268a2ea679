"""Scripted proxies: HTTP with CONNECT, and SOCKS 5."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.listeners import accept_until_closed


@dataclass
class Proxy:
    """A running proxy. It wants `login`, `USER:PASSWORD`, if there is one.

    `answer` is what it says in place of passing on: a status of HTTP, or a code of SOCKS.
    """

    login: str = ""
    answer: int = 0
    tls: ssl.SSLContext | None = None
    port: int = 0
    targets: list[str] = field(default_factory=list)  # what it was asked for
    certificates: list[object] = field(default_factory=list)  # of its clients, in TLS

    def url(self, scheme: str, login: str = "") -> str:
        return f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{self.port}"

    def serve_http(self, client: socket.socket) -> None:
        head = _read_head(client)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.targets.append(f"{method} {target}")
        wanted = f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.answer or (self.login and wanted.encode() not in head):
            status = self.answer or 407
            client.sendall(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                _relay(client, server)
            return
        parts = urlsplit(target)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
        absolute = f" http://{parts.netloc}/".encode()
        with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as server:
            server.sendall(b"\r\n".join(lines).replace(absolute, b" /", 1))
            _relay(client, server, absolute)

    def serve_socks(self, client: socket.socket) -> None:
        _, count = _exactly(client, 2)
        methods = _exactly(client, count)
        method = 2 if self.login else 0
        if method not in methods:
            client.sendall(b"\x05\xff")
            return
        client.sendall(bytes([5, method]))
        if self.login:
            user = _exactly(client, _exactly(client, 2)[1])
            password = _exactly(client, _exactly(client, 1)[0])
            is_right = f"{user.decode()}:{password.decode()}" == self.login
            client.sendall(bytes([1, 0 if is_right else 1]))
            if not is_right:
                return
        kind = _exactly(client, 4)[3]
        size = {1: 4, 4: 16}.get(kind) or _exactly(client, 1)[0]
        raw = _exactly(client, size)
        families = {1: socket.AF_INET, 4: socket.AF_INET6}
        host = socket.inet_ntop(families[kind], raw) if kind in families else raw.decode()
        port = int.from_bytes(_exactly(client, 2), "big")
        self.targets.append(f"{host}:{port}")
        client.sendall(bytes([5, self.answer, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self.answer:
            with socket.create_connection(("127.0.0.1", port)) as server:  # whatever the name
                _relay(client, server)


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (data := client.recv(count - len(found))):
            raise OSError("closed")
        found += data
    return found


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _exactly(client, 1)
    return head


def _relay(one: socket.socket, other: socket.socket, absolute: bytes = b"") -> None:
    """Pass on all that comes; in later requests, what names the server is left out of targets."""

    def pump(source: socket.socket, target: socket.socket, left_out: bytes) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data.replace(left_out, b" /") if left_out else data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(other, one, b""), daemon=True)
    back.start()
    pump(one, other, absolute)
    back.join()


@contextmanager
def proxying(
    kind: str, login: str = "", answer: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Proxy]:
    """Run a proxy, of kind "http" or "socks", for the time of a block."""
    proxy = Proxy(login, answer, tls)
    listener = socket.create_server(("127.0.0.1", 0))
    proxy.port = listener.getsockname()[1]
    serve = proxy.serve_http if kind == "http" else proxy.serve_socks

    def one(client: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if tls:
                client = tls.wrap_socket(client, server_side=True)
                proxy.certificates.append(client.getpeercert())
            with client:
                serve(client)

    def take(client: socket.socket) -> None:
        threading.Thread(target=one, args=(client,), daemon=True).start()

    close = accept_until_closed(listener, take)
    try:
        yield proxy
    finally:
        close()
