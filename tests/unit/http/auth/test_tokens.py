"""The token that threads share: when it is renewed, by whom, and what happens if that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dcmweb.errors import AuthError, DcmwebError, NetworkError
from dcmweb.http.auth.tokens import RenewingToken, Token
from tests.unit.http.auth.helpers import at_once


class Clock:
    """A clock that stands still between steps."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Numbered tokens, or the errors and tokens that are given first."""

    identity = "a test"

    def __init__(
        self, clock: Clock, lifetime: float | None = None, *, is_free: bool = False
    ) -> None:
        self.is_free = is_free
        self.clock = clock
        self.lifetime = lifetime
        self.fetched = 0
        self.next: list[Token | BaseException] = []
        self.before: Callable[[], object] = lambda: None

    def fetch(self) -> Token:
        self.fetched += 1
        self.before()
        if self.next:
            given = self.next.pop(0)
            if isinstance(given, BaseException):
                raise given
            return given
        expires = None if self.lifetime is None else self.clock.now + self.lifetime
        return Token(f"t{self.fetched}", expires)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(source: Source) -> RenewingToken:
    return RenewingToken(source, source.clock)


@pytest.mark.parametrize(
    ("lifetime", "kept", "due"), [(3600, 3479, 3481), (300, 269, 271), (2, 1.79, 1.81)]
)
def test_a_token_is_renewed_ahead_of_its_expiry(
    clock: Clock, lifetime: float, kept: float, due: float
) -> None:
    source = Source(clock, lifetime)
    token, start = made(source), clock.now
    assert token.current().value == "t1"
    clock.now = start + kept
    assert token.current().value == "t1"
    clock.now = start + due
    assert token.current().value == "t2"
    assert source.fetched == 2


def test_a_token_without_expiry_is_kept(clock: Clock) -> None:
    token = made(Source(clock))
    assert token.current().value == "t1"
    clock.now += 1e9
    assert token.current().value == "t1"


@pytest.mark.parametrize("step", [3600, 3500])
def test_many_threads_at_the_moment_of_expiry_make_one_fetch(clock: Clock, step: float) -> None:
    source = Source(clock, 3600)
    token = made(source)
    token.current()
    clock.now += step
    meanwhile = threading.Event()
    source.before = lambda: meanwhile.wait(0.2)
    values = [one.value for one in at_once(token.current, 32)]
    assert source.fetched == 2
    assert set(values) == ({"t2"} if step == 3600 else {"t1", "t2"})
    assert token.current().value == "t2"


def test_many_threads_that_are_refused_make_one_fetch(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    token.current()
    meanwhile = threading.Event()
    source.before = lambda: meanwhile.wait(0.2)
    assert at_once(lambda: token.renew("t1", 401), 32) == [True] * 32
    assert source.fetched == 2
    assert token.renew("t1", 401)  # of a request that was under way
    assert source.fetched == 2


def test_threads_that_wait_share_the_error(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    meanwhile = threading.Event()
    source.before = lambda: meanwhile.wait(0.2)
    source.next = [AuthError("refused")]
    errors = at_once(token.current, 8)
    assert [str(error) for error in errors] == ["refused"] * 8
    assert source.fetched == 1
    clock.now += 3
    assert token.current().value == "t2"


def test_threads_that_come_after_a_refusal_do_not_ask_again(clock: Clock) -> None:
    source = Source(clock, 10)
    token = made(source)
    token.current()
    clock.now += 11
    source.next = [AuthError("locked"), NetworkError("down"), NetworkError("down")]
    for _ in range(32):
        with pytest.raises(AuthError, match="locked"):
            token.current()
    assert source.fetched == 2
    clock.now += 3
    for _ in range(2):  # these are tried again, after a pause
        with pytest.raises(NetworkError, match="down"):
            token.current()
    assert token.current().value == "t5"


def test_a_file_is_read_again_after_a_refusal(clock: Clock) -> None:
    source = Source(clock, 10, is_free=True)
    token = made(source)
    source.next = [AuthError("empty")]
    with pytest.raises(AuthError, match="empty"):
        token.current()
    assert token.current().value == "t2"


def test_a_thread_whose_fetch_was_interrupted_leaves_it_to_another(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    source.next = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        token.current()
    assert token.current().value == "t2"


@pytest.mark.parametrize("error", [NetworkError("no connection"), AuthError("refused")])
def test_a_token_that_is_still_valid_is_used_when_it_cannot_be_renewed(
    clock: Clock, error: DcmwebError
) -> None:
    source = Source(clock, 3600)
    token, start = made(source), clock.now
    token.current()
    source.next = [error] * 50
    for seconds in range(3480, 3600):
        clock.now = start + seconds
        assert token.current().value == "t1"
    assert 2 < source.fetched < 40
    notes = token.take_notes()
    assert len(notes) == 1
    assert error.message in notes[0]
    assert token.take_notes() == []
    clock.now = start + 3600
    with pytest.raises(type(error)):
        token.current()
    source.next = []
    clock.now += 3
    assert token.current().value.startswith("t")
    assert token.take_notes() == []


def test_a_token_that_expires_while_another_is_asked_for_is_not_used(clock: Clock) -> None:
    def take_long() -> None:
        clock.now += 60

    source = Source(clock, 3600)
    token = made(source)
    token.current()
    source.before, source.next = take_long, [NetworkError("down")]
    clock.now += 3590
    with pytest.raises(NetworkError, match="down"):
        token.current()


def test_a_source_that_keeps_its_tokens_is_not_asked_all_the_time(clock: Clock) -> None:
    source = Source(clock)
    kept = Token("kept", clock.now + 3600)
    source.next = [kept] * 1000
    token, start = made(source), clock.now
    for second in range(3599):
        clock.now = start + second
        assert token.current().value == "kept"
    assert source.fetched < 20
    source.next = [Token("new", start + 7200)]
    clock.now = start + 3600
    assert token.current().value == "new"


def test_a_token_that_has_expired_by_the_clock_here_is_left_to_the_server(clock: Clock) -> None:
    source = Source(clock, -5)
    token = made(source)
    for _ in range(10):
        assert token.current().value == "t1"
        clock.now += 60
    assert source.fetched == 1
    assert token.expired_at == Clock.now - 5
    source.lifetime = 3600
    assert token.renew("t1", 401)
    assert token.expired_at is None


# 403.


def test_a_403_of_a_token_that_is_known_to_be_valid_is_about_rights(clock: Clock) -> None:
    source = Source(clock, 3600)
    token = made(source)
    token.current()
    assert not any(token.renew("t1", 403) for _ in range(10_000))
    assert source.fetched == 1


def test_a_403_of_an_expired_token_renews_once(clock: Clock) -> None:
    source = Source(clock, 3600)
    token = made(source)
    token.current()
    clock.now += 3600  # while the request was under way
    assert token.renew("t1", 403)
    assert not any(token.renew("t2", 403) for _ in range(10_000))
    assert source.fetched == 2


def test_403_of_tokens_that_name_no_expiry_renew_once_in_a_while(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    for _ in range(10_000):
        token.renew(token.current().value, 403)
    assert source.fetched == 2
    clock.now += 61
    assert token.renew(token.current().value, 403)


def test_a_403_stands_when_there_is_no_other_token(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    token.current()
    source.next = [NetworkError("down"), NetworkError("down")]
    assert not token.renew("t1", 403)
    with pytest.raises(NetworkError):
        token.renew("t1", 401)


def test_a_source_that_gave_the_same_token_is_not_asked_by_each_thread(clock: Clock) -> None:
    source = Source(clock)
    token = made(source)
    source.next = [Token("same")] * 100
    token.current()
    assert not any(token.renew("same", 401) for _ in range(20))
    assert source.fetched == 2
    clock.now += 6
    source.next = []
    assert token.renew("same", 401)


def test_a_file_is_read_again_each_time(clock: Clock) -> None:
    source = Source(clock, 3600, is_free=True)
    token = made(source)
    source.next = [Token("same")] * 5
    token.current()
    assert not token.renew("same", 403)
    assert not token.renew("same", 401)
    assert source.fetched == 3
    source.next = [Token("other")]
    assert token.renew("same", 403)


def test_nothing_shows_the_token(clock: Clock) -> None:
    assert "s3cret" not in repr(Token("s3cret", 1.0))
