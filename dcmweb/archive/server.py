"""The archive as a server on a socket."""

from __future__ import annotations

import ipaddress
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from dcmweb import __version__
from dcmweb.archive.access import Access
from dcmweb.archive.app import Archive
from dcmweb.archive.connections import ArchiveServer
from dcmweb.archive.routes import GOOGLE_EXAMPLE_PATH, STANDARD_PATH
from dcmweb.archive.storage.folder import OnIndexed, Storage
from dcmweb.errors import LocalError

Notify = Callable[[str], None]


@dataclass(frozen=True)
class ServerOptions:
    """Where and how an archive is served; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    index: str = ""  # the folder of the index, if it is not in the folder that is served
    is_strict: bool = False  # whether the Google dialect refuses what Google refuses
    logs_requests: bool = False
    pages_can_delete: bool = False


@dataclass(frozen=True)
class Urls:
    """The base URLs of an archive that is being served."""

    standard: str
    google: str
    page: str  # of the pages for people


@contextmanager
def serving(
    folder: str,
    options: ServerOptions,
    access: Access,
    notify: Notify,
    on_indexed: OnIndexed = lambda _done, _all: None,
) -> Iterator[Urls]:
    """Serve a folder during a block, which gets the base URLs.

    Before that, `on_indexed` is called for each new file with how many of how many were read.
    Raises LocalError if the port or the folder cannot be used.
    """
    # pydicom warns about real files. Filters of single threads would interfere with each other.
    warnings.simplefilter("ignore")
    host = options.host
    server = _bound(host, options.port)
    try:
        with closing(
            Storage(folder, notify, index_folder=options.index, on_indexed=on_indexed)
        ) as storage:
            server.wsgi_app = Archive(
                storage,
                replace(access, is_local=is_loopback(host)),
                notify=notify,
                is_strict=options.is_strict,
                logs_requests=options.logs_requests,
                pages_can_delete=options.pages_can_delete,
            )
            threading.Thread(target=server.serve, daemon=True).start()
            root = f"http://{_in_url(host)}:{server.bind_addr[1]}"
            try:
                yield Urls(root + STANDARD_PATH, root + GOOGLE_EXAMPLE_PATH, f"{root}/")
            finally:
                server.stop()
    finally:
        server.stop()


def _bound(host: str, port: int) -> ArchiveServer:
    server = ArchiveServer((host, port), f"dcmweb/{__version__}")
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
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)
