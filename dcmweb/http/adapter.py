"""The transport: pooled connections that can be cut from another thread."""

from __future__ import annotations

import contextlib
import socket
from threading import Lock
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError

BLOCK = 256 * 1024


class Adapter(HTTPAdapter):
    """A requests adapter with as many kept connections as there are workers, and no retries.

    One layer retries, and this is not it.
    """

    def __init__(self, connections: int, idle_timeout: float) -> None:
        self.idle_timeout = idle_timeout
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.lock = Lock()
        self.raw_carets = True
        super().__init__(pool_connections=2, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager with our connections."""
        super().init_poolmanager(*args, blocksize=BLOCK, **kwargs)
        self._use_our_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pool manager for a proxy likewise."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._use_our_connections(manager)
        return manager

    def cut(self) -> None:
        """End all connections now, even those in use by other threads: their calls return."""
        with self.lock:
            sockets = list(self.sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                # The base class's method: an SSL socket's own would say goodbye first.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _use_our_connections(self, manager: PoolManager) -> None:
        class Plain(_Tracked, HTTPConnection):
            adapter = self

        class Tls(_Tracked, HTTPSConnection):
            adapter = self

        plain_pool = type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": Plain})
        tls_pool = type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": Tls})
        manager.pool_classes_by_scheme = {"http": plain_pool, "https": tls_pool}


class _Tracked:
    """What our connections add to urllib3's."""

    adapter: Adapter
    sock: socket.socket | None

    def connect(self) -> None:
        """Connect, and remember the socket: it outlives the connection while it is read from."""
        try:
            super().connect()  # type: ignore[misc]
        except TimeoutError as error:  # of the TLS handshake
            raise ConnectTimeoutError(self, "no TLS handshake") from error
        if isinstance(self.sock, socket.socket):
            with self.adapter.lock:
                self.adapter.sockets.add(self.sock)
            # urllib3 would go on with the connect timeout while the request is sent.
            self.sock.settimeout(self.adapter.idle_timeout)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Put the request line, with `^` as it was before requests and urllib3 escaped it.

        Servers exist that compare query values undecoded, and `^` is in every person name.
        """
        if self.adapter.raw_carets:
            url = url.replace("%5E", "^")
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]
