"""Tokens that the user gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmweb.errors import AuthError
from dcmweb.settings import Credentials
from tests.unit.http.auth.helpers import OTHER_URL, choose, header, prepared

TOKEN_VARIABLE = "DCMWEB_TOKEN"


def test_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, " abc.def-_~+/= \n")
    bearer = choose(OTHER_URL, Credentials())
    assert header(bearer) == "Bearer abc.def-_~+/="
    assert not bearer.renew(prepared(bearer))


@pytest.mark.parametrize(
    "content",
    [
        b"abc.def\n",
        b"Bearer abc.def",
        b"bearer  abc.def\r\n",
        b"Authorization: Bearer abc.def",
        b"\xef\xbb\xbfabc.def\r\n",
        b"\xef\xbb\xbfBearer abc.def",
        "abc.def\r\n".encode("utf-16"),
        "Bearer abc.def".encode("utf-16-be"),
        "abc.def".encode("utf-16-le"),
        b'{"access_token": "abc.def", "token_type": "Bearer", "expires_in": 3599}',
        b'\xef\xbb\xbf{"accessToken": "abc.def"}',
        b'"abc.def"',
    ],
)
def test_token_files_as_people_have_them(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    assert header(choose(OTHER_URL, Credentials(token_file=str(file)))) == "Bearer abc.def"


@pytest.mark.parametrize("token", ["Bearer abc", "Authorization: Bearer abc", "\ufeffabc"])
def test_tokens_that_are_given_otherwise(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert header(choose(OTHER_URL, Credentials(token=token))) == "Bearer abc"
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert header(choose(OTHER_URL, Credentials())) == "Bearer abc"


@pytest.mark.parametrize("content", ['{"id_token": "x"}', "{broken", '{"access_token": 1}', "{}"])
def test_json_without_a_token_is_said_to_be_that(content: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(AuthError, match="JSON without an access_token"):
        choose(OTHER_URL, Credentials(token_file=str(file)))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/fd")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc\n")
    os.close(writer)
    bearer = choose(OTHER_URL, Credentials(token_file=f"/dev/fd/{reader}"))
    os.close(reader)
    assert header(bearer) == "Bearer abc"
    assert not bearer.renew(prepared(bearer))


def test_after_a_403_the_token_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    bearer = choose(OTHER_URL, Credentials(token_file=str(file)))
    request = prepared(bearer)
    assert not bearer.renew(request, 403)
    file.write_text("second")
    assert bearer.renew(request, 403)
    file.unlink()
    assert not bearer.renew(prepared(bearer), 403)
    with pytest.raises(AuthError):
        bearer.renew(prepared(bearer), 401)


def test_a_token_file_is_read_again_when_the_token_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    bearer = choose(OTHER_URL, Credentials(token_file=str(file)))
    request = prepared(bearer)
    assert request.headers["Authorization"] == "Bearer first"
    assert not bearer.renew(request)
    file.write_text("second")
    assert header(bearer) == "Bearer first"
    assert bearer.renew(request)
    assert header(bearer) == "Bearer second"
    assert bearer.renew(request)  # another thread's request, turned down meanwhile


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"two\nlines", b"\xff", "é".encode(), b"a\x1bb"]
)
def test_what_is_no_token_is_an_auth_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(AuthError, match="does not hold a token"):
        choose(OTHER_URL, Credentials(token_file=str(file)))


def test_a_token_that_cannot_be_a_header_is_an_auth_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret\r\nX: y")
    with pytest.raises(AuthError) as caught:
        choose(OTHER_URL, Credentials())
    assert TOKEN_VARIABLE in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_token_file_that_is_missing_is_an_auth_error(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match="No such file"):
        choose(OTHER_URL, Credentials(token_file=str(tmp_path / "none")))
