"""The pictures of a contact sheet: no more is read of an answer than a picture can have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dcmweb.errors import ProtocolError
from dcmweb.http.media_types import parse
from dcmweb.http.multipart import read_parts
from dcmweb.transactions.contact_sheet import run


def answer(*pieces: bytes) -> Any:
    """An answer in parts, which ends in a failure of the test."""
    waiting = iter(pieces)

    def read(_size: int) -> bytes:
        piece = next(waiting, None)
        assert piece is not None, "it is read on and on"
        return piece

    return SimpleNamespace(
        media_type=parse("multipart/related; boundary=b"), parts=lambda: read_parts(read, "b")
    )


def test_a_picture_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_LARGEST", 10_000)
    with pytest.raises(ProtocolError, match="too large"):
        run._content(answer(b"--b\r\n\r\n", *[bytes(1000)] * 20))


def test_parts_behind_the_picture_are_not_read() -> None:
    first = b"--b\r\n\r\npicture\r\n--b\r\n\r\n" + bytes(1000)
    assert run._content(answer(first, *[bytes(1000)] * 20)) == b"picture"
