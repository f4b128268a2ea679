"""What runs share: the codings that are asked for, and what is read of redirects."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import urllib3

from dcmweb.http.transport import Transport
from dcmweb.settings import Settings


class Endless:
    """A body without an end, of which no more than a megabyte is to be read."""

    closed = False
    taken = 0

    def read(self, size: int = -1) -> bytes:
        self.taken += size
        assert 0 <= self.taken <= 1 << 20, "it is read on and on"
        return bytes(size)

    def close(self) -> None:
        self.closed = True


def test_the_body_of_a_redirect_need_not_end() -> None:
    body: Any = Endless()
    answer = requests.Response()
    answer.status_code = 302
    answer.headers["Location"] = "/there"
    answer.raw = urllib3.HTTPResponse(body, preload_content=False)
    transport = Transport(Settings(base_url="http://pacs.example/x"))
    assert transport.http.get_redirect_target(answer) == "/there"
    assert answer.content == b""
    transport.close()


def test_no_library_adds_codings_that_cannot_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("requests.utils.DEFAULT_ACCEPT_ENCODING", "gzip, br, zstd")
    transport = Transport(Settings(base_url="http://pacs.example/x"))
    assert transport.http.headers["Accept-Encoding"] == "gzip, deflate"
    transport.close()
