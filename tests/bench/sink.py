"""A server that does no work: it drops what is stored, and serves the same bytes all the time.

    python -m tests.bench.sink FOLDER LATENCY

FOLDER holds the corpus: its files are what it serves, as one study of one series or more. LATENCY
is in seconds, and is waited for before each answer. The first line on stdout is the base URL.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from pathlib import Path

BOUNDARY = b"sinksinksink"
HEAD = b"--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
_UID = re.compile(rb"\x08\x00\x18\x00UI..(1\.2\.[0-9.]+)")  # SOP Instance UID, explicit VR
_SERIES = re.compile(rb"\x20\x00\x0e\x00UI..(1\.2\.[0-9.]+)", re.DOTALL)
_HEAD_SIZE = 4096  # bytes of a file in which that is
_OVERLAP = 128  # bytes that a UID may stand across two pieces
_BUFFER = 1024 * 1024


class Sink:
    """One corpus, served on a socket of its own."""

    def __init__(self, folder: Path, latency: float) -> None:
        self.latency = latency
        self.files = {path.stem: path for path in sorted(folder.glob("*.dcm"))}
        self.series: dict[str, list[Path]] = {}
        for path in self.files.values():
            self.series.setdefault(series_of(path), []).append(path)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/dicomweb"

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb", buffering=_BUFFER) as reader:
            while line := reader.readline():
                length, chunked = 0, False
                while (header := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                    chunked = chunked or name.lower() == b"transfer-encoding"
                method, target, _ = line.split()
                uids = self.drop_chunks(reader) if chunked else self.drop(reader, length)
                time.sleep(self.latency)
                if method == b"POST":
                    self.answer(connection, b"application/dicom+json", stored(uids))
                else:
                    path, _, query = target.decode().partition("?")
                    self.get(connection, path, query)

    def drop(self, reader: object, length: int) -> list[str]:
        """Read a body, keeping nothing but the UIDs in it."""
        uids: dict[str, None] = {}
        last = b""
        while length:
            piece = reader.read1(min(length, _BUFFER))  # type: ignore[attr-defined]
            length -= len(piece)
            uids.update((uid.decode(), None) for uid in _UID.findall(last + piece))
            last = piece[-_OVERLAP:]
        return list(uids)

    def drop_chunks(self, reader: object) -> list[str]:
        uids: list[str] = []
        while size := int(reader.readline(), 16):  # type: ignore[attr-defined]
            uids += self.drop(reader, size)
            reader.readline()  # type: ignore[attr-defined]
        reader.readline()  # type: ignore[attr-defined]
        return uids

    def get(self, connection: socket.socket, path: str, query: str) -> None:
        _, _, last = path.rpartition("/")
        if last in ("studies", "series", "instances"):
            rows = self.rows(last, path) if "offset=" not in query else []
            self.answer(connection, b"application/dicom+json", json.dumps(rows).encode())
        elif last in self.files:
            path_of = self.files[last]
            self.head(connection, b"application/dicom", path_of.stat().st_size)
            self.send(connection, path_of)
        else:
            self.get_all(connection, self.series.get(last, list(self.files.values())))

    def get_all(self, connection: socket.socket, files: list[Path]) -> None:
        """Answer with the files of a study or series."""
        length = sum(file.stat().st_size + len(HEAD) + 2 for file in files) + len(BOUNDARY) + 6
        self.head(connection, b"multipart/related; boundary=" + BOUNDARY, length)
        for file in files:
            connection.sendall(HEAD, socket.MSG_MORE)
            self.send(connection, file)
            connection.sendall(b"\r\n", socket.MSG_MORE)
        connection.sendall(b"--" + BOUNDARY + b"--\r\n")

    def rows(self, level: str, path: str) -> list[dict[str, object]]:
        study: dict[str, object] = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
        if level == "studies":
            return [study | {"00201208": {"vr": "IS", "Value": [str(len(self.files))]}}]
        found = []
        for uid, files in self.series.items():
            row = study | {"0020000E": {"vr": "UI", "Value": [uid]}}
            if level == "series":
                found.append(row | {"00201209": {"vr": "IS", "Value": [str(len(files))]}})
            elif f"/series/{uid}/" in path or "/series/" not in path:
                found += [row | {"00080018": {"vr": "UI", "Value": [one.stem]}} for one in files]
        return found

    def send(self, connection: socket.socket, path: Path) -> None:
        with path.open("rb") as file:
            connection.sendfile(file)

    def answer(self, connection: socket.socket, kind: bytes, body: bytes) -> None:
        self.head(connection, kind, len(body))
        connection.sendall(body)

    def head(self, connection: socket.socket, kind: bytes, length: int) -> None:
        lines = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(lines % (kind, length))


def series_of(path: Path) -> str:
    """Read the Series Instance UID of a file."""
    with path.open("rb") as file:
        found = _SERIES.search(file.read(_HEAD_SIZE))
    return found[1].decode() if found else ""


def stored(uids: list[str]) -> bytes:
    """Name the instances of a request as stored."""
    items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode()


if __name__ == "__main__":
    sink = Sink(Path(sys.argv[1]), float(sys.argv[2]))
    print(sink.url, flush=True)
    sink.serve()
