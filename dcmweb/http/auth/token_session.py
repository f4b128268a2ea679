"""A session for the libraries of Google and Azure that connects as dcmweb does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import requests
import urllib3

from dcmweb.http.auth.base import Send
from dcmweb.http.redaction import HIDDEN

_SECRET_FIELD = re.compile(r"auth|secret|token|key|identity-header", re.IGNORECASE)
# What is posted to token servers and is not a secret.
_HARMLESS = re.compile(r"grant_type|scopes?|resource|audience|.*_type|client_id|options")
_SHORTEST = 6  # characters of what is hidden
LONGEST_ANSWER = 1024 * 1024  # bytes
LONGEST_TIMEOUTS = (10.0, 30.0)  # seconds: to connect, and between two bytes


class TokenSession:
    """What these libraries take for a requests session: trust and proxies are those of the user."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._sent: set[str] = set()

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
        """Send a request, and read its answer up to a limit. Raises errors of requests."""
        self._remember(headers or {}, data)
        request = requests.Request(method, url, headers=dict(headers or {}), data=data)
        answer = self._send(request, _timeouts(timeout))
        try:
            with answer:
                body: bytes = answer.raw.read(LONGEST_ANSWER + 1, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise requests.exceptions.ConnectionError(error) from error
        if len(body) > LONGEST_ANSWER:
            raise requests.exceptions.ConnectionError("the answer is too large")
        # Where `content` keeps what was read, which knows no limit.
        vars(answer).update(_content=body, _content_consumed=True)
        return answer

    def _remember(self, headers: Mapping[str, Any], data: Any) -> None:
        """Note the secrets of a request."""
        found = [str(value) for name, value in headers.items() if _SECRET_FIELD.search(name)]
        found += [word for value in found for word in value.split()]
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        form = parse_qsl(text) if isinstance(text, str) else dict(text or {}).items()
        found += [str(value) for name, value in form if not _HARMLESS.fullmatch(str(name))]
        self._sent.update(value for value in found if len(value) >= _SHORTEST)

    def hide(self, text: str) -> str:
        """Hide the secrets that were sent, in a text where a server may repeat them."""
        for secret in sorted(self._sent, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        if any(secret in unquote_plus(text) for secret in self._sent):
            return HIDDEN
        return text

    def close(self) -> None:
        """Leave the connections, which are not those of this session, open."""


def _timeouts(given: Any) -> tuple[float, float]:
    """Return the timeouts that a library wants, but no longer ones than ours."""
    both = given if isinstance(given, tuple) else (given, given)
    longest = zip(both, LONGEST_TIMEOUTS, strict=True)
    connect, read = (min(one, most) if one else most for one, most in longest)
    return connect, read
