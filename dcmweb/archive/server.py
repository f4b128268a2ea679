"""The archive as a server on a socket."""

from __future__ import annotations

import ipaddress
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from cheroot.wsgi import Gateway_10, Server

from dcmweb import __version__
from dcmweb.archive.access import Access
from dcmweb.archive.app import Archive
from dcmweb.archive.routes import STANDARD_PATH
from dcmweb.archive.storage.folder import Storage
from dcmweb.errors import LocalError

_THREADS = 32  # requests that are answered at a time
_IDLE_TIMEOUT = 60  # seconds
_KEPT_CONNECTIONS = 500


@contextmanager
def serving(
    folder: str, host: str, port: int, access: Access, notify: Callable[[str], None]
) -> Iterator[str]:
    """Serve a folder during a block, which gets the base URL; port 0 takes a free one.

    Raises LocalError if the port or the folder cannot be used.
    """
    # pydicom warns about real files. Filters of single threads would interfere with each other.
    warnings.simplefilter("ignore")
    server = _bound(host, port)
    try:
        with closing(Storage(folder, notify)) as storage:
            server.wsgi_app = Archive(storage, access)
            threading.Thread(target=server.serve, daemon=True).start()
            try:
                yield f"http://{_in_url(host)}:{server.bind_addr[1]}{STANDARD_PATH}"
            finally:
                server.stop()
    finally:
        server.stop()


class _Quiet(Server):
    """A server that does not report closed connections."""

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Ignore a message."""


class _Gateway(Gateway_10):
    """Closes the connection when the application says so, which cheroot does not."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        """Take the status and the header fields of an answer."""
        if ("Connection", "close") in headers:
            self.req.close_connection = True
        return super().start_response(status, headers, exc_info)


def _bound(host: str, port: int) -> _Quiet:
    server = _Quiet(
        (host, port),
        wsgi_app=None,
        numthreads=_THREADS,
        server_name=f"dcmweb/{__version__}",
        request_queue_size=128,
        timeout=_IDLE_TIMEOUT,
        shutdown_timeout=1,
    )
    server.gateway = _Gateway
    server.keep_alive_conn_limit = _KEPT_CONNECTIONS
    try:
        server.prepare()
    except OSError as error:
        words = error.strerror or str(error)
        raise LocalError(f"cannot listen on {host}:{port}: {words}", "choose a --port") from None
    return server


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach an address."""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
