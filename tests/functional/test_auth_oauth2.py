"""OAuth2 client credentials: token servers that issue, refuse, fail, and are slow."""

from __future__ import annotations

import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from tests.conftest import (
    DCMWEB,
    Dcmweb,
    clean_environment,
    make_instance,
    make_series,
    write_files,
)
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.token_servers import Issuer, form_of, issued, refused

SECRET = "S3CR3T/+ %é"
LONG = 20.0  # seconds in which a process that was interrupted should have ended
DELETED = Answer(204)
HTML = Answer(200, b"<!doctype html><title>Log in</title>", {"Content-Type": "text/html"})
ENVIRONMENT = {"DCMWEB_CLIENT_SECRET": SECRET}


def client(tokens: Origin, *more: str) -> list[str]:
    return ["--token-url", f"http://127.0.0.1:{tokens.port}/token", "--client-id", "me", *more]


def paths(count: int) -> str:
    return "".join(f"studies/1.2.{number}\n" for number in range(1, count + 1))


@pytest.mark.parametrize("way", ["variable", "file", "command"])
def test_a_token_is_got_and_sent(dcmweb: Dcmweb, tmp_path: Path, way: str) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    arguments, environment = {
        "variable": ([], ENVIRONMENT),
        "file": (["--client-secret-file", "secret"], {}),
        "command": (["--client-secret-command", "cat secret"], {}),
    }[way]
    issuer = Issuer(issued("abc", expires_in=300))
    with serving(issuer) as tokens, serving(lambda _: DELETED) as origin:
        scopes = ("--scope", "one", "--scope", "two", "--auth-option", "audience=urn:x")
        line = (*client(tokens, *scopes), *arguments, origin.url, "search")
        result = dcmweb(*line, env=environment)
    assert (result.code, result.err) == (0, "")
    assert {one.headers["authorization"] for one in origin.requests} == {"Bearer abc"}
    (request,) = tokens.requests
    sent = base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
    assert sent == b"me:S3CR3T%2F%2B+%25%C3%A9"
    assert form_of(request) == {
        "grant_type": "client_credentials",
        "scope": "one two",
        "audience": "urn:x",
    }


def test_a_server_that_wants_the_secret_in_the_form(dcmweb: Dcmweb) -> None:
    def issue(request: Request) -> Answer:
        if form_of(request).get("client_secret") == SECRET:
            return issued("abc")
        return refused("invalid_client", "Client credentials were sent in another way")

    with serving(issue) as tokens, serving(lambda _: DELETED) as origin:
        result = dcmweb(*client(tokens), origin.url, "search", env=ENVIRONMENT)
    assert (result.code, result.err) == (0, "")
    assert len(tokens.requests) == 2


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            refused("invalid_client", "Invalid client secret"),
            4,
            "refuses the credentials: Invalid client secret: invalid_client; check --client-id and "
            "the client's secret (of DCMWEB_CLIENT_SECRET)",
        ),
        (refused("invalid_scope", "No such scope", 400), 4, "No such scope"),
        (Answer(401), 4, "refuses the credentials: answered 401"),
        (HTML, 8, "answered with a web page; check --token-url"),
        (Answer(200, b"{}"), 8, "answered with no token; check --token-url"),
        (Answer(404, b"<html>"), 8, "answered 404: an HTML page; check --token-url"),
        (Answer(302, headers={"Location": "https://login.example/"}), 8, "redirects to https://lo"),
        (Answer(501), 8, "answered 501; check --token-url"),
    ],
)
def test_a_token_server_without_a_token(
    dcmweb: Dcmweb, answer: Answer, code: int, words: str
) -> None:
    with serving(lambda _: answer) as tokens, serving(lambda _: DELETED) as origin:
        result = dcmweb("-j", "8", *client(tokens), origin.url, "search", env=ENVIRONMENT)
    assert result.code == code
    assert len(result.err.splitlines()) == 1
    assert f"127.0.0.1:{tokens.port}" in result.last
    assert words in result.last
    assert "S3CR3T" not in result.err
    assert origin.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(503, b'{"error": "down"}'), 5, "answered 503: down"),
        (Answer(cut=-1), 6, "no token: the connection to 127.0.0.1"),
        (Answer(200, b"{", length=50, cut=1), 8, "no token: the answer of 127.0.0.1"),
        (Answer(200, b"{", length=50, stall=1), 6, "is slow"),
    ],
)
def test_a_token_server_that_does_not_work(
    dcmweb: Dcmweb, answer: Answer, code: int, words: str
) -> None:
    with serving(lambda _: answer) as tokens, serving(lambda _: DELETED) as origin:
        line = ("--retries", "0", "--timeout", "1", *client(tokens), origin.url, "search")
        result = dcmweb(*line, env=ENVIRONMENT)
    assert result.code == code
    assert words in result.last
    assert origin.requests == []


def test_a_token_server_that_is_not_there(dcmweb: Dcmweb) -> None:
    with socket.socket() as silent, serving(lambda _: DELETED) as origin:
        silent.bind(("127.0.0.1", 0))  # and listens to nobody
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        line = ("--retries", "0", "--token-url", url, "--client-id", "me", origin.url, "search")
        result = dcmweb(*line, env=ENVIRONMENT)
    assert result.code == 6
    assert "no token: no connection to 127.0.0.1" in result.last
    assert "check --token-url" in result.last


@pytest.mark.slow
def test_a_token_server_that_recovers(dcmweb: Dcmweb) -> None:
    issuer = Issuer(Answer(500), Answer(cut=-1))
    with serving(issuer) as tokens, serving(issuer.guarding(lambda _: DELETED)) as origin:
        result = dcmweb("--retries", "0", *client(tokens), origin.url, "search", env=ENVIRONMENT)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--auth", "oauth2"], "needs the address of the token server; give it with --token-url"),
        (["--token-url", "https://x/"], "needs a client; name it with --client-id"),
        (["--token-url", "https://x/", "--client-id", "me"], "set DCMWEB_CLIENT_SECRET, or give"),
        (["--token-url", "http://idp.example/", "--client-id", "me"], "--token-url is not https"),
        (["--token-url", "https://a:S3CR3T@x/", "--client-id", "me"], "has a user in it"),
        (["--token-url", "x", "--client-id", "me"], "not the address of a token server"),
    ],
)
def test_what_is_lacking_is_a_usage_error(dcmweb: Dcmweb, arguments: list[str], words: str) -> None:
    result = dcmweb(*arguments, "http://127.0.0.1:9/", "search")
    assert result.code == 2
    assert words in result.last
    assert "S3CR3T" not in result.err


@pytest.mark.parametrize("workers", ["8", "32"])
def test_many_threads_renew_a_token_once(dcmweb: Dcmweb, workers: str) -> None:
    issuer = Issuer(uses=25)
    with serving(issuer) as tokens, serving(issuer.guarding(lambda _: DELETED)) as origin:
        line = ("-j", workers, *client(tokens), origin.url, "delete", "-", "--yes")
        result = dcmweb(*line, text=paths(100), env=ENVIRONMENT)
    assert (result.code, "deleted 100" in result.last) == (0, True)
    assert (issuer.issued, len(tokens.requests)) == (2, 2)


def test_an_upload_in_parallel_outlives_its_tokens(dcmweb: Dcmweb, tmp_path: Path) -> None:
    issuer, archive = Issuer(uses=3, expires_in=900), Archive()
    files = [make_instance(instance=f"1.2.3.4.{n}", size=3_000_000) for n in range(1, 17)]
    write_files(tmp_path / "in", files)
    with serving(issuer) as tokens, serving(issuer.guarding(archive)) as origin:
        result = dcmweb("-j", "8", *client(tokens), origin.url, "store", "in", env=ENVIRONMENT)
    assert result.code == 0, result.err
    assert sorted(archive.files.values()) == sorted(files)
    assert issuer.issued == 2


def test_what_is_forbidden_is_not_asked_for_again(dcmweb: Dcmweb) -> None:
    issuer = Issuer(expires_in=900)
    with serving(issuer) as tokens, serving(lambda _: Answer(403)) as origin:
        line = ("-j", "8", *client(tokens), origin.url, "delete", "-", "--yes")
        result = dcmweb(*line, text=paths(200), env=ENVIRONMENT)
    assert (result.code, issuer.issued) == (1, 1)
    assert len(origin.requests) == 200


def test_tokens_that_the_server_does_not_take(dcmweb: Dcmweb) -> None:
    issuer = Issuer(expires_in=900)
    with serving(issuer) as tokens, serving(lambda _: Answer(401)) as origin:
        result = dcmweb(*client(tokens), origin.url, "search", env=ENVIRONMENT)
    assert (result.code, issuer.issued, len(origin.requests)) == (4, 2, 2)
    assert "it does not take the tokens of this token server for this client" in result.last


@pytest.mark.parametrize("trusted", [True, False])
def test_the_token_server_is_trusted_as_the_server_is(
    dcmweb: Dcmweb, tmp_path: Path, trusted: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    issuer = Issuer()
    with serving(issuer, context) as tokens, serving(lambda _: DELETED) as origin:
        url = f"https://127.0.0.1:{tokens.port}/token"
        line = ["--token-url", url, "--client-id", "me", origin.url, "search"]
        result = dcmweb(*(["--ca-bundle", "ca.pem"] if trusted else []), *line, env=ENVIRONMENT)
    assert result.code == (0 if trusted else 6)
    if not trusted:
        assert "is not trusted" in result.last
        assert tokens.requests == []


def test_the_token_server_is_reached_over_the_proxy(dcmweb: Dcmweb) -> None:
    """The proxy sees the whole URL, as it does of plain http."""

    def proxy(request: Request) -> Answer:
        return issued("abc") if request.target.endswith("/token") else DELETED

    with serving(proxy) as between:
        url = "http://tokens.localhost/token"
        base = "http://pacs.example/dicomweb"
        line = ("--token-url", url, "--client-id", "me", base, "delete", "-", "--yes")
        environment = {**ENVIRONMENT, "HTTP_PROXY": f"http://127.0.0.1:{between.port}"}
        result = dcmweb(*line, env=environment, text=paths(2))
    assert result.code == 0
    own = [f"{base}/studies/1.2.1", f"{base}/studies/1.2.2"]
    assert [one.target for one in between.requests] == [url, *own]
    assert between.requests[1].headers["authorization"] == "Bearer abc"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send on Windows")
@pytest.mark.parametrize("command", [["search"], ["-j", "2", "delete", "studies/1", "studies/2"]])
def test_a_slow_token_server_does_not_hold_up_an_interruption(
    tmp_path: Path, command: list[str]
) -> None:
    with serving(lambda _: Answer(200, b"{", length=9, stall=1)) as tokens:
        line = [*DCMWEB, *client(tokens), "http://127.0.0.1:9/", *command]
        process = subprocess.Popen(
            [*line, "--yes"] if "delete" in command else line,
            cwd=tmp_path,
            env={**clean_environment(), "HOME": str(tmp_path), **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            until = time.monotonic() + LONG
            while not tokens.requests and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LONG)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert b"Traceback" not in err


def test_ping_says_as_whom(dcmweb: Dcmweb) -> None:
    issuer = Issuer()
    with serving(issuer) as tokens, serving(issuer.guarding(Archive())) as origin:
        result = dcmweb(*client(tokens), origin.url, "ping", "--json", env=ENVIRONMENT)
    found = {one["name"]: one["words"] for one in json.loads(result.out)["findings"]}
    assert found["identity"] == "OAuth2 client me"


def test_requests_for_tokens_are_in_the_log(dcmweb: Dcmweb) -> None:
    issuer = Issuer()
    with serving(issuer) as tokens, serving(lambda _: DELETED) as origin:
        result = dcmweb("-v", *client(tokens), origin.url, "search", env=ENVIRONMENT)
    assert f"POST http://127.0.0.1:{tokens.port}/token: 200 after " in result.err
    assert result.err.index("/token: 200") < result.err.index("/studies")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(cut=-1), 6),
        (Answer(503, b"busy"), 5),
        (Answer(200, b"<html>log in</html>"), 8),
        (refused("invalid_client", "disabled"), 4),
    ],
    ids=["gone", "failing", "a web page", "refusing"],
)
@pytest.mark.parametrize("workers", ["1", "8"])
def test_a_token_server_that_fails_during_an_upload(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, code: int, workers: str
) -> None:
    """What was not sent for want of a token is not in doubt."""
    write_files(tmp_path / "in", make_series(12, size=1_500_000))
    issuer, archive = Issuer(uses=2), Archive()

    def issue(request: Request) -> Answer:
        return answer if issuer.issued else issuer(request)

    with serving(issue) as tokens, serving(issuer.guarding(archive)) as origin:
        given = ["--retries", "0", "-j", workers, *client(tokens), origin.url]
        records = ["--failed-to", "failed", "--json"]
        result = dcmweb(*given, "store", "in", *records, env=ENVIRONMENT)
    assert result.code == code, result.err
    assert "it was sent" not in result.err
    assert "cannot be asked" not in result.err
    named = (tmp_path / "failed").read_text().split()
    events = [json.loads(line) for line in result.out.splitlines()]
    stored = sum(one["type"] == "stored" for one in events)
    doubtful = sum(one.get("reason") == "interrupted before the server answered" for one in events)
    assert stored <= len(archive.files) <= stored + doubtful
    assert f"stored {stored}," in result.last
    assert workers != "1" or (not doubtful and stored == len(archive.files))
    assert len(tokens.requests) <= 8
    assert len(named) <= 12 - stored


def test_an_address_that_issues_no_tokens(dcmweb: Dcmweb) -> None:
    answer = refused("invalid_request", "unrecognized route", 404)
    with serving(lambda _: answer) as tokens:
        result = dcmweb(*client(tokens), "http://127.0.0.1:9/", "search", env=ENVIRONMENT)
    assert result.code == 4
    assert "check --token-url: it must be the token endpoint" in result.err
