"""Asks a token server for a token, and says in words why there is none."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import requests
import urllib3

from dcmweb.errors import (
    AuthError,
    DcmwebError,
    NetworkError,
    ProtocolError,
    Refused,
    Stalled,
    UsageError,
)
from dcmweb.http import error_mapping
from dcmweb.http.auth.base import Send
from dcmweb.http.auth.token_session import LONGEST_ANSWER
from dcmweb.http.auth.token_text import expiry_in, expiry_of_jwt, is_token, value_in
from dcmweb.http.auth.tokens import Token
from dcmweb.http.redaction import HIDDEN, without_query
from dcmweb.http.server_words import looks_like_html, server_words

TRIES = 3
FIRST_DELAY = 0.5  # seconds before the second attempt, doubled for the third
LONGEST_WAIT = 10.0  # seconds that a token server can ask for with Retry-After
LONGEST_READ = 20.0  # seconds without a byte
_LOOPBACK = re.compile(r"localhost|.+\.localhost|127(\.\d{1,3}){3}|::1", re.IGNORECASE)


class Refusal(Exception):
    """The token server answered with an error (RFC 6749 section 5.2).

    `code` is one such as invalid_client; "" if the answer has none. A scheme decides what to do.
    """

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(status, code, words)
        self.status = status
        self.code = code
        self.words = words


class TokenServer:
    """A token endpoint (RFC 6749 section 3.2). It shows no secret that is in its answers."""

    def __init__(self, url: str, send: Send, connect_timeout: float, idle_timeout: float) -> None:
        self.url = url
        self._send = send
        self._timeouts = (connect_timeout, min(idle_timeout, LONGEST_READ))

    def __str__(self) -> str:
        return f"the token server {urlsplit(self.url).netloc}"

    def issue(self, form: Mapping[str, str], client: tuple[str, str] | None = None) -> Token:
        """Post a form, with a client's name and secret in the header if they are given.

        Raises Refusal if the server refuses, NetworkError if it cannot be reached, Refused if it
        fails, ProtocolError if it answers with something else than a token.
        """
        for attempt in range(TRIES):
            try:
                return self._issue(form, client)
            except (NetworkError, Refused) as error:
                wait = self._wait(error, attempt)
                if wait is None:
                    error.fatal = True  # no other item of the run has a token either
                    raise
            time.sleep(wait)
        raise AssertionError("the last attempt raises")

    def _wait(self, error: NetworkError | Refused, attempt: int) -> float | None:
        """Return how long to wait before another attempt; None if there should not be one."""
        if attempt + 1 == TRIES or not error.retryable or isinstance(error, Stalled):
            return None
        wait: float = FIRST_DELAY * 2**attempt * random.uniform(0.5, 1)  # noqa: S311
        asked = error.retry_after if isinstance(error, Refused) else None
        if asked is None:
            return wait
        return asked + wait if asked <= LONGEST_WAIT else None

    def _issue(self, form: Mapping[str, str], client: tuple[str, str] | None) -> Token:
        began = time.time()
        basic = _basic(*client) if client else ""
        status, headers, body = self._post(form, basic)
        if 200 <= status < 300:
            return self._token(body, began)
        secrets = (basic, client[1] if client else form.get("client_secret", ""))
        body = _without(secrets, body.decode("utf-8", "replace")).encode()
        words = server_words(headers, body)
        said = f"{self} answered {status}" + (f": {words}" if words else "")
        if status in error_mapping.RETRYABLE_STATUSES:
            after = error_mapping.retry_after(headers)
            raise Refused(said, status=status, retryable=True, retry_after=after)
        if 300 <= status < 400:
            to = without_query(headers.get("Location", "")) or "nowhere"
            raise ProtocolError(f"{self} redirects to {to}", "if that is right, use --token-url")
        code = _error_code(body)
        if code or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Refusal(status, code, words or f"answered {status}")
        raise ProtocolError(said, "check --token-url: it must be the token endpoint")

    def _post(self, form: Mapping[str, str], basic: str) -> tuple[int, Mapping[str, str], bytes]:
        """Send the form once. What is raised does not lead to the request, and its secret."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if basic:
            headers["Authorization"] = f"Basic {basic}"
        request = requests.Request("POST", self.url, headers=headers, data=dict(form))
        failed: DcmwebError
        try:
            answer = self._send(request, self._timeouts)
            with answer:
                body: bytes = answer.raw.read(LONGEST_ANSWER, decode_content=True)
            return answer.status_code, answer.headers, body
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failed = error_mapping.from_exception(error, self.url, self._timeouts[1])
        failed.message = f"no token: {failed.message}"
        failed.hint = failed.hint.replace("BASE_URL", "--token-url")
        if isinstance(failed, Stalled):
            failed.hint = f"{self} is slow, or something between keeps its answers back"
        raise failed

    def _token(self, body: bytes, began: float) -> Token:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        value = value_in({"": found, **found}) if isinstance(found, dict) else None
        if not isinstance(found, dict) or not value or not is_token(value):
            what = "a web page" if looks_like_html(body) else "no token"
            raise ProtocolError(
                f"{self} answered with {what}", "check --token-url: it must be the token endpoint"
            )
        expires = expiry_in(found, began)
        return Token(value, expiry_of_jwt(value) if expires is None else expires)


def check_url(url: str) -> None:
    """Raise UsageError for the address of a token server that would show secrets, or cannot be."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_right = parts.scheme in ("http", "https") and bool(host) and (parts.port or 1) > 0
    except ValueError:
        is_right = False
    if not is_right or parts.fragment or url.split() != [url]:
        raise UsageError("--token-url is not the address of a token server", "write https://HOST/…")
    if "@" in parts.netloc:
        raise UsageError("--token-url has a user in it", "use --client-id and the client's secret")
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"--token-url is not https, so that others could read the client's secret: {host}",
            "write https:// (http:// is for this machine only)",
        )


def is_loopback(host: str) -> bool:
    """Return True for a name or address of this machine itself (RFC 6761 section 6.3)."""
    return bool(_LOOPBACK.fullmatch(host))


def as_error(refusal: Refusal, server: TokenServer, hint: str) -> AuthError:
    """Make the error for credentials that a token server refuses."""
    return AuthError(f"{server} refuses the credentials: {refusal.words}", hint)


def _basic(name: str, secret: str) -> str:
    """Encode a client's name and secret: as in a form first (RFC 6749 section 2.3.1)."""
    return base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()


def _error_code(body: bytes) -> str:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    code = found.get("error") if isinstance(found, dict) else None
    return code if isinstance(code, str) else ""


def _without(secrets: tuple[str, ...], text: str) -> str:
    """Hide secrets that a server repeats."""
    for secret in filter(None, secrets):
        in_json = json.dumps(secret)[1:-1]
        for written in {secret, quote(secret), quote_plus(secret), in_json, quote(secret, safe="")}:
            text = text.replace(written, HIDDEN)
    return text
