"""Authentication that answers challenges of the server (RFC 9110 section 11), by other packages.

Authentication for requests answers a challenge in a hook: it sends the request once more by itself.
Our bodies are streams, and the hook would send what is left of one: nothing. So the hook gets a
connection that sends nothing, and what it would have sent is what our session sends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import RLock, local
from typing import Any, NoReturn

import requests
from requests import PreparedRequest
from requests.auth import AuthBase

from dcmweb.errors import AuthError, DcmwebError
from dcmweb.http.auth.base import Authentication

Hook = Callable[..., Any]


class _WouldSend(BaseException):
    """The request with which a hook answers a challenge; no `except Exception` may catch it."""

    def __init__(self, request: PreparedRequest) -> None:
        super().__init__()
        self.request = request


class _Recorder:
    """A connection that sends nothing; it is also the body of an answer, which is empty."""

    def send(self, request: PreparedRequest, **_options: Any) -> NoReturn:
        raise _WouldSend(request)

    def release_conn(self) -> None:
        pass

    close = release_conn


class _OfThread(local):
    """What a thread knows of the request that it sends."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.challenge: requests.Response | None = None
        self.answer: PreparedRequest | None = None  # to the last challenge, not used yet
        self.adds_credentials = False  # without a challenge
        self.is_unchallenged = False


class ChallengeAuth(Authentication):
    """Uses an authentication for requests, whether it answers challenges or not.

    `name` is what it is called in errors, `identity` as whom it sends requests. It is called by
    one thread at a time.
    """

    def __init__(
        self, given: AuthBase, name: str, identity: str, secrets: tuple[str, ...] = ()
    ) -> None:
        self._given = given
        self._name = name
        self._identity = identity
        self._own_secrets = secrets
        self._lock = RLock()
        self._thread = _OfThread()

    @property
    def identity(self) -> str:
        """As whom requests are sent."""
        return self._identity

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return self._own_secrets

    @property
    def is_ready(self) -> bool:
        """Whether credentials go along with the next request, as far as it is known."""
        thread = self._thread
        is_answered = thread.answer is not None
        return is_answered or thread.adds_credentials or thread.is_unchallenged

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add what the other authentication adds, or its answer to the challenge before."""
        thread = self._thread
        own_hooks = [hook for hook in request.hooks["response"] if hook != self._note]
        before = dict(request.headers)
        sent_url, request.url = request.url, self._url_as_sent(str(request.url))
        result = self._guarded(lambda: self._given(request))
        if result is not request and isinstance(result, PreparedRequest):
            vars(request).update(vars(result))
        if request.url == self._url_as_sent(str(sent_url)):
            request.url = sent_url
        thread.hooks = [hook for hook in request.hooks["response"] if hook not in own_hooks]
        request.hooks["response"] = [*own_hooks, self._note]
        answer, thread.answer = thread.answer, None
        thread.adds_credentials = dict(request.headers) != before
        if answer is not None:
            is_same = (answer.method, answer.url) == (request.method, request.url)
            if is_same or not thread.adds_credentials:
                request.headers["Authorization"] = answer.headers["Authorization"]
        field: Any = request.headers.get("Authorization")
        if isinstance(field, str) and not field.isascii():
            encoded: Any = field.encode("utf-8", "surrogateescape")
            request.headers["Authorization"] = encoded
        return request

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Answer the challenge that came with a refusal; the next request takes the answer."""
        thread = self._thread
        challenge, thread.challenge = thread.challenge, None
        if status != 401 or challenge is None:
            return False
        for hook in thread.hooks:
            try:
                self._guarded(partial(hook, challenge))
            except _WouldSend as would:
                field = would.request.headers.get("Authorization")
                if field and field != refused.headers.get("Authorization"):
                    would.request.url = str(refused.url)
                    thread.answer = would.request
                    return True
        return False

    def _note(self, response: requests.Response, **_options: Any) -> None:
        """Keep the challenge of an answer; mutual authentication of other answers is ignored."""
        self._thread.is_unchallenged = response.status_code != 401
        self._thread.challenge = None
        if response.status_code == 401:
            self._thread.challenge = self._copy(response)

    def _copy(self, response: requests.Response) -> requests.Response:
        """Return an answer without its body, to a request without one, for a hook to look at."""
        request = response.request.copy()
        request.body = None
        request.headers.pop("Authorization", None)
        request.url = self._url_as_sent(str(request.url))
        copy: Any = requests.Response()
        copy.status_code, copy.reason = response.status_code, response.reason
        copy.headers, copy.url, copy.request = response.headers, request.url, request
        copy._content = b""
        copy._content_consumed = True
        copy.raw = copy.connection = _Recorder()
        found: requests.Response = copy
        return found

    def _url_as_sent(self, url: str) -> str:
        """Return a URL as the adapter sends it, since digests are made of it."""
        return url.replace("%5E", "^") if self.sends_raw_carets else url

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Call what is not ours; its errors are one line."""
        with self._lock:
            try:
                return action()
            except (DcmwebError, requests.ConnectionError, requests.Timeout):
                raise
            except Exception as error:
                reason = str(error).partition("\n")[0]
                said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
                raise AuthError(f"{self._name} failed: {said}") from error
