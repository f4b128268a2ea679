"""Content codings: what they hide comes as it was, piece by piece, and whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import zlib

import pytest

from dcmweb.errors import ProtocolError, Truncated
from dcmweb.http.content_coding import decoded


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


DATA = os.urandom(1000) + b"some text, again and again; " * 10_000


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


CODINGS = {
    "gzip": ("gzip", zipped(DATA)),
    "x-gzip": ("X-GZip", zipped(DATA)),
    "members": ("gzip", zipped(DATA[:5000]) + zipped(b"") + zipped(DATA[5000:])),
    "zeros after it": ("gzip", zipped(DATA) + bytes(100)),
    "zlib": ("deflate", zlib.compress(DATA)),
    "raw": ("deflate", raw_deflate(DATA)),
    "identity": ("identity", DATA),
    "none": ("", DATA),
    "two": ("gzip, deflate", zlib.compress(zipped(DATA))),
}  # fmt: skip


def read(wire: bytes, coding: str, size: int, step: int = 1 << 20) -> bytes:
    stream = io.BytesIO(wire)
    reader = decoded(lambda most: stream.read(min(most, step)), coding)
    pieces = []
    while piece := reader(size):
        assert len(piece) <= size
        pieces.append(piece)
    assert reader(size) == b""
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("size", "step"), [(100, 1 << 20), (1 << 20, 1 << 20), (5000, 1), (7000, 13)]
)
@pytest.mark.parametrize(("coding", "wire"), CODINGS.values(), ids=CODINGS.keys())
def test_what_was_encoded_comes_out(coding: str, wire: bytes, size: int, step: int) -> None:
    assert read(wire, coding, size, step) == DATA


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_nothing_is_nothing_in_every_coding(coding: str) -> None:
    assert read(b"", coding, 100) == b""


SMALL = b"some text" * 20


@pytest.mark.parametrize(
    ("coding", "wire"),
    [
        ("gzip", zipped(SMALL)),
        ("deflate", zlib.compress(SMALL)),
        ("deflate", raw_deflate(SMALL)),
    ],
    ids=["gzip", "zlib", "raw"],
)
def test_a_coding_that_breaks_off_anywhere_is_an_error(coding: str, wire: bytes) -> None:
    for end in range(1, len(wire)):
        with pytest.raises(Truncated):
            read(wire[:end], coding, 1000)


@pytest.mark.parametrize(
    ("coding", "wire"),
    [
        ("br", b"data"),
        ("zstd", b"data"),
        ("compress", b"data"),
        ("gzip, aes128gcm", b"data"),
        ("gzip, gzip, gzip, gzip", b"data"),
        ("gzip", b"not gzip"),
        ("gzip", zipped(SMALL)[:-8] + bytes(8)),
        ("gzip", zipped(SMALL) + b"rubbish"),
        ("deflate", b"\xff\xff\xff"),
        ("deflate", zlib.compress(SMALL) + b"rubbish"),
        # What would be understood, if it were not for its name, its number or its place.
        ("br", zipped(SMALL)),
        ("gzip, gzip, gzip, gzip", zipped(zipped(zipped(zipped(SMALL))))),
        ("deflate", zlib.compress(SMALL) * 2),
    ],
)
def test_what_is_not_understood_is_an_error(coding: str, wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(wire, coding, 1000)


def test_no_more_is_inflated_than_was_asked_for() -> None:
    bomb = zipped(bytes(100_000_000))
    taken = 0

    def wire(size: int) -> bytes:
        nonlocal taken
        taken += size
        return bomb[taken - size : taken]

    reader = decoded(wire, "gzip")
    assert reader(1000) == bytes(1000)
    assert reader(1000) == bytes(1000)
    assert taken <= 64 * 1024


@pytest.mark.parametrize("size", [1, 7])
def test_what_is_left_at_the_end_comes_in_pieces_too(size: int) -> None:
    assert read(zipped(b"a" * 1000), "gzip", size) == b"a" * 1000
