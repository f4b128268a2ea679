"""Token servers that a test scripts, and servers that take their tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.functional.origin import Answer, Handler, Origin, Request

BEARER = "Bearer "
WriteKey = Callable[[Origin], Path]


def issued(token: str, **more: Any) -> Answer:
    """The answer of a token server (RFC 6749 section 5.1)."""
    content = {"access_token": token, "token_type": "Bearer", **more}
    return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


def refused(code: str, words: str, status: int = 401) -> Answer:
    """The answer of a token server that gives none (RFC 6749 section 5.2)."""
    content = {"error": code, "error_description": words}
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


def form_of(request: Request) -> dict[str, str]:
    """What was posted."""
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


class Issuer:
    """Issues numbered tokens; the first one expires after so many uses.

    `script` has what to answer instead, at first.
    """

    def __init__(self, *script: Answer, uses: int = 10**9, **more: Any) -> None:
        self.issued = 0
        self._uses = uses
        self._left: dict[str, int] = {}
        self._script = list(script)
        self._more = more
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        """Answer as the token server."""
        with self._lock:
            if self._script:
                return self._script.pop(0)
        return issued(self.new_token(), **self._more)

    def new_token(self) -> str:
        with self._lock:
            self.issued += 1
            token = f"T0KEN-{self.issued}"
            self._left[token] = self._uses if self.issued == 1 else 10**9
            return token

    def guarding(self, handler: Handler, status: int = 401) -> Callable[[Request], Answer]:
        """Let a server answer only to tokens that have not been used too often."""

        def handle(request: Request) -> Answer:
            token = request.headers.get("authorization", "").removeprefix(BEARER)
            with self._lock:
                left = self._left.get(token, 0)
                if left:
                    self._left[token] = left - 1
            return handler(request) if left else Answer(status)

        return handle
