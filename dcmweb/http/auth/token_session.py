"""A session for the libraries of Google and Azure that connects as dcmweb does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
import urllib3

from dcmweb.http.auth.base import Send

LONGEST_TIMEOUTS = (10.0, 30.0)  # seconds: to connect, and between two bytes


class TokenSession:
    """What these libraries take for a requests session: trust and proxies are those of the user."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        timeout: Any = None,
        **_: Any,  # certificates and proxies as they would choose them
    ) -> requests.Response:
        """Send a request, and read its answer. Raises errors of requests."""
        request = requests.Request(method, url, headers=dict(headers or {}), data=data)
        answer = self._send(request, _timeouts(timeout))
        try:
            answer.content  # noqa: B018 - reads it
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise requests.exceptions.ConnectionError(error) from error
        return answer

    def close(self) -> None:
        """Leave the connections, which are not those of this session, open."""


def _timeouts(given: Any) -> tuple[float, float]:
    """Return the timeouts that a library wants, but no longer ones than ours."""
    both = given if isinstance(given, tuple) else (given, given)
    longest = zip(both, LONGEST_TIMEOUTS, strict=True)
    connect, read = (min(one, most) if one else most for one, most in longest)
    return connect, read
