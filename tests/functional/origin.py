"""An origin server on a real socket whose every answer a test decides, down to the byte."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.listeners import accept_until_closed

PAUSE = 0.25  # seconds, of an answer that drips


@dataclass(frozen=True)
class Request:
    """A request as it came: the target undecoded, header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int  # which connection it came on, counted from 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """What to answer, and how to break it.

    `length` lies about Content-Length; `close` leaves it out and ends the body by closing;
    `chunk` sends chunks of so many bytes; `cut` closes the connection after so many bytes of the
    body, `stall` stops there instead, until the client goes away. `cut=-1` sends nothing at all.
    `before` is sent before the answer, such as interim ones. Of the whole, the bytes of `drip` are
    sent with a pause after each piece of `drop` bytes.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    close: bool = False
    chunk: int = 0
    cut: int | None = None
    stall: int | None = None
    before: bytes = b""
    drip: slice | None = None
    drop: int = 1


Handler = Callable[[Request], Answer]


class Origin:
    """The server; `requests` lists what came, in order."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.certificates: list[object] = []  # of the clients, one for each connection in TLS
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._stop_accepting = accept_until_closed(self._listener, self._take)

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/dicomweb"

    def close(self) -> None:
        self._closing.set()
        self._stop_accepting()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.append(connection)
            number = len(self._connections) - 1
        threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self.certificates.append(connection.getpeercert())
            with connection, connection.makefile("rb") as reader:
                while request := _read_request(reader, number):
                    with self._lock:
                        self.requests.append(request)
                    if not self._send(connection, self.handler(request)):
                        return
        except (OSError, ValueError):
            pass

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        """Send an answer; tell whether the connection lives on."""
        if answer.cut == -1:
            return False
        headers = dict(answer.headers)
        body = answer.body
        if answer.chunk:
            headers["Transfer-Encoding"] = "chunked"
            pieces = [body[i : i + answer.chunk] for i in range(0, len(body), answer.chunk)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        elif answer.close:
            headers["Connection"] = "close"
        elif answer.status != 204:
            headers["Content-Length"] = str(len(body) if answer.length is None else answer.length)
        head = f"HTTP/1.1 {answer.status} Whatever\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        end = answer.cut if answer.cut is not None else answer.stall
        _drip(connection, answer.before + head.encode("utf-8") + body[:end], answer)
        if answer.stall is not None:
            self._closing.wait(30)
        return end is None and not answer.close


def _drip(connection: socket.socket, data: bytes, answer: Answer) -> None:
    start, end, _ = (answer.drip or slice(0, 0)).indices(len(data))
    connection.sendall(data[:start])
    for place in range(start, end, answer.drop):
        connection.sendall(data[place : min(place + answer.drop, end)])
        time.sleep(PAUSE)
    connection.sendall(data[end:])


def _read_request(reader: object, number: int) -> Request | None:
    readline, read = reader.readline, reader.read  # type: ignore[attr-defined]
    line = readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while text := readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(readline(), 16):
            body += read(size)
            readline()
        readline()
    else:
        size = int(headers.get("content-length", 0))
        body = read(size)
        if len(body) < size:
            return None
    return Request(line[0], line[1], headers, body, number)


@contextmanager
def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Run an origin server for the time of a block."""
    origin = Origin(handler, tls)
    try:
        yield origin
    finally:
        origin.close()
