"""Every command with servers whose answers are made to do harm: the same table for all of them.

Whatever comes, the command ends with a code of the table, says so in printable words, and writes
nothing but what it was asked for into its folder.
"""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from dcmweb import Client
from dcmweb.errors import ExitCode, ProtocolError
from dcmweb.transactions.retrieve import metadata_answer
from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, serving
from tests.functional.storing import listening, read_body, read_head

(FILE,) = make_series(1)
STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.1"
COMMANDS = {
    "search": ["search", "studies"],
    "retrieve": ["retrieve", STUDY, "-o", "out"],
    "metadata": ["retrieve", f"{INSTANCE}/metadata", "-o", "out"],
    "frames": ["retrieve", f"{INSTANCE}/frames/1", "-o", "out"],
    "store": ["store", "in"],
    "delete": ["delete", STUDY],
    "copy from": ["copy", STUDY, "GOOD"],
    "copy to": ["copy", STUDY],
    "check": ["check", "in"],
    "ping": ["ping"],
}
ODD = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202egnp.exe \r \x00 \x08"
JSON = {"Content-Type": "application/dicom+json"}
XML = {"Content-Type": "application/dicom+xml"}
RELATED = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


def raw(head: bytes, *body: bytes) -> Callable[[socket.socket], None]:
    """Answer each request with these bytes, and close."""

    def answer(connection: socket.socket) -> None:
        read_body(connection, read_head(connection))
        with suppress(OSError):
            for piece in (head, *body):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_RDWR)

    return answer


def endless(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Answer with something that does not end until the client goes away."""

    def answer(connection: socket.socket) -> None:
        read_body(connection, read_head(connection))
        connection.sendall(head)
        while True:
            connection.sendall(piece * (1 + 65536 // len(piece)))

    return answer


def said(status: str, body: bytes, **fields: str) -> Callable[[socket.socket], None]:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    length = f"Content-Length: {len(body)}\r\n\r\n"
    return raw(f"HTTP/1.1 {status}\r\n{head}{length}".encode("latin-1", "replace"), body)


def moved(place: str) -> Callable[[socket.socket], None]:
    return said("302 Found", b"", Location=place)


def nested(gzips: int) -> bytes:
    data = b"[]"
    for _ in range(gzips):
        data = gzip.compress(data)
    return data


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbbbbbbbb"><!ENTITY c
"&b;&b;&b;&b;"><!ENTITY d SYSTEM "file:///etc/passwd">]><NativeDicomModel>&c;&d;</NativeDicomModel>"""
OK = b"HTTP/1.1 200 OK\r\n"
LONG = "a" * 10_240

ANSWERS: dict[str, Callable[[socket.socket], None]] = {
    "reason phrase": raw(b"HTTP/1.1 500 \x1b[31m\x9b2J\x07\r\nContent-Length: 0\r\n\r\n"),
    "plain words": said("400 No", ODD.encode(), Content_Type="text/plain"),
    "words that are not UTF-8": said("400 No", b"\xff\x1b[1m" * 99, Content_Type="text/plain"),
    "words in JSON": said("409 No", json.dumps({"message": ODD}).encode(), Content_Type="application/json"),
    "words in HTML": said("403 No", f"<html><title>{ODD}</title>".encode(), Content_Type="text/html"),
    "words without end": endless(b"HTTP/1.1 400 No\r\nContent-Type: text/plain\r\n\r\n", b"no "),
    "media type": said("200 OK", b"x", Content_Type="a/b; c=\x1b[31m\x9b"),
    "boundary": said("200 OK", b"x", Content_Type='multipart/related; boundary="\x1b\x9b"'),
    "warning": said("200 OK", b"{", Warning='299 - "\x1b[31m\x9b"', Content_Type="application/json"),
    "challenge": said("401 No", b"", WWW_Authenticate='Basic realm="\x1b[31m\x9b"'),
    "header fields without end": endless(OK, b"X-A: b\r\n"),
    "a header field without end": endless(OK + b"X-A: ", b"b"),
    "interim answers without end": endless(b"", b"HTTP/1.1 103 Early\r\n\r\n"),
    "redirect to itself": moved("/dicomweb/studies"),
    "redirect to a file": moved("file:///etc/passwd"),
    "redirect to another scheme": moved("gopher://127.0.0.1:1/"),
    "redirect to no address": moved("http://[::1"),
    "redirect to another port": moved("http://127.0.0.1:1/dicomweb/studies"),
    "redirect with escapes": moved("/\x1b[31m\x9b"),
    "redirect far away": moved("/" + LONG),
    "retry in a year": said("503 Busy", b"", Retry_After="31536000"),
    "retry in the past": said("503 Busy", b"", Retry_After="-1"),
    "retry at no time": said("429 Busy", b"", Retry_After="Fri, 99 Foo 0000 99:99:99 GMT"),
    "retry in digits": said("429 Busy", b"", Retry_After="9" * 5000),
    "retry with escapes": said("503 Busy", b"", Retry_After="\x1b[31m\xb2"),
    "deep lists": said("200 OK", b"[" * 1_000_000, Content_Type="application/dicom+json"),
    "deep objects": said("200 OK", b'{"a":' * 1_000_000, Content_Type="application/dicom+json"),
    "deep items": said("200 OK", b'[{"00081140":{"vr":"SQ","Value":' * 100_000, Content_Type="application/dicom+json"),
    "entities": said("200 OK", ENTITIES, Content_Type="application/dicom+xml"),
    "entities in a part": said("200 OK", b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n" + ENTITIES + b"\r\n--b--\r\n", Content_Type='multipart/related; type="application/dicom+xml"; boundary=b'),
    "a length like none": raw(OK + b"Content-Type: application/dicom+json\r\nContent-Length: 999999999999999999\r\n\r\n[", b""),
    "a chunk like none": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n["),
    "a negative length": raw(OK + b"Content-Length: -1\r\n\r\n[]"),
    "two lengths": raw(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n[]"),
    "header fields of a part without end": endless(OK + b"Content-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n\r\n--b\r\nX: ", b"x"),
    "a file that is not one": said("200 OK", b"--b\r\nContent-Type: text/plain\r\n\r\n" + b"\x1b[31m" * 99 + b"\r\n--b--\r\n", Content_Type=RELATED["Content-Type"]),
    "many codings": said("200 OK", nested(9), Content_Encoding=", ".join(["gzip"] * 9), Content_Type="application/dicom+json"),
    "an unknown coding": said("200 OK", b"[]", Content_Encoding="\x1b[31m", Content_Type="application/dicom+json"),
    "a broken coding": said("200 OK", b"[]", Content_Encoding="gzip", Content_Type="application/dicom+json"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    with serving(Archive(FILE)) as origin:
        yield origin.url


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_end_in_words(
    dcmweb: Dcmweb, tmp_path: Path, good: str, command: str, answer: str
) -> None:
    write_files(tmp_path / "in", [FILE])
    with listening(ANSWERS[answer]) as hostile:
        args = [good if arg == "GOOD" else arg for arg in COMMANDS[command]]
        first = hostile
        if command == "copy to":
            first, args = good, [*args, hostile]
        result = dcmweb("--retries", "0", "--timeout", "5", first, *args)
    assert result.code in set(ExitCode) - {ExitCode.DEFECT, ExitCode.USAGE}
    # A deletion is done if the status says so, and `ping` says what works of a server.
    assert result.code or command in ("delete", "ping")
    assert all(c == "\n" or c.isprintable() for c in result.err + result.out)
    assert len(result.err) < 50_000
    left = [name for name in tree(tmp_path) if not name.startswith(("in/", "home/"))]
    assert left == []


BOMBS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (gzip.compress, "gzip"),
    "deflate": (zlib.compress, "deflate"),
    "gzip twice": (lambda data: gzip.compress(gzip.compress(data)), "gzip, gzip"),
}


@cache
def made(bomb: str) -> bytes:
    return BOMBS[bomb][0](b"[" + b" " * (300 << 20) + b"]")


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from dcmweb.cli import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("kind", ["application/dicom+json", "text/plain"])
@pytest.mark.parametrize("command", ["search", "metadata", "retrieve", "store"])
def test_a_bomb_stays_small(tmp_path: Path, bomb: str, kind: str, command: str) -> None:
    """It would be 300 MB, where less than that may be used."""
    status = 400 if kind == "text/plain" else 200
    body, coding = made(bomb), BOMBS[bomb][1]
    head = {"Content-Type": kind, "Content-Encoding": coding}
    write_files(tmp_path / "in", make_series(1))
    with serving(lambda _: Answer(status, body, head)) as origin:
        done = subprocess.run(
            [DCMWEB[0], "-c", _LIMITED, "--retries", "0", origin.url, *COMMANDS[command]],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode in (1, 3, 5, 8), done.stderr
    assert "Traceback" not in done.stderr


def test_metadata_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to a temporary file, which has a limit."""
    monkeypatch.setattr(metadata_answer, "LARGEST", 1 << 20)
    answer = endless(OK + b"Content-Type: application/dicom+json\r\n\r\n[", b"{},")
    refused = pytest.raises(ProtocolError, match="too large")
    with listening(answer) as url, Client(url, retries=0) as client, refused:
        list(client.metadata(INSTANCE))
