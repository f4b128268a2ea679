"""A server without a network: what a context's requests come to is decided by a function."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import urllib3

from dcmweb.dicom.tags import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dcmweb.http.adapter import Adapter
from dcmweb.http.transport import Transport
from dcmweb.settings import AuthScheme, Credentials, Settings
from dcmweb.transactions.context import RunContext
from dcmweb.transfer import engine

BASE_URL = "http://server.example/dicomweb"
Row = dict[str, Any]


@dataclass
class Answer:
    """What the server answers."""

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/dicom+json"}
    )

    @classmethod
    def rows(cls, rows: list[Row], status: int = 200, warning: str = "") -> Answer:
        headers = {"Warning": warning} if warning else {}
        return cls(status, json.dumps(rows).encode(), headers)


Answering = Callable[[str, dict[str, str]], Answer]


class Server:
    """Answers by path and query parameters; `targets` lists what was asked for, below the base."""

    def __init__(self, answering: Answering) -> None:
        self.targets: list[str] = []
        self._answering = answering

    def send(self, adapter: Adapter, request: requests.PreparedRequest) -> requests.Response:
        url = str(request.url)
        assert url.startswith(BASE_URL + "/")
        self.targets.append(url.removeprefix(BASE_URL + "/"))
        parts = urlsplit(self.targets[-1])
        answer = self._answering(parts.path, dict(parse_qsl(parts.query)))
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        raw = urllib3.HTTPResponse(
            io.BytesIO(answer.body), headers, answer.status, preload_content=False
        )
        return adapter.build_response(request, raw)


def row(study: object = "", series: object = "", instance: object = "") -> Row:
    uids = {STUDY_INSTANCE_UID: study, SERIES_INSTANCE_UID: series, SOP_INSTANCE_UID: instance}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items() if uid}


def studies(count: int) -> list[Row]:
    return [row(f"1.{number}") for number in range(count)]


@dataclass
class Archive:
    """A server of rows, with the habits that servers have."""

    rows: list[Row]
    cap: int = 10_000  # rows it returns at most
    most: int = 10_000  # a larger limit is turned down
    last_offset: int = 10_000  # a larger offset is turned down
    refusal: int = 400
    ignores_offset: bool = False
    warns: bool = False
    empty: int = 200

    def __call__(self, path: str, parameters: dict[str, str]) -> Answer:
        offset = int(parameters.get("offset", 0))
        limit = int(parameters.get("limit", 100))
        if limit > self.most or offset > self.last_offset:
            return Answer(self.refusal, b"limit or offset out of range")
        start = 0 if self.ignores_offset else offset
        end = start + min(limit, self.cap)
        rows = self.rows[start:end]
        if not rows and self.empty != 200:
            return Answer(self.empty, b"")
        more = self.warns and end < len(self.rows)
        return Answer.rows(rows, warning='299 h: "2 additional results"' if more else "")


Serve = Callable[..., tuple[RunContext, Server]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Make a context of a server that answers as told; without delays between retries."""
    monkeypatch.setattr(engine, "FIRST_DELAY", 0)
    transports: list[Transport] = []

    def start(
        answering: Answering, notify: Callable[[str], None] = lambda _: None, **settings: Any
    ) -> tuple[RunContext, Server]:
        server = Server(answering)
        monkeypatch.setattr(Adapter, "send", lambda self, request, **_: server.send(self, request))
        credentials = Credentials(scheme=AuthScheme.NONE)
        given = Settings(base_url=BASE_URL, credentials=credentials, **settings)
        transports.append(Transport(given))
        return RunContext(transports[-1], notify=notify), server

    yield start
    for transport in transports:
        transport.close()
