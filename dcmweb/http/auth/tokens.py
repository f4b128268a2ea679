"""A token that threads share: it is got anew ahead of its expiry, by one of them for all."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import Protocol

from dcmweb.errors import AuthError, DcmwebError

# A token is renewed this long ahead of its expiry: a part of its time, but not longer than this.
MARGIN_PART, LONGEST_MARGIN = 0.1, 120.0
LONGEST_PAUSE = 30.0  # seconds between two attempts to renew a token that is still valid
SETTLED = 5.0  # seconds in which a source that gave the same token again is not asked for another
REFUSED = 2.0  # seconds in which a source that refused is not asked again: threads come one by one
BETWEEN_FORBIDDEN = 60.0  # seconds between two renewals after 403 of tokens that name no expiry


@dataclass(frozen=True)
class Token:
    """A token, and when it expires in seconds since 1970, if that is known."""

    value: str = field(repr=False)
    expires: float | None = None

    def has_expired(self, now: float) -> bool:
        """Return True if it is known that the token has expired."""
        return self.expires is not None and now >= self.expires


class TokenSource(Protocol):
    """Where tokens come from. It is asked by one thread at a time."""

    @property
    def identity(self) -> str:
        """Whose tokens these are, in words."""

    @property
    def is_free(self) -> bool:
        """Whether asking costs next to nothing, as reading a file."""

    def fetch(self) -> Token:
        """Get a token. Raises an error of ours if there is none."""


class _Fetch:
    """A fetch that is under way, and how it ended: a token, an error, or neither if cut short."""

    def __init__(self) -> None:
        self.is_over = Event()
        self.token: Token | None = None
        self.error: DcmwebError | None = None


class RenewingToken:
    """Keeps the token of a source fresh for any number of threads.

    While one thread fetches a token, others go on with the one at hand as long as it is valid, and
    wait for that thread when it is not. They share its error as well.
    """

    def __init__(self, source: TokenSource, clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self.expired_at: float | None = None  # when the token expired, if the source has no better
        self._clock = clock
        self._token: Token | None = None
        self._margin = 0.0
        self._not_before = 0.0  # no renewal ahead of expiry
        self._settled_until = 0.0
        self._forbidden_until = 0.0  # no renewal after 403
        self._lock = Lock()  # of what follows
        self._under_way: _Fetch | None = None
        self._refusal: AuthError | None = None
        self._refused_until = 0.0
        self._notes: list[str] = []
        self._has_noted = False

    @property
    def known(self) -> Token | None:
        """The token at hand, without asking for one."""
        return self._token

    def current(self) -> Token:
        """Return a token that is valid as far as is known. Raises the error of the source."""
        token, now = self._token, self._clock()
        if token is None or token.has_expired(now):
            return self._other_than(token)
        if token.expires is not None and now >= max(token.expires - self._margin, self._not_before):
            return self._renewed_ahead(token, token.expires)
        return token

    def renew(self, refused: str, status: int) -> bool:
        """Get another token than the one refused with 401 or 403; return False if there is none.

        Gateways of AWS, for one, answer an expired token with 403. Where it is not known to have
        expired, such an answer is about rights: the source is not asked again for each of them.
        """
        token = self._token
        if token is None or token.value != refused:
            return token is not None  # another thread has renewed it
        if not self.source.is_free and not self._is_worth_asking(token, status):
            return False
        try:
            return self._other_than(token).value != refused
        except DcmwebError:
            if status == 401:
                raise
            return False  # the token may be good, and its owner may not do this

    def take_notes(self) -> list[str]:
        """Return what a user should know, once."""
        if not self._notes:
            return self._notes
        with self._lock:
            notes, self._notes = self._notes, []
        return notes

    def _is_worth_asking(self, token: Token, status: int) -> bool:
        now = self._clock()
        if now < self._settled_until:
            return False
        if status != 403 or token.has_expired(now):
            return True
        with self._lock:
            is_due = token.expires is None and now >= self._forbidden_until
            if is_due:
                self._forbidden_until = now + BETWEEN_FORBIDDEN
        return is_due

    def _renewed_ahead(self, token: Token, expires: float) -> Token:
        if self._under_way is not None:
            return token
        try:
            return self._other_than(token)
        except DcmwebError as error:
            now = self._clock()
            if now >= expires:
                raise
            self._not_before = now + min(LONGEST_PAUSE, (expires - now) / 4)
            self._note(error, expires)
            return token

    def _note(self, error: DcmwebError, expires: float) -> None:
        until = time.strftime("%H:%M:%S", time.localtime(expires))
        with self._lock:
            if not self._has_noted:
                self._has_noted = True
                self._notes.append(
                    f"the token could not be renewed, and is valid until {until}: {error.message}"
                )

    def _other_than(self, old: Token | None) -> Token:
        """Fetch a token, or wait for the thread that does; return at once if one has come."""
        while True:
            with self._lock:
                if self._token is not None and self._token is not old:
                    return self._token
                if self._refusal and self._clock() < self._refused_until:
                    raise copy.copy(self._refusal)
                fetch, is_ours = self._under_way, False
                if fetch is None:
                    fetch, is_ours = _Fetch(), True
                    self._under_way = fetch
            if is_ours:
                return self._run(fetch)
            fetch.is_over.wait()
            if fetch.error is not None:
                raise copy.copy(fetch.error)
            if fetch.token is not None:
                return fetch.token

    def _run(self, fetch: _Fetch) -> Token:
        try:
            fetch.token = self._take(self.source.fetch())
        except DcmwebError as error:
            fetch.error = copy.copy(error)  # without its traceback, and what that would keep
            raise
        finally:
            with self._lock:
                self._under_way = None
                self._refusal = None
                if isinstance(fetch.error, AuthError) and not self.source.is_free:
                    self._refusal = fetch.error
                    self._refused_until = self._clock() + REFUSED
            fetch.is_over.set()
        return fetch.token

    def _take(self, token: Token) -> Token:
        """Make a token the current one."""
        now = self._clock()
        is_same = self._token is not None and token.value == self._token.value
        self._settled_until = now + SETTLED if is_same else 0.0
        self.expired_at = None
        if token.expires is not None:
            left = token.expires - now
            self._margin = min(LONGEST_MARGIN, left * MARGIN_PART)
            # A source that keeps tokens, as `az` does, has the next one when it sees fit.
            self._not_before = now + min(LONGEST_PAUSE, left / 2) if is_same else 0.0
            if left <= 0:
                # There is no better one, or the clock here is wrong: let the server decide.
                self.expired_at = token.expires
                token = replace(token, expires=None)
        with self._lock:
            self._token = token
            self._has_noted = False
        return token
