"""A proxy in front of a server that breaks things, by a seed: the same seed, the same faults.

It takes each request whole, hands it on over a connection of its own, and gives the answer back as
the fault of this exchange has it. Faults are drawn in the order in which requests come.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import IO

from tests.listeners import accept_until_closed

LONG = 30.0  # seconds after which the server behind is given up
_STATUSES = (401, 403, 408, 409, 413, 425, 429, 429, 500, 500, 502, 503, 503, 504, 507)
_RETRY_AFTER = ("", "", "0", "0", "0", "-5", "soon", "\xff", "86400", "1" * 40, "date")
_INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n",
)

# What may happen to an exchange, and how often beside each other.
KINDS = {
    "refuse": 1,  # the connection is closed before anything is read
    "cut request": 3,  # the server gets a part of it
    "cut answer": 5,  # the client gets a part of it
    "drop answer": 3,  # the server did it, the client hears nothing
    "delay": 2,
    "interim": 2,
    "status before": 4,  # an answer of the proxy's own; the server hears nothing
    "status after": 3,  # an answer of the proxy's own, though the server did it
    "twice": 2,  # the answer, and once more behind it
    "stale": 2,  # the answer of the request before on this connection
    "drip": 1,  # a byte at a time
    "stall": 1,  # a part of it, and nothing more
}
CORRUPTIONS = {"corrupt request": 1, "corrupt answer": 1}


@dataclass(frozen=True)
class Fault:
    """What happens to an exchange: `at` says where, as a part of the message."""

    kind: str
    at: float = 0.0
    status: int = 0
    retry_after: str = ""
    resets: bool = False


@dataclass(frozen=True)
class Exchange:
    """A request, and what was done to it."""

    method: str
    target: str
    body: bytes
    fault: str
    status: int = 0  # that the proxy answered in place of the server

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.fault} {self.status or ''}"


class Proxy:
    """The proxy; `exchanges` lists what came, and what happened to it."""

    def __init__(
        self,
        upstream: int,
        seed: int,
        *,
        rate: float,
        corrupts: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.rate = rate  # of exchanges with a fault
        self._kinds = {**KINDS, **(CORRUPTIONS if corrupts else {})}
        if corrupts:
            self._kinds = {**CORRUPTIONS, "cut answer": 1}
        self._upstream = upstream
        self._chance = random.Random(seed)
        self._tls = tls
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._stop_accepting = accept_until_closed(self._listener, self._take)

    @property
    def root(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        self._stop_accepting()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def happened(self, *kinds: str) -> bool:
        """Return True if a fault of these kinds happened."""
        return any(exchange.fault in kinds for exchange in self.exchanges)

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _draw(self, method: str, target: str) -> Fault:
        with self._lock:
            chance = self._chance
            if chance.random() >= self.rate:
                return Fault("")
            (kind,) = chance.choices(list(self._kinds), list(self._kinds.values()))
            after = chance.choice(_RETRY_AFTER)
            if after == "date":
                after = formatdate(time.time() + chance.choice([-1e6, 0, 1e6]), usegmt=True)
            fault = Fault(
                kind, chance.random(), chance.choice(_STATUSES), after, chance.random() < 0.5
            )
        if kind == "stale" and (method == "DELETE" or _is_search(target)):
            return Fault("")  # nobody can know that the answer is not that of the request
        return fault

    def _serve(self, raw: socket.socket) -> None:
        connection: socket.socket = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(raw, server_side=True)
            with connection, connection.makefile("rb") as reader:
                last = b""
                while (last := self._exchange(connection, reader, last)) and not _ends(last):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(raw)
            connection.close()

    def _exchange(self, connection: socket.socket, reader: IO[bytes], last: bytes) -> bytes:
        """Take a request and answer it; return the answer if the connection lives on."""
        head = _read_head(reader)
        if not head:
            return b""
        method, target = head.split(b" ", 2)[:2]
        body = _read_body(reader, head)
        if body is None:
            return b""
        fault = self._draw(method.decode(), target.decode("latin-1"))
        status = fault.status if fault.kind.startswith("status") else 0
        exchange = Exchange(method.decode(), target.decode("latin-1"), body, fault.kind, status)
        with self._lock:
            self.exchanges.append(exchange)
        return self._answer(connection, head, body, fault, last)

    def _answer(  # noqa: C901, PLR0911, PLR0912 - each fault has its own way to end
        self, connection: socket.socket, head: bytes, body: bytes, fault: Fault, last: bytes
    ) -> bytes:
        if fault.kind == "refuse":
            return self._hang_up(connection, fault)
        if fault.kind == "cut request":
            whole = head + body
            self._forward(whole[: int(fault.at * len(whole))], is_cut=True)
            return self._hang_up(connection, fault)
        if fault.kind == "status before":
            return self._say(connection, _own_answer(fault))
        if fault.kind == "corrupt request" and body:
            body = _flipped(body, fault.at)
        if fault.kind == "stale" and last:
            self._forward(head + body)
            return self._say(connection, last)
        answer = self._forward(head + body)
        if not answer:
            return b""
        if fault.kind == "status after":
            return self._say(connection, _own_answer(fault))
        if fault.kind == "corrupt answer":
            answer = _flipped(answer, fault.at)
        if fault.kind in ("drop answer", "cut answer"):
            part = 0 if fault.kind == "drop answer" else int(fault.at * len(answer))
            connection.sendall(answer[:part])
            return self._hang_up(connection, fault)
        if fault.kind == "stall":
            connection.sendall(answer[: int(fault.at * len(answer))])
            self._closing.wait(LONG)
            return b""
        if fault.kind == "delay":
            self._closing.wait(fault.at / 5)
        if fault.kind == "interim":
            count = 1 + int(fault.at * 5)
            connection.sendall(b"".join((_INTERIM * 2)[:count]))
            self._closing.wait(fault.at / 50)
        if fault.kind == "drip":
            for byte in answer[:80]:
                connection.sendall(bytes([byte]))
                self._closing.wait(0.002)
            return self._say(connection, answer[80:], answer)
        if fault.kind == "twice":
            connection.sendall(answer)
        return self._say(connection, answer)

    def _say(self, connection: socket.socket, data: bytes, whole: bytes = b"") -> bytes:
        connection.sendall(data)
        return whole or data

    def _hang_up(self, connection: socket.socket, fault: Fault) -> bytes:
        if fault.resets and not isinstance(connection, ssl.SSLSocket):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return b""

    def _forward(self, request: bytes, *, is_cut: bool = False) -> bytes:
        """Hand a request on; return the answer, of a server that closes after it, as if it did not.

        Of a part of a request, wait until the server is done with it.
        """
        head, blank, body = request.partition(b"\r\n\r\n")
        if blank:
            head = re.sub(rb"(?i)\r\nConnection:[^\r]*", b"", head) + b"\r\nConnection: close"
        with socket.create_connection(("127.0.0.1", self._upstream), timeout=LONG) as server:
            with suppress(OSError):
                server.sendall(head + blank + body)
                if is_cut:
                    server.shutdown(socket.SHUT_WR)
            pieces = []
            with suppress(OSError):
                while piece := server.recv(1 << 20):
                    pieces.append(piece)
        answer = b"".join(pieces)
        head, blank, body = answer.partition(b"\r\n\r\n")
        if re.search(rb"(?i)\r\n(Content-Length|Transfer-Encoding):", head + b"\r\n"):
            head = re.sub(rb"(?i)\r\nConnection:[^\r]*", b"", head)
        return head + blank + body


def _is_search(target: str) -> bool:
    return target.partition("?")[0].rpartition("/")[2] in ("studies", "series", "instances")


def _ends(answer: bytes) -> bool:
    return bool(re.search(rb"(?i)\r\nConnection: *close", answer.partition(b"\r\n\r\n")[0]))


def _own_answer(fault: Fault) -> bytes:
    after = f"Retry-After: {fault.retry_after}\r\n" if fault.retry_after else ""
    body = b"the proxy says no"
    return (
        f"HTTP/1.1 {fault.status} Fault\r\nContent-Type: text/plain\r\n{after}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1") + body


def _flipped(data: bytes, at: float) -> bytes:
    place = int(at * len(data))
    return data[:place] + bytes([data[place] ^ (1 << int(at * 7919) % 8)]) + data[place + 1 :]


def _read_head(reader: IO[bytes]) -> bytes:
    lines = []
    while line := reader.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _read_body(reader: IO[bytes], head: bytes) -> bytes | None:
    """Read a body as it is on the wire; None if it breaks off."""
    if re.search(rb"(?i)\r\nTransfer-Encoding: *chunked", head):
        pieces = []
        while True:
            line = reader.readline()
            size = int(line, 16)
            piece = reader.read(size + 2)
            pieces += [line, piece]
            if len(piece) < size + 2:
                return None
            if not size:
                return b"".join(pieces)
    found = re.search(rb"(?i)\r\nContent-Length: *([0-9]+)", head)
    size = int(found[1]) if found else 0
    body = reader.read(size)
    return body if len(body) == size else None


@contextmanager
def proxying(
    upstream: int,
    seed: int,
    *,
    rate: float,
    corrupts: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Proxy]:
    """Run a proxy before a port of this machine for the time of a block."""
    proxy = Proxy(upstream, seed, rate=rate, corrupts=corrupts, tls=tls)
    try:
        yield proxy
    finally:
        proxy.close()
