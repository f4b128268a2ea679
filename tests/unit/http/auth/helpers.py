"""What tests of all schemes share."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from dcmweb.http import auth
from dcmweb.http.auth import Authentication
from dcmweb.settings import Credentials, Settings

GOOGLE_URL = "https://healthcare.googleapis.com/v1/projects/p"
AZURE_URL = "https://ws-dicom.dicom.azurehealthcareapis.com/v2"
OTHER_URL = "https://pacs.example/dicomweb"


def choose(url: str, given: Credentials) -> Authentication:
    return auth.choose(Settings(base_url=url, credentials=given))


def prepared(authentication: Authentication) -> requests.PreparedRequest:
    return requests.Request("GET", OTHER_URL, auth=authentication).prepare()


def header(authentication: Authentication) -> str | None:
    return prepared(authentication).headers.get("Authorization")


def jwt(expires: object, **claims: Any) -> str:
    """A token that says when it expires; its signature is not one."""
    parts = ({"alg": "none"}, {"exp": expires, **claims})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(one.rstrip("=") for one in encoded), "c2ln"])


def at_once(action: Callable[[], Any], count: int) -> list[Any]:
    """Call something in so many threads at a time; return what came of it, errors included."""
    together = threading.Barrier(count)
    results: list[Any] = []

    def call() -> None:
        together.wait(10)
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    run_all(threading.Thread(target=call) for _ in range(count))
    return results


def run_all(threads: Iterable[threading.Thread]) -> None:
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30)


@dataclass(frozen=True)
class Scripted:
    """What a server is to answer."""

    body: bytes
    status: int
    headers: dict[str, str]

    def made(self) -> requests.Response:
        response = requests.Response()
        response.status_code = self.status
        response.headers.update(self.headers)
        body = io.BytesIO(self.body)
        response.raw = urllib3.HTTPResponse(body, status=self.status, preload_content=False)
        return response


def answer(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Scripted:
    """An answer with JSON, or with the bytes that are given."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Scripted(body, status, headers or {})


class Servers:
    """Takes the place of the network for the requests of an authentication.

    The last answer is given to all further requests.
    """

    def __init__(self, *answers: Scripted | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[requests.Request] = []
        self.timeouts: list[tuple[float, float]] = []

    def __call__(
        self, request: requests.Request, timeouts: tuple[float, float]
    ) -> requests.Response:
        self.requests.append(request)
        self.timeouts.append(timeouts)
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given.made()
