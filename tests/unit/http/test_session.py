"""How requests are sent, and what is said of answers to others."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from dcmweb.errors import DcmwebError, Unreachable, WrongAnswer
from dcmweb.http.response import Response
from dcmweb.http.session import Session
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings

URL = "http://pacs.example/x"


@pytest.mark.parametrize(
    ("send", "timeouts", "follows"),
    [
        (lambda session: session.get("studies", accept="*/*"), (10.0, 120.0), True),
        (lambda session: session.post("studies", None, accept="*/*"), (10.0, 120.0), False),
        (lambda session: session.delete("studies/1.2", accept="*/*"), (10.0, 120.0), False),
        (lambda session: session.probe(f"{URL}/studies", accept="*/*"), (5.0, 5.0), False),
    ],
    ids=["get", "post", "delete", "probe"],
)
def test_only_what_is_got_is_redirected_and_a_probe_is_short(
    send: Callable[[Session], Response],
    timeouts: tuple[float, float],
    follows: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def note(_request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked.append(options)
        raise requests.ConnectTimeout("it does not answer")

    transport = Transport(Settings(base_url=URL))
    monkeypatch.setattr(transport.http, "send", note)
    with pytest.raises(Unreachable):
        send(Session(transport))
    transport.close()
    assert [(one["timeout"], one["allow_redirects"]) for one in asked] == [(timeouts, follows)]


def test_the_address_of_another_answer_has_no_values() -> None:
    transport = Transport(Settings(base_url=URL))
    answer: Any = SimpleNamespace(
        request=SimpleNamespace(method="GET"),
        status=200,
        headers={"Content-Location": "/x/studies/9/Doe?PatientID=4711"},
        close=lambda: None,
    )
    asked = f"{URL}/studies/1/series?PatientName=Doe"
    with pytest.raises(WrongAnswer, match=r"/x/studies/1/series was .* with /x/studies/9/\.\.\.$"):
        Session(transport)._check_identity(answer, asked)
    answer.status = 404
    Session(transport)._check_identity(answer, asked)
    answer.status, answer.request.method = 200, "POST"
    Session(transport)._check_identity(answer, asked)
    transport.close()


def test_only_success_passes_warnings_on_and_those_without_values() -> None:
    warnings: list[str] = []
    transport = Transport(Settings(base_url=URL))
    status = 404

    def answer(request: requests.PreparedRequest, **_: Any) -> requests.Response:
        found = requests.Response()
        found.status_code, found.url, found.request = status, str(request.url), request
        found.headers["Warning"] = '299 - "see http://other.example/?PatientID=4711"'
        return found

    transport.http.send = answer  # type: ignore[method-assign]
    session = Session(transport, warnings.append)
    session.get("studies", accept="*/*")
    assert warnings == []
    status = 200
    session.get("studies", accept="*/*")
    assert warnings == ["see http://other.example/?PatientID=..."]
    transport.close()


@pytest.mark.parametrize("kind", [OSError, requests.exceptions.InvalidURL, ValueError])
def test_no_error_of_a_library_has_values(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> requests.Response:
        raise kind("no Doe at http://other.example/?PatientID=4711")

    transport = Transport(Settings(base_url=URL))
    monkeypatch.setattr(transport.http, "send", fail)
    with pytest.raises(DcmwebError, match=r"no \.\.\. at http://other.example") as caught:
        Session(transport).get("studies?PatientName=Doe", accept="*/*")
    assert "4711" not in str(caught.value)
    transport.close()
