"""Connections of the archive: cheroot, with limits on what clients that hang or flood can hold."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.workers.threadpool import ThreadPool
from cheroot.wsgi import Gateway_10, Server

from dcmweb.archive.request_fields import FieldReader, why_no_end
from dcmweb.archive.slow_clients import CROWDED, USUAL, Progress, WatchedReader, WatchedWriter

_FIRST_WORKERS = 32  # threads, each of which answers a request
_MOST_WORKERS = 256
_IDLE_TIMEOUT = 60  # seconds
_HEADER_TIMEOUT = 10  # seconds in which a request line and header fields have to arrive
_KEPT_CONNECTIONS = 1000
_FEWEST_CONNECTIONS = 64
_OTHER_FILES = 4 * _MOST_WORKERS  # that the archive may have open: each thread its index and more
_LONGEST_HEADER = 64 * 1024  # bytes
_LONGEST_REST = 64 * 1024  # bytes of an unread body that are read to keep a connection
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LONGEST_LINE = 4096


class ChunkedBody:
    """A body in chunked transfer coding (RFC 9112 section 7.1), read as it arrives.

    Replaces the reader of cheroot 11.1, which holds whole chunks in memory and accepts `-1` and
    `0x3` as their size. Raises ValueError for malformed chunks.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = 0  # bytes of the current chunk
        self._is_first = True
        self.is_done = False

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, fewer only at the end."""
        pieces: list[bytes] = []
        missing = size if size >= 0 else -1
        while missing and not self.is_done:
            if not self._left:
                self._next_chunk()
                continue
            piece = self._file.read(min(self._left, missing) if missing > 0 else self._left)
            if not piece:
                raise ValueError("the body breaks off inside a chunk")
            self._left -= len(piece)
            missing -= len(piece) if missing > 0 else 0
            pieces.append(piece)
        return b"".join(pieces)

    def _next_chunk(self) -> None:
        if not self._is_first and self._file.readline(_LONGEST_LINE) != b"\r\n":
            raise ValueError("a chunk is longer than its size")
        self._is_first = False
        match = _CHUNK_LINE.fullmatch(self._file.readline(_LONGEST_LINE))
        if not match:
            raise ValueError("the size of a chunk is malformed")
        self._left = int(match[1], 16)
        if not self._left:
            self._skip_trailers()
            self.is_done = True

    def _skip_trailers(self) -> None:
        for _ in range(100):
            line = self._file.readline(_LONGEST_LINE)
            if line in (b"\r\n", b""):
                return
            if not line.endswith(b"\r\n"):
                raise ValueError("a trailer field is malformed")
        raise ValueError("the body has too many trailer fields")


class Gateway(Gateway_10):
    """Hands requests to the application, and closes connections when it says so."""

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override] # as its stubs have None
        """Make the environment of a request, with the body as the application reads it."""
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        self._chunked: ChunkedBody | None = None
        if self.req.chunked_read:
            self._chunked = environ["wsgi.input"] = ChunkedBody(self.req.conn.rfile)
        return environ

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        """Start an answer with its status and header fields."""
        if ("Connection", "close") in headers or not self._read_rest():
            self.req.close_connection = True
        return super().start_response(status, headers, exc_info)

    def _read_rest(self) -> bool:
        """Read a short rest of a body, so that the next request can be read; False if it is long.

        Cheroot 11.1 would read the rest of a body of known length into memory.
        """
        if not self._chunked:
            return getattr(self.req.rfile, "remaining", 0) <= _LONGEST_REST
        if not self._chunked.is_done:
            with suppress(ValueError, OSError):
                self._chunked.read(_LONGEST_REST)
        return self._chunked.is_done


class _Request(HTTPRequest):
    """A request whose header fields have to arrive in time."""

    header_reader = FieldReader()

    def parse_request(self) -> None:
        """Read the request line and header fields."""
        self.conn.socket.settimeout(_HEADER_TIMEOUT)
        with self.server.reading(self.conn):
            super().parse_request()
        self.conn.socket.settimeout(_IDLE_TIMEOUT)

    def read_request_headers(self) -> bool:
        """Read the header fields; reject those that leave the end of the body in doubt."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        doubt = why_no_end(self.inheaders, self.response_protocol)
        if doubt:  # the connection is closed then, as after all answers of this kind
            self.simple_response("400 Bad Request", doubt)
        return not doubt

    def simple_response(self, status: Any, msg: str = "") -> None:
        """Answer a request that is not handed on; cheroot 11.1 has no status 431."""
        if str(status).startswith("413"):
            status = "431 Request Header Fields Too Large"
        super().simple_response(status, msg)


class _Connection(HTTPConnection):
    """A connection whose client may not keep a thread waiting for long."""

    RequestHandlerClass = _Request

    def __init__(self, server: ArchiveServer, sock: socket.socket, _makefile: Any = None) -> None:
        self.progress = Progress()
        self.is_cut = False
        super().__init__(server, sock, self._watched)

    def _watched(self, sock: socket.socket, mode: str, size: int) -> Any:
        kind = WatchedReader if "r" in mode else WatchedWriter
        return kind(sock, size, self.progress)

    def communicate(self) -> bool:
        """Answer a request; True if the connection can be used for another one."""
        self.progress.renew()
        with self.server.answering(self):
            return bool(super().communicate())  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection."""
        self.server.forget(self)
        super().close()


class _Workers(ThreadPool):
    """Threads whose number grows, up to the maximum, while all of them are busy."""

    def put(self, obj: Any) -> None:
        """Queue a connection on which a request arrives."""
        if self.idle <= self.qsize:
            self.grow(_FIRST_WORKERS)
        super().put(obj)

    @property
    def is_crowded(self) -> bool:
        """Whether all threads there can be are busy, and requests wait."""
        return self.qsize > 0 and self.idle == 0 and len(self._threads) >= self.max  # type: ignore[attr-defined]


class ArchiveServer(Server):
    """A server that silent and slow clients cannot stop.

    A connection takes a thread only once something arrives on it; one whose header fields take
    too long is cut.
    """

    ConnectionClass = _Connection

    def __init__(self, address: tuple[str, int], server_name: str) -> None:
        super().__init__(
            address,
            wsgi_app=None,
            server_name=server_name,
            request_queue_size=128,
            timeout=_IDLE_TIMEOUT,
            shutdown_timeout=1,
        )
        self.requests = _Workers(self, min=_FIRST_WORKERS, max=_MOST_WORKERS)
        self.gateway = Gateway
        self.keep_alive_conn_limit = _KEPT_CONNECTIONS
        self.max_request_header_size = _LONGEST_HEADER
        self._open: dict[Any, None] = {}  # connections, in the order in which they were used
        self._being_read: dict[Any, float] = {}
        self._being_answered: set[Any] = set()
        self._most_connections = _most_connections()
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, connection: Any) -> Iterator[None]:
        """Mark a connection whose request is being read, for the time of a block."""
        with self._lock:
            self._being_read[connection] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._being_read[connection]

    @contextmanager
    def answering(self, connection: Any) -> Iterator[None]:
        """Mark a connection that has a thread, for the time of a block."""
        with self._lock:
            self._being_answered.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._being_answered.discard(connection)

    def process_conn(self, conn: Any) -> None:
        """Hand a connection to a thread, a new one only when something has arrived on it."""
        with self._lock:
            is_known = conn in self._open
            self._open.pop(conn, None)
            self._open[conn] = None
        if is_known:
            super().process_conn(conn)
        else:
            self._make_room()
            self.put_conn(conn)

    def forget(self, connection: Any) -> None:
        """Forget a connection that is being closed."""
        with self._lock:
            self._open.pop(connection, None)

    def _make_room(self) -> None:
        """Cut the oldest idle connection if there are too many: files to open would run out."""
        with self._lock:
            if len(self._open) <= self._most_connections:
                return
            busy = self._being_answered
            idle = (conn for conn in self._open if not (conn in busy or conn.is_cut))
            oldest = next(idle, None)
        _cut([oldest] if oldest else [])

    def serve(self) -> None:
        """Answer requests until the server is stopped."""
        threading.Thread(target=self._watch, daemon=True).start()
        super().serve()

    def stop(self) -> None:
        """Stop answering."""
        self._stopped.set()
        super().stop()

    def _watch(self) -> None:
        """Cut connections that keep threads waiting for too long, which may be all threads."""
        while not self._stopped.wait(1):
            _cut(self._overdue())

    def _overdue(self) -> list[Any]:
        limit = time.monotonic() - _HEADER_TIMEOUT
        pace = CROWDED if self.requests.is_crowded else USUAL
        with self._lock:
            slow = [conn for conn in self._being_answered if conn.progress.is_too_slow(pace)]
            return [conn for conn, since in self._being_read.items() if since < limit] + slow

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Ignore messages about closed connections."""


def _cut(connections: list[Any]) -> None:
    for connection in connections:
        connection.is_cut = True
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)


def _most_connections() -> int:
    """Return how many connections can be open, so that files can still be opened."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _KEPT_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _KEPT_CONNECTIONS + _OTHER_FILES
    if soft < wanted <= hard or hard == resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
            soft = max(soft, wanted)
    return max(_FEWEST_CONNECTIONS, min(_KEPT_CONNECTIONS, soft - _OTHER_FILES))
