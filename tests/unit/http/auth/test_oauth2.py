"""OAuth2 client credentials: what is asked for, how, and what is said of other answers."""

from __future__ import annotations

import base64
import pickle
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from dcmweb.errors import AuthError, DcmwebError, NetworkError, ProtocolError, Refused, UsageError
from dcmweb.http.auth.oauth2 import OAuth2Auth
from dcmweb.http.auth.token_server import check_url
from dcmweb.settings import Credentials, Settings
from tests.unit.http.auth.helpers import OTHER_URL, Servers, answer, at_once, header, jwt, prepared

SECRET = "S3C RET/+é"
CLIENT = Credentials(
    token_url="https://idp.example/realms/x/token", client_id="my:client", client_secret=SECRET
)
ISSUED = answer({"access_token": "abc", "expires_in": 3600, "token_type": "Bearer"})
BAD_CLIENT = answer({"error": "invalid_client", "error_description": "Bad secret"}, 401)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited."""
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


def made(servers: Servers, given: Credentials = CLIENT) -> OAuth2Auth:
    authentication = OAuth2Auth(Settings(base_url=OTHER_URL, credentials=given))
    authentication.connect(servers)
    return authentication


def ways(servers: Servers) -> list[str]:
    """How the secret was sent in each request."""
    return [
        "basic" if one.prepare().headers.get("Authorization") else "post"
        for one in servers.requests
    ]


def test_a_token_is_asked_for_with_the_secret_in_the_header() -> None:
    servers = Servers(ISSUED)
    given = replace(CLIENT, scopes=("one", "two"), options=(("audience", "https://api"),))
    assert header(made(servers, given)) == "Bearer abc"
    (request,) = servers.requests
    sent = request.prepare()
    assert (sent.method, sent.url) == ("POST", CLIENT.token_url)
    scheme, _, encoded = sent.headers["Authorization"].partition(" ")
    # RFC 6749 section 2.3.1: encoded as in a form first.
    assert scheme == "Basic"
    assert base64.b64decode(encoded) == b"my%3Aclient:S3C+RET%2F%2B%C3%A9"
    assert sent.body == "grant_type=client_credentials&audience=https%3A%2F%2Fapi&scope=one+two"
    assert max(servers.timeouts[0]) <= 20


def test_the_secret_goes_into_the_form_where_the_header_is_refused_and_that_is_kept() -> None:
    servers = Servers(BAD_CLIENT, ISSUED)
    oauth2 = made(servers)
    assert header(oauth2) == "Bearer abc"
    assert ways(servers) == ["basic", "post"]
    assert dict(servers.requests[1].data)["client_secret"] == SECRET
    assert dict(servers.requests[1].data)["client_id"] == "my:client"
    servers.answers = [answer({"access_token": "other"})]
    assert oauth2.renew(prepared(oauth2))
    assert ways(servers) == ["basic", "post", "post"]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (BAD_CLIENT, BAD_CLIENT, "idp.example refuses the credentials: .*Bad secret"),
        (BAD_CLIENT, answer({"error": "invalid_request"}, 400), "Bad secret"),
        (answer({"error": "access_denied"}, 401), BAD_CLIENT, "Bad secret"),
        (answer(b"", 401), answer(b"", 401), "refuses the credentials: answered 401"),
        (answer(b"<html>", 403), answer(b"<html>", 403), "an HTML page"),
    ],
)
def test_credentials_that_are_refused_both_ways(first: Any, second: Any, words: str) -> None:
    servers = Servers(first, second)
    with pytest.raises(AuthError, match=words) as caught:
        prepared(made(servers))
    assert ways(servers) == ["basic", "post"]
    assert caught.value.fatal


def test_what_is_not_about_the_secret_is_not_asked_twice() -> None:
    servers = Servers(answer({"error": "invalid_scope", "error_description": "no such scope"}, 400))
    with pytest.raises(AuthError, match="no such scope: invalid_scope; check --scope"):
        prepared(made(servers))
    assert len(servers.requests) == 1


def test_a_secret_that_the_server_repeats_is_hidden() -> None:
    for repeated in (SECRET, "S3C%20RET/%2B%C3%A9", "S3C+RET%2F%2B%C3%A9"):
        words = f"wrong: {repeated}!"
        reply = answer({"error": "invalid_client", "error_description": words}, 401)
        with pytest.raises(AuthError) as caught:
            prepared(made(Servers(reply)))
        assert "RET" not in str(caught.value)
        assert "wrong: ...!" in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_token_server_that_fails_is_tried_again(status: int, waits: list[float]) -> None:
    servers = Servers(answer(b"<html>", status), requests.ConnectionError("reset"), ISSUED)
    assert header(made(servers)) == "Bearer abc"
    assert len(waits) == 2


def test_a_token_server_is_not_waited_for_as_long_as_an_archive() -> None:
    servers = Servers(ISSUED)
    header(made(servers))
    assert servers.timeouts == [(10.0, 20.0)]


def test_a_token_server_that_is_not_trusted_is_asked_once(waits: list[float]) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    servers = Servers(requests.exceptions.SSLError(error))
    with pytest.raises(NetworkError, match="is not trusted"):
        prepared(made(servers))
    assert (len(servers.requests), waits) == (1, [])


LARGE = b'{"access_token": "abc"' + b" " * (1 << 20) + b"}"  # more than is read of an answer


@pytest.mark.parametrize(
    ("reply", "kind", "words", "tries"),
    [
        (answer(b"<html><title>Oops</title>", 500), Refused, "answered 500: .*Oops", 3),
        (answer({}, 503, {"Retry-After": "5"}), Refused, "answered 503", 3),
        (answer({}, 503, {"Retry-After": "500"}), Refused, "answered 503", 1),
        (requests.ConnectionError("refused"), NetworkError, "no token: ", 3),
        (requests.ReadTimeout("slow"), NetworkError, "idp.example is slow", 1),
        (requests.exceptions.SSLError("x"), NetworkError, "TLS", 3),
        (answer(b"<html><body>Log in"), ProtocolError, "answered with a web page", 1),
        (answer(b""), ProtocolError, "answered with no token", 1),
        (answer([1]), ProtocolError, "answered with no token", 1),
        (answer({"token_type": "Bearer"}), ProtocolError, "answered with no token", 1),
        (answer({"access_token": 5}), ProtocolError, "answered with no token", 1),
        (answer({"access_token": "two words"}), ProtocolError, "answered with no token", 1),
        (answer({"access_token": "a\r\nX: y"}), ProtocolError, "answered with no token", 1),
        (answer(b"<html>", 404), ProtocolError, "answered 404: an HTML page; check --token-url", 1),
        (answer(b"[" * 100_000), ProtocolError, "answered with no token", 1),
        (answer(b"[" * 100_000, 400), ProtocolError, "answered 400", 1),
        (answer(LARGE), ProtocolError, "answered with no token", 1),
        (answer({}, 302, {"Location": "https://u:p@x/?a=b"}), ProtocolError, "to https://x/;", 1),
    ],
)
def test_what_else_a_token_server_answers(
    reply: Any, kind: type[DcmwebError], words: str, tries: int
) -> None:
    servers = Servers(reply)
    with pytest.raises(kind, match=words) as caught:
        prepared(made(servers))
    assert len(servers.requests) == tries
    assert "--token-url" in str(caught.value) or tries > 1 or "slow" in words or "503" in words
    assert "BASE_URL" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.fatal or isinstance(caught.value, ProtocolError)
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_the_expiry_of_a_json_web_token_counts_where_the_answer_names_none() -> None:
    oauth2 = made(Servers(answer({"access_token": jwt(4_000_000_000)})))
    assert oauth2.token.current().expires == 4_000_000_000


def test_many_threads_make_one_request() -> None:
    servers = Servers(ISSUED)
    oauth2 = made(servers)
    assert at_once(lambda: header(oauth2), 32) == ["Bearer abc"] * 32
    assert len(servers.requests) == 1


def test_a_403_does_not_ask_the_token_server() -> None:
    servers = Servers(ISSUED)
    oauth2 = made(servers)
    assert not any(oauth2.renew(prepared(oauth2), 403) for _ in range(10_000))
    assert len(servers.requests) == 1


def test_parameters_can_be_in_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audience").write_text("urn:file\n")
    monkeypatch.setenv("RESOURCE", "urn:variable")
    options = (("audience", f"@{tmp_path / 'audience'}"), ("resource", "$RESOURCE"))
    servers = Servers(ISSUED)
    prepared(made(servers, replace(CLIENT, options=options)))
    form = dict(servers.requests[0].data)
    assert (form["audience"], form["resource"]) == ("urn:file", "urn:variable")


def test_what_must_not_be_shown_is_known() -> None:
    oauth2 = made(Servers(ISSUED))
    assert "abc" not in oauth2.secrets
    prepared(oauth2)
    assert "abc" in oauth2.secrets


def test_the_secret_is_read_again_with_each_token(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first\n")
    servers = Servers(BAD_CLIENT, ISSUED)
    oauth2 = made(servers, replace(CLIENT, client_secret="", client_secret_file=str(file)))
    prepared(oauth2)
    file.write_text("second\n")
    oauth2.renew(prepared(oauth2))
    assert [dict(one.data).get("client_secret") for one in servers.requests] == [
        None,
        "first",
        "second",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example/token",
        "https://idp.example:8443/token?api-version=1",
        "http://localhost:8080/token",
        "http://idp.localhost/token",
        "http://127.0.0.1/token",
        "http://[::1]:80/token",
    ],
)
def test_addresses_of_token_servers(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/token",
        "http://127.0.0.1.evil.example/token",
        "http://10.0.0.1/token",
        "http://localhost.evil.example/",
        "https://me:S3CRET@idp.example/token",
        "https://idp.example/token#x",
        "https://idp.example:port/",
        "https://[::1/",
        "https:///token",
        "ftp://idp.example/",
        "idp.example/token",
        "https://idp.example/a b",
        "https://idp.example/a\r\nb",
    ],
)
def test_addresses_that_would_show_secrets_or_cannot_be(url: str) -> None:
    with pytest.raises(UsageError, match="--token-url") as caught:
        check_url(url)
    assert "S3CRET" not in str(caught.value)
