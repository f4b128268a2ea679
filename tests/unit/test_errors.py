"""Errors: their exit codes, and what follows from them."""

from __future__ import annotations

import copy
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest

from dcmweb import errors
from dcmweb.errors import DcmwebError, ExitCode


def test_the_exit_codes_are_those_promised() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0, "SOME_FAILED": 1, "USAGE": 2, "NOTHING_MATCHED": 3, "AUTH": 4, "REFUSED": 5,
        "NETWORK": 6, "LOCAL_IO": 7, "PROTOCOL": 8, "DEFECT": 70, "SIGINT": 130, "SIGTERM": 143,
    }  # fmt: skip
    assert all(code.meaning for code in ExitCode)
    assert len({code.meaning for code in ExitCode}) == len(ExitCode)


def subclasses(kind: type[DcmwebError]) -> set[type[DcmwebError]]:
    below = kind.__subclasses__()
    return set(below).union(*map(subclasses, below))


# What each is made of, its exit code, and whether it can be retried and ends the run.
ERRORS: list[tuple[DcmwebError, ExitCode, bool, bool]] = [
    (errors.ItemsFailed("x"), ExitCode.SOME_FAILED, False, False),
    (errors.UsageError("x"), ExitCode.USAGE, False, False),
    (errors.NothingMatched("x"), ExitCode.NOTHING_MATCHED, False, False),
    (errors.AuthError("x"), ExitCode.AUTH, False, True),
    (errors.AuthError("x", fatal=False), ExitCode.AUTH, False, False),
    (errors.Refused("x", status=400), ExitCode.REFUSED, False, False),
    (errors.Refused("x", status=503, retryable=True), ExitCode.REFUSED, True, False),
    (errors.NetworkError("x"), ExitCode.NETWORK, True, False),
    (errors.Stalled("x"), ExitCode.NETWORK, True, False),
    (errors.Unreachable("x"), ExitCode.NETWORK, True, True),
    (errors.Unreachable("x", retryable=False), ExitCode.NETWORK, False, True),
    (errors.LocalError("x"), ExitCode.LOCAL_IO, False, False),
    (errors.LocalError("x", fatal=True), ExitCode.LOCAL_IO, False, True),
    (errors.NotDicom("x"), ExitCode.LOCAL_IO, False, False),
    (errors.BrokenDicom("x"), ExitCode.LOCAL_IO, False, False),
    (errors.MissingUid("x"), ExitCode.LOCAL_IO, False, False),
    (errors.ProtocolError("x"), ExitCode.PROTOCOL, False, False),
    (errors.Truncated("x"), ExitCode.PROTOCOL, True, False),
    (errors.WrongAnswer("x"), ExitCode.PROTOCOL, True, False),
    (errors.IncompletePayload("x"), ExitCode.PROTOCOL, True, False),
    (errors.Interrupted(), ExitCode.SIGINT, False, False),
    (errors.Interrupted(signal.SIGTERM), ExitCode.SIGTERM, False, False),
]


@pytest.mark.parametrize(("error", "exit_code", "retryable", "fatal"), ERRORS, ids=repr)
def test_what_follows_from_each_error(
    error: DcmwebError, exit_code: ExitCode, retryable: bool, fatal: bool
) -> None:
    assert (error.exit_code, error.retryable, error.fatal) == (exit_code, retryable, fatal)


def test_every_error_has_an_exit_code_of_its_own_class() -> None:
    named = {kind for kind in subclasses(DcmwebError) if kind.__module__ == errors.__name__}
    assert named == {type(error) for error, *_ in ERRORS}
    assert {error.exit_code for error, *_ in ERRORS} == set(ExitCode) - {
        ExitCode.OK, ExitCode.DEFECT,
    }  # fmt: skip


def test_every_error_is_described_in_the_tree() -> None:
    documented = errors.__doc__ or ""
    assert [
        kind.__name__ for kind in subclasses(DcmwebError) if kind.__name__ not in documented
    ] == []


def test_an_error_is_told_in_one_line() -> None:
    error = errors.Refused("answered 400", "check the path", status=400)
    assert str(error) == "answered 400; check the path"
    error.request = "GET http://h/studies"
    assert str(error) == "GET http://h/studies: answered 400; check the path"
    assert str(errors.UsageError("no such thing")) == "no such thing"


def everything_set(error: DcmwebError) -> DcmwebError:
    """Give every attribute a value of its own, so that a lost one shows."""
    for number, name in enumerate(sorted(vars(error))):
        setattr(error, name, f"value {number}")
    for name in ("exit_code", "retryable", "fatal"):
        setattr(error, name, 99)
    return error


@pytest.mark.parametrize("error", [error for error, *_ in ERRORS], ids=repr)
def test_errors_keep_all_they_hold_when_pickled_and_copied(error: DcmwebError) -> None:
    fresh = copy.deepcopy(error)
    assert vars(fresh) == vars(error)
    assert fresh.exit_code is error.exit_code
    error = everything_set(fresh)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = pickle.loads(pickle.dumps(error, protocol))
        assert type(found) is type(error)
        assert (vars(found), found.args, str(found)) == (vars(error), error.args, str(error))


def _refuse() -> None:
    raise errors.Refused("answered 429", "wait", status=429, retryable=True, retry_after=1.5)


def test_errors_pass_through_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(errors.Refused) as caught:
        pool.submit(_refuse).result()
    error = caught.value
    assert (error.status, error.retryable, error.retry_after) == (429, True, 1.5)
    assert str(error) == "answered 429; wait"


@pytest.mark.parametrize("number", [1, 2, 3, 9, 15, 31, 64])
def test_any_signal_has_an_exit_code(number: int) -> None:
    error = errors.Interrupted(number)
    assert error.exit_code == 128 + number
    assert pickle.loads(pickle.dumps(error)).exit_code == 128 + number
