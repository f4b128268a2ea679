"""Pooled connections that runs share, each cutting only those that it uses."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock, local
from typing import Any
from weakref import WeakSet

import requests
from urllib3 import PoolManager
from urllib3.exceptions import ConnectTimeoutError

from dcmweb.http.framing import FramedResponse
from dcmweb.http.lowest_speed import Pace, send_all
from dcmweb.http.multipart import Body
from dcmweb.http.proxies import Proxies
from dcmweb.http.routes import RoutedAdapter
from dcmweb.http.tls import Tls

BLOCK = 256 * 1024
# The server, those of services with their own root, one that they redirect to, a token server.
POOLS = 6
PROBE_AFTER, PROBE_EVERY = 60, 20  # seconds without data before the first probe, and between two


class Connections:
    """The connections that one run uses now; they can be cut from any thread."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = Lock()
        self._process = os.getpid()
        self.are_cut = False

    def add(self, sock: object) -> None:
        """Note a connection in use; end it at once if the run was cut meanwhile."""
        if found := _socket_of(sock):
            with self._lock:
                self._sockets.add(found)
            if self.are_cut:
                _shut_down(found)

    def discard(self, sock: object) -> None:
        """Forget a connection that goes back to the pool, where others may use it."""
        if found := _socket_of(sock):
            with self._lock:
                self._sockets.discard(found)

    def cut(self) -> None:
        """End all connections now, even those in use by other threads: their calls return."""
        self.are_cut = True
        if self._process != os.getpid():  # in a fork: they are its parent's, which goes on
            return
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            _shut_down(sock)


def _socket_of(sock: object) -> socket.socket | None:
    """Return the socket of a connection, also of one in TLS within that to a proxy."""
    inner = getattr(sock, "socket", sock)
    return inner if isinstance(inner, socket.socket) else None


@dataclass(frozen=True)
class Connected:
    """What a connection is like: the peer's address, the seconds it took, and TLS.

    `expires` is when the certificate does, in seconds since 1970; None if it was not checked.
    """

    address: str
    seconds: float
    tls: str = ""
    issuer: str = ""
    expires: float | None = None

    @classmethod
    def of(cls, sock: Any, seconds: float) -> Connected:
        """Describe a socket that has just been connected."""
        try:
            host, port, *_ = getattr(sock, "socket", sock).getpeername()
        except (OSError, ValueError):
            return cls("", seconds)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not hasattr(sock, "getpeercert"):
            return cls(address, seconds)
        certificate: Any = sock.getpeercert() or {}
        issuer = {name: text for ((name, text), *_) in certificate.get("issuer", ())}
        ends = certificate.get("notAfter")
        return cls(
            address,
            seconds,
            sock.version() or "TLS",
            issuer.get("organizationName") or issuer.get("commonName", ""),
            ssl.cert_time_to_seconds(ends) if ends else None,
        )


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # The base class's method: an SSL socket's own would say goodbye first.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _keep_alive(sock: socket.socket) -> None:
    """Let probes keep a connection alive while a server works on a request and says nothing.

    Firewalls and load balancers drop connections that are idle for some minutes without a word.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (
        ("TCP_KEEPIDLE", PROBE_AFTER),
        ("TCP_KEEPALIVE", PROBE_AFTER),
        ("TCP_KEEPINTVL", PROBE_EVERY),
    ):
        option = getattr(socket, name, None)  # TCP_KEEPALIVE is what macOS calls TCP_KEEPIDLE
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, seconds)


class Adapter(RoutedAdapter):
    """A requests adapter with as many kept connections as there are workers, and no retries.

    One layer retries, and this is not it.
    """

    def __init__(self, tls: Tls, proxies: Proxies, connections: int, idle_timeout: float) -> None:
        self.idle_timeout = idle_timeout
        self.raw_carets = True
        self.connected: Connected | None = None  # the last connection that was made for BASE_URL
        self._process = os.getpid()
        self._threads = local()  # the connections of the run that a thread works for
        self._most_kept = connections
        super().__init__(
            tls, proxies, pool_connections=POOLS, pool_maxsize=connections, max_retries=0
        )

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request; in a process that was forked, not over connections of its parent.

        Parent and child would read each other's answers.
        """
        if self._process != os.getpid():
            self._process = os.getpid()
            self.init_poolmanager(POOLS, self._most_kept)
            self.proxy_manager = {}
        self._threads.url = str(request.url)
        return super().send(request, **kwargs)

    def note(self, connected: Connected) -> None:
        """Note a connection that this thread has made, if it is not to a token server or so."""
        if self._tls.is_own(getattr(self._threads, "url", "")):
            self.connected = connected

    @contextlib.contextmanager
    def lending_to(self, connections: Connections) -> Iterator[None]:
        """Count the connections that this thread takes from the pool among those of a run."""
        self._threads.connections = connections
        try:
            yield
        finally:
            self._threads.connections = None

    @property
    def borrower(self) -> Connections:
        """The connections of the run that this thread works for."""
        return getattr(self._threads, "connections", None) or Connections()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager with our connections."""
        super().init_poolmanager(*args, blocksize=BLOCK, **kwargs)
        self._use_our_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pool manager for a proxy likewise."""
        manager = super().proxy_manager_for(*args, blocksize=BLOCK, **kwargs)
        self._use_our_connections(manager)
        return manager

    def _use_our_connections(self, manager: PoolManager) -> None:
        """Let a manager make pools and connections that are ours as well, SOCKS ones included.

        Each request through a proxy asks for its manager, so that it may have been done before.
        """
        manager.pool_classes_by_scheme = {
            scheme: self._lending(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _lending(self, pool: Any) -> Any:
        if issubclass(pool, _Lending):
            return pool
        connection = type("Connection", (_Lent, pool.ConnectionCls), {"adapter": self})
        return type("Pool", (_Lending, pool), {"adapter": self, "ConnectionCls": connection})


class _Lending:
    """What our pools add to urllib3's: they know which run has which connection."""

    adapter: Adapter

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        connection.borrower = self.adapter.borrower
        connection.borrower.add(connection.sock)
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None and conn.borrower is not None:
            conn.borrower.discard(conn.sock)
            conn.borrower = None
        if conn is not None and conn.answer is not None and not conn.answer.is_reusable:
            conn.close()  # what came next on it would be taken for the next answer
        super()._put_conn(conn)  # type: ignore[misc]


class _Gathered:
    """A body as lists of pieces, each to be sent at once."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[list[bytes]]:
        return self._body.gathered()


def _send_all(sock: socket.socket, pieces: list[bytes], pace: Pace) -> None:
    """Send pieces without joining them: small files would be copied once more for that."""
    left: Sequence[bytes | memoryview] = pieces
    while left:
        sent = pace.move(sock.sendmsg, left) or 0
        at = 0
        while at < len(left) and sent >= len(left[at]):
            sent -= len(left[at])
            at += 1
        left = left[at:]
        if sent:
            left = [memoryview(left[0])[sent:], *left[1:]]


class _Lent:
    """What our connections add to urllib3's."""

    adapter: Adapter
    borrower: Connections | None = None
    answer: FramedResponse | None = None  # the last one on this connection
    sock: socket.socket | None
    pace = Pace(None)  # of the request that is sent

    def response_class(self, *args: Any, **kwargs: Any) -> FramedResponse:
        """Make the object that reads an answer; http.client calls this by its attribute."""
        self.answer = FramedResponse(*args, **kwargs)
        return self.answer

    def connect(self) -> None:
        """Connect, and note the socket: it outlives the connection while it is read from."""
        began = time.monotonic()
        try:
            super().connect()  # type: ignore[misc]
        except TimeoutError as error:  # of the TLS handshake
            raise ConnectTimeoutError(self, "no TLS handshake") from error
        if self.sock is not None and (sock := _socket_of(self.sock)):
            # urllib3 would go on with the connect timeout while the request is sent.
            self.sock.settimeout(self.adapter.idle_timeout)
            self.adapter.note(Connected.of(self.sock, time.monotonic() - began))
            _keep_alive(sock)
            if self.borrower is not None:
                self.borrower.add(self.sock)

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Send a request; of a body of ours, many pieces at once."""
        body = _Gathered(body) if isinstance(body, Body) else body
        return super().request(method, url, body, *args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """Send; where the server ended TLS meanwhile, let what it said before be read.

        It may have answered early, or said that it wants a client certificate (TLS 1.3).
        """
        if type(data) is list:
            if type(self.sock) is socket.socket and hasattr(self.sock, "sendmsg"):
                _send_all(self.sock, data, self.pace)
                return
            data = b"".join(data)  # for TLS, a proxy that speaks SOCKS, Windows
        try:
            if self.sock is None:
                self.connect()
            send_all(self.sock, data, self.pace)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError(errno.EPIPE, "the server ended TLS") from error

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Put the request line, with `^` as it was before requests and urllib3 escaped it.

        Servers exist that compare query values undecoded, and `^` is in every person name.
        """
        self.pace = Pace(self.adapter.idle_timeout)
        if self.sock is not None:  # kept: urllib3 has just set the timeout for connecting
            self.sock.settimeout(self.adapter.idle_timeout)
        if self.adapter.raw_carets:
            url = url.replace("%5E", "^")
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]
