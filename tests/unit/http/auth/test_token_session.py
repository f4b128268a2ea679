"""The session of the libraries of Google and Azure: what it reads, and what it hides."""

from __future__ import annotations

import io
from typing import Any

import pytest
import requests
import urllib3

from dcmweb.http.auth import token_session
from dcmweb.http.auth.token_session import TokenSession
from tests.unit.http.auth.helpers import Scripted, Servers, answer

URL = "https://login.example/token"


def session(given: Scripted | None = None) -> TokenSession:
    return TokenSession(Servers(given or answer({})))


def test_an_answer_is_read_to_its_end() -> None:
    found = session(answer({"a": 1})).request("GET", URL)
    assert found.json() == {"a": 1}
    assert b"".join(found.iter_content(3)) == found.content


def test_an_answer_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_session, "LONGEST_ANSWER", 1000)
    assert len(session(answer(b"x" * 1000)).request("GET", URL).content) == 1000
    body = io.BytesIO(b"x" * 10_000)
    raw = urllib3.HTTPResponse(body, preload_content=False)

    def send(request: requests.Request, timeouts: tuple[float, float]) -> requests.Response:
        del request, timeouts
        found = requests.Response()
        found.raw = raw
        return found

    with pytest.raises(requests.exceptions.ConnectionError, match="too large"):
        TokenSession(send).request("GET", URL)
    assert raw.closed


def test_an_answer_that_breaks_off_is_an_error_of_the_connection() -> None:
    class Breaking(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError("broke")

    def send(request: requests.Request, timeouts: tuple[float, float]) -> requests.Response:
        del request, timeouts
        found = requests.Response()
        found.raw = urllib3.HTTPResponse(Breaking(b"x"), preload_content=False)
        return found

    with pytest.raises(requests.exceptions.ConnectionError):
        TokenSession(send).request("GET", URL)


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (None, (10.0, 30.0)),
        (120, (10.0, 30.0)),
        (2, (2, 2)),
        ((1, 1000), (1, 30.0)),
    ],
)
def test_no_answer_is_waited_for_longer_than_ours(asked: Any, used: tuple[float, float]) -> None:
    servers = Servers(answer({}))
    TokenSession(servers).request("GET", URL, timeout=asked)
    assert servers.timeouts == [used]


SENT: list[tuple[dict[str, str], Any]] = [
    ({"Authorization": "Bearer S3CRET-one"}, None),
    ({"X-Client-Secret": "S3CRET-one"}, None),
    ({"X-Api-Key": "S3CRET-one"}, None),
    ({"X-Identity-Header": "S3CRET-one"}, None),
    ({}, "client_id=me&client_secret=S3CRET-one"),
    ({}, b"grant_type=password&assertion=S3CRET-one"),
    ({}, {"refresh_token": "S3CRET-one", "scope": "https://cloud"}),
]


@pytest.mark.parametrize(("headers", "data"), SENT)
def test_what_was_sent_and_is_secret_is_hidden(headers: dict[str, str], data: Any) -> None:
    sent = session()
    sent.request("POST", URL, headers=headers, data=data)
    assert sent.hide("you sent S3CRET-one") == "you sent ..."
    assert sent.hide("me, password, https://cloud") == "me, password, https://cloud"


def test_a_secret_that_begins_as_another_is_hidden_whole() -> None:
    sent = session()
    sent.request("POST", URL, data={"a": "S3CRET", "b": "S3CRET-and-more"})
    assert sent.hide("S3CRET-and-more") == "..."


def test_what_is_too_short_for_a_secret_stays() -> None:
    sent = session()
    sent.request("POST", URL, data={"a": "the"})
    assert sent.hide("the server") == "the server"


def test_a_secret_that_is_escaped_hides_all() -> None:
    sent = session()
    sent.request("POST", URL, data={"a": "S3CRET/one two"})
    assert sent.hide("it was S3CRET%2Fone+two") == "..."
