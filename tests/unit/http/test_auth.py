"""Authentication: which is chosen, what it adds to requests, and what can be renewed."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from typing import Any

import google.auth
import pytest
import requests
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from dcmweb.errors import AuthError, DcmwebError, NetworkError, UsageError
from dcmweb.http import auth
from dcmweb.http.auth import Authentication
from dcmweb.http.auth.basic import BasicAuth
from dcmweb.http.auth.bearer import BearerAuth
from dcmweb.http.auth.google import GOOGLE_SCOPE, GoogleAuth, is_google
from dcmweb.settings import AuthScheme, Credentials, Settings

PASSWORD_VARIABLE, TOKEN_VARIABLE = "DCMWEB_PASSWORD", "DCMWEB_TOKEN"

GOOGLE_URL = "https://healthcare.googleapis.com/v1/projects/p"
OTHER_URL = "https://pacs.example/dicomweb"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PASSWORD_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def choose(url: str, given: Credentials) -> Authentication:
    return auth.choose(Settings(base_url=url, credentials=given))


def header(authentication: Authentication) -> str | None:
    return prepared(authentication).headers.get("Authorization")


def prepared(authentication: Authentication) -> requests.PreparedRequest:
    return requests.Request("GET", OTHER_URL, auth=authentication).prepare()


@pytest.mark.parametrize(
    ("url", "google"),
    [
        (GOOGLE_URL, True),
        ("https://googleapis.com/", True),
        ("https://HEALTHCARE.googleapis.com:443/v1", True),
        ("http://healthcare.googleapis.com/v1", False),
        ("https://healthcare.googleapis.com.evil.example/v1", False),
        ("https://evilgoogleapis.com/v1", False),
        ("https://evil.example/googleapis.com", False),
        ("https://healthcare.googleapis.com@evil.example/", False),
        ("https://evil.example/?x=.googleapis.com", False),
        (OTHER_URL, False),
        ("", False),
    ],
)
def test_google_is_known_by_its_hosts_over_https(url: str, google: bool) -> None:
    assert is_google(url) is google


@pytest.mark.parametrize(
    ("url", "given", "token", "kind"),
    [
        (OTHER_URL, Credentials(), "", Authentication),
        (GOOGLE_URL, Credentials(), "", GoogleAuth),
        ("http://healthcare.googleapis.com/v1", Credentials(), "", Authentication),
        (GOOGLE_URL, Credentials(scheme=AuthScheme.NONE), "", Authentication),
        (OTHER_URL, Credentials(scheme=AuthScheme.GOOGLE), "", GoogleAuth),
        (GOOGLE_URL, Credentials(), "token", BearerAuth),
        (OTHER_URL, Credentials(), "token", BearerAuth),
        (OTHER_URL, Credentials(scheme=AuthScheme.NONE), "token", Authentication),
        (OTHER_URL, Credentials(user="me", password="x"), "token", BasicAuth),
        (GOOGLE_URL, Credentials(user="me", password="x"), "", BasicAuth),
        (OTHER_URL, Credentials(scheme=AuthScheme.BEARER), "token", BearerAuth),
    ],
)
def test_what_is_chosen(
    url: str,
    given: Credentials,
    token: str,
    kind: type[Authentication],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert type(choose(url, given)) is kind


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Credentials(user="me"), "no password for user me"),
        (Credentials(scheme=AuthScheme.BASIC), "user name"),
        (Credentials(scheme=AuthScheme.BASIC, password="x"), "user name"),
        (Credentials(scheme=AuthScheme.BEARER), "needs a token"),
    ],
)
def test_what_is_lacking_for_a_scheme_is_a_usage_error(given: Credentials, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose(OTHER_URL, given)


def test_no_authentication_adds_nothing() -> None:
    assert header(Authentication()) is None
    assert not Authentication().renew(prepared(Authentication()))


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        (Credentials(user="me", password="x"), None, "me:x"),
        (Credentials(user="me", password="x"), "y", "me:x"),
        (Credentials(user="me"), "y", "me:y"),
        (Credentials(user="me"), "", "me:"),
        (Credentials(user="é", password="a:b ü€"), None, "é:a:b ü€"),
    ],
)
def test_basic(
    given: Credentials, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv(PASSWORD_VARIABLE, variable)
    basic = choose(OTHER_URL, given)
    scheme, _, encoded = (header(basic) or "").partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", expected)
    assert not basic.renew(prepared(basic))


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


def test_user_names_and_passwords_are_sent_with_the_bytes_they_have() -> None:
    latin = b"M\xfcller".decode("utf-8", "surrogateescape")
    sent = header(choose(OTHER_URL, Credentials(user=latin, password=latin))) or ""
    assert base64.b64decode(sent.partition(" ")[2]) == b"M\xfcller:M\xfcller"


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


class FakeGoogle:
    """Credentials as those of google-auth; `valid` once they were refreshed."""

    def __init__(self, *errors: Exception) -> None:
        self.token = "token-0"
        self.valid = False
        self.refreshed = 0
        self.errors = list(errors)

    def refresh(self, request: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.refreshed += 1
        self.token = f"token-{self.refreshed}"
        self.valid = True

    def apply(self, headers: dict[str, str]) -> None:
        headers["Authorization"] = f"Bearer {self.token}"
        headers["x-goog-user-project"] = "quota"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGoogle:
    credentials = FakeGoogle()

    def default(scopes: list[str]) -> tuple[FakeGoogle, str]:
        assert scopes == [GOOGLE_SCOPE]
        return credentials, "project"

    monkeypatch.setattr(google.auth, "default", default)
    return credentials


def test_google_credentials_are_found_when_first_needed_and_refreshed(fake: FakeGoogle) -> None:
    authentication = choose(GOOGLE_URL, Credentials())
    assert fake.refreshed == 0
    request = prepared(authentication)
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["x-goog-user-project"] == "quota"
    prepared(authentication)
    assert fake.refreshed == 1
    fake.valid = False
    assert header(authentication) == "Bearer token-2"


def test_a_google_token_turned_down_is_refreshed_once_for_all_threads(fake: FakeGoogle) -> None:
    authentication = GoogleAuth()
    requests_out = [prepared(authentication) for _ in range(5)]
    threads = [
        threading.Thread(target=authentication.renew, args=[request]) for request in requests_out
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.refreshed == 2
    assert header(authentication) == "Bearer token-2"
    assert authentication.renew(requests_out[0])
    assert fake.refreshed == 2


@pytest.mark.parametrize(
    ("raised", "message", "kind", "words"),
    [
        (DefaultCredentialsError, "none found\nsee docs", AuthError, "credentials: none found"),
        (RefreshError, "invalid_grant", AuthError, "no usable Google credentials: invalid_grant"),
        (RefreshError, "", AuthError, "no usable Google credentials"),
        (TransportError, "connection refused", NetworkError, "server cannot be reached"),
    ],
)
def test_errors_of_google_auth_are_translated(
    raised: type[Exception],
    message: str,
    kind: type[DcmwebError],
    words: str,
    fake: FakeGoogle,
) -> None:
    fake.errors.append(raised(message))
    with pytest.raises(kind, match=words) as caught:
        prepared(GoogleAuth())
    assert "\n" not in str(caught.value)


def test_missing_google_credentials_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def default(**_: Any) -> None:
        raise DefaultCredentialsError("none found")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(AuthError) as caught:
        prepared(GoogleAuth())
    assert "gcloud auth application-default login" in caught.value.hint
