"""Inputs that are small and ask for much, and files that nobody expects, made by code."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path

EXPLICIT = b"1.2.840.10008.1.2.1"
DEFLATED = b"1.2.840.10008.1.2.1.99"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Make an element with a short length, in Explicit VR Little Endian."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def meta(syntax: bytes, before: bytes = b"") -> bytes:
    """Make preamble and file meta information, with what stands before the transfer syntax."""
    content = element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.7")
    content += element(0x00020003, b"UI", b"1.2.3.4.5") + before
    content += element(0x00020010, b"UI", syntax)
    length = struct.pack("<L", len(content))
    return b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", length) + content


INSTANCE = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7")
INSTANCE += element(0x00080018, b"UI", b"1.2.3.4.5")
SERIES = element(0x0020000D, b"UI", b"1.2.3") + element(0x0020000E, b"UI", b"1.2.3.4")


def deflated(before: bytes, size: int, after: bytes = b"") -> bytes:
    """Make a deflated file in which a private element of so many zeros stands between others."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    private = struct.pack("<HH2sHL", 0x0009, 0x1010, b"OB", 0, size)
    data = deflater.compress(before + private)
    data += b"".join(deflater.compress(bytes(1 << 20)) for _ in range(size >> 20))
    data += deflater.compress(bytes(size % (1 << 20)) + after) + deflater.flush()
    return meta(DEFLATED) + data + b"\0" * (len(data) % 2)


def nested(levels: int) -> bytes:
    """Make a file with sequences within each other, before the UIDs of study and series."""
    start = struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    start += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return meta(EXPLICIT) + INSTANCE + start * levels + SERIES


def put_pipe(path: Path) -> None:
    """Put a named pipe in place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_socket(path: Path) -> None:
    """Put a socket into a folder."""
    path.unlink(missing_ok=True)
    here = Path.cwd()
    os.chdir(path.parent)  # as the paths of sockets have to be short
    try:
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(path.name)
    finally:
        os.chdir(here)
