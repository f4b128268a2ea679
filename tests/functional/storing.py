"""What tests of `store` share: servers that take instances in their own way, and who was told."""

from __future__ import annotations

import email
import io
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pydicom

from tests.conftest import Result
from tests.functional.archive import sent_parts
from tests.functional.origin import Answer, Handler, Origin, Request
from tests.listeners import accept_until_closed

_LINE = re.compile(r" -- (\S+) (uploaded|already there|skipped|failed|unknown)(?:: | as )(.*)")


def taking(archive: Handler, store: Callable[[Request], Answer]) -> Handler:
    """The archive, with another way to answer a store request."""
    return lambda request: store(request) if request.method == "POST" else archive(request)


def first(ways: Iterable[Handler], then: Handler) -> Handler:
    """Answer in these ways at first, one after the other, and in another way from then on."""
    left = iter(ways)

    def handle(request: Request) -> Answer:
        way = next(left, then)
        return way(request)

    return handle


def as_xml(module: dict[str, Any]) -> bytes:
    """Write a response module as PS3.19 has it."""

    def inside(content: dict[str, Any]) -> str:
        return "".join(
            f'<DicomAttribute tag="{tag}" vr="{one["vr"]}">'
            + "".join(value(number, v) for number, v in enumerate(one["Value"], start=1))
            + "</DicomAttribute>"
            for tag, one in content.items()
        )

    def value(number: int, content: Any) -> str:
        if isinstance(content, dict):
            return f'<Item number="{number}">{inside(content)}</Item>'
        return f'<Value number="{number}">{escape(str(content))}</Value>'

    space = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
    text = f'<NativeDicomModel xmlns="{space}" xml:space="preserve">{inside(module)}'
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}</NativeDicomModel>'.encode()


def posts(origin: Origin) -> list[Request]:
    """The store requests that came whole."""
    return [request for request in origin.requests if request.method == "POST"]


def uids(request: Request) -> list[str]:
    """The SOP Instance UIDs of the data sets in a store request."""
    parts = (pydicom.dcmread(io.BytesIO(part)) for part in sent_parts(request))
    return [str(part.SOPInstanceUID) for part in parts]


def outcomes(result: Result) -> dict[str, tuple[str, str]]:
    """What stderr says of each file, by its name without folder: what it became, and the rest."""
    found = _LINE.findall(result.err)
    named = {Path(item).name: (became, rest) for item, became, rest in found}
    assert len(named) == len(found)
    return named


def became(result: Result) -> dict[str, str]:
    """What became of each file, by its name without folder."""
    return {name: outcome for name, (outcome, _) in outcomes(result).items()}


@contextmanager
def listening(handle: Callable[[socket.socket], None], buffer: int = 0) -> Iterator[str]:
    """Run a server that does what a function does with each connection; yield its BASE_URL.

    Connections that the function leaves open stay so until the end. `buffer` bounds what the
    system takes for a server that does not read.
    """
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            handle(connection)

    def take(connection: socket.socket) -> None:
        connections.append(connection)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    if buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    close = accept_until_closed(listener, take)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/dicomweb"
    finally:
        close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def read_head(connection: socket.socket) -> Message:
    """Read the head of a request, a byte at a time so that the body is left; its header fields."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
        head += byte
    return email.message_from_bytes(head.partition(b"\r\n")[2])


def read_body(connection: socket.socket, head: Message) -> bytes:
    """Read the body of a request, or what comes of it."""
    length = int(head["Content-Length"] or 0)
    body = b""
    while len(body) < length and (piece := connection.recv(length - len(body))):
        body += piece
    return body
