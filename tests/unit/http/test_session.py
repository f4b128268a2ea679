"""How requests are sent: how long they may take, and whether they follow redirects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from dcmweb.errors import Unreachable
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
