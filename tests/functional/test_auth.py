"""Credentials: which are sent, to whom, and that they are never shown."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.conftest import Dcmweb, Result
from tests.functional.archive import json_answer
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.token_servers import WriteKey

SECRET = "hunter2-S3CR3T"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sent_to(origin: Origin) -> set[str | None]:
    """The credentials that came with requests."""
    return {request.headers.get("authorization") for request in origin.requests}


def with_userinfo(origin: Origin, userinfo: str) -> str:
    return origin.url.replace("//", f"//{userinfo}@")


def wants(authorization: str) -> Callable[[Request], Answer]:
    """A server that answers to these credentials only."""
    return lambda request: Answer(
        204 if request.headers.get("authorization") == authorization else 401
    )


def silent(result: Result) -> bool:
    """Whether nothing that is secret was shown."""
    return SECRET not in result.out + result.err


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--user", "joe"], {"DCMWEB_PASSWORD": SECRET}, basic("joe", SECRET)),
        (["--user", f"joe:{SECRET}"], {}, basic("joe", SECRET)),
        (["--auth", "basic", "--user", "joe"], {"DCMWEB_PASSWORD": ""}, basic("joe", "")),
        (["--user", "jörg"], {"DCMWEB_PASSWORD": "pässwörd"}, basic("jörg", "pässwörd")),
        ([], {"DCMWEB_TOKEN": f" {SECRET}\n"}, f"Bearer {SECRET}"),
        (["--token-file", "token"], {}, "Bearer from-the-file"),
        (["--token-file", "token"], {"DCMWEB_TOKEN": SECRET}, "Bearer from-the-file"),
        (["--auth", "none"], {"DCMWEB_TOKEN": SECRET}, None),
        ([], {"DCMWEB_PASSWORD": SECRET}, None),
    ],
)
def test_the_credentials_that_are_given_are_sent(
    dcmweb: Dcmweb,
    tmp_path: Path,
    arguments: list[str],
    environment: dict[str, str],
    expected: str | None,
) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(*arguments, origin.url, "search", env=environment)
    assert (result.code, result.err) == (0, "")
    assert sent_to(origin) == {expected}


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [
        (f"joe:{SECRET}", basic("joe", SECRET)),
        ("j%40e:p%3Aw%2F", basic("j@e", "p:w/")),
    ],
)
def test_credentials_in_base_url_are_sent_and_not_repeated(
    dcmweb: Dcmweb, tmp_path: Path, userinfo: str, expected: str
) -> None:
    with serving(wants(expected)) as origin:
        result = dcmweb(with_userinfo(origin, userinfo), "search")
    assert (result.code, result.out, result.err) == (0, "[]\n", "")
    assert origin.requests[0].headers["host"] == f"127.0.0.1:{origin.port}"


def test_nothing_is_sent_by_default_and_netrc_is_not_read(dcmweb: Dcmweb, tmp_path: Path) -> None:
    entries = [f"machine {host} login joe password {SECRET}\n" for host in ("127.0.0.1", "default")]
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("".join(entries))
    netrc.chmod(0o600)
    environment = {"NETRC": str(netrc)}
    with serving(lambda _: Answer(204)) as origin:
        assert dcmweb(origin.url, "search", env=environment).code == 0
        assert dcmweb("--user", "ann:x", origin.url, "search", env=environment).code == 0
    assert sent_to(origin) == {None, basic("ann", "x")}


# Redirects.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_credentials_do_not_follow_a_redirect_to_another_server(
    dcmweb: Dcmweb, tmp_path: Path, host: str
) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(f"machine {host} login joe password {SECRET}\n")
    netrc.chmod(0o600)
    with serving(lambda _: Answer(204)) as other:
        place = {"Location": f"http://{host}:{other.port}/dicomweb/studies"}
        with serving(lambda _: Answer(302, headers=place)) as origin:
            result = dcmweb("--user", f"joe:{SECRET}", origin.url, "search")
    assert result.code == 0
    assert sent_to(origin) == {basic("joe", SECRET)}
    assert len(other.requests) == 1
    assert sent_to(other) == {None}


def test_credentials_follow_a_redirect_within_the_server(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if request.path == "/dicomweb/studies":
            return Answer(301, headers={"Location": "/moved/studies"})
        return Answer(204)

    with serving(handle) as origin:
        assert dcmweb("--user", f"joe:{SECRET}", origin.url, "search").code == 0
    assert [r.path for r in origin.requests] == ["/dicomweb/studies", "/moved/studies"]
    assert sent_to(origin) == {basic("joe", SECRET)}


# Tokens that expire.


def test_a_token_that_is_turned_down_is_read_anew_from_its_file(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    def handle(request: Request) -> Answer:
        if request.headers["authorization"] == "Bearer new":
            return Answer(204)
        token.write_text("new\n")  # as whoever renews it does in the meantime
        return Answer(401)

    with serving(handle) as origin:
        result = dcmweb("--token-file", token, origin.url, "search")
    assert (result.code, result.err) == (0, "")
    assert [r.headers["authorization"] for r in origin.requests] == ["Bearer old", "Bearer new"]


def test_credentials_that_stay_the_same_are_tried_once(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    with serving(lambda _: Answer(401)) as origin:
        assert dcmweb("--token-file", "token", origin.url, "search").code == 4
    assert len(origin.requests) == 1


@pytest.mark.parametrize("renewed", [True, False])
def test_a_token_that_has_expired_may_be_refused_with_403(
    dcmweb: Dcmweb, tmp_path: Path, renewed: bool
) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    def handle(request: Request) -> Answer:
        if request.headers["authorization"] == "Bearer new":
            return Answer(204)
        if renewed:
            token.write_text("new")
        return Answer(403)

    with serving(handle) as origin:
        result = dcmweb("--token-file", token, origin.url, "search")
    assert result.code == (0 if renewed else 4)
    assert len(origin.requests) == (2 if renewed else 1)


def test_a_token_comes_through_a_pipe(dcmweb: Dcmweb) -> None:
    with serving(wants("Bearer abc")) as origin:
        result = dcmweb("--token-file", "/dev/stdin", origin.url, "search", text="Bearer abc\n")
    assert (result.code, result.err) == (0, "")


def test_credentials_in_base_url_have_the_bytes_that_are_written(dcmweb: Dcmweb) -> None:
    expected = "Basic " + base64.b64encode(b"M\xfcller:p\xe4ss").decode()
    with serving(wants(expected)) as origin:
        assert dcmweb(with_userinfo(origin, "M%FCller:p%E4ss"), "search").code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 401, "give --user, --token-file, --token-url or --auth google"),
        (["--user", f"joe:{SECRET}"], 401, "check --user and the password"),
        (["--token-file", "token"], 401, "the token is wrong or has expired"),
        ([], 403, "it takes credentials (give --user"),
        (["--user", f"joe:{SECRET}"], 403, "these credentials may not do this"),
    ],
)
def test_missing_wrong_and_insufficient_credentials_are_told_apart(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    (tmp_path / "token").write_text(SECRET)
    with serving(lambda _: Answer(status)) as origin:
        result = dcmweb(*arguments, origin.url, "search")
    assert result.code == 4
    assert words in result.last
    assert silent(result)


# What is lacking, and what must not be shown.


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["--token-file", "missing"], {}, 2, "there is no file missing"),
        (["--token-file", "."], {}, 2, "there is no file ."),
        (["--token-file", "binary"], {}, 4, "binary does not hold a token"),
        (["--token-file", "lines"], {}, 4, "lines does not hold a token"),
        (["--user", "joe"], {}, 2, "DCMWEB_PASSWORD"),
        (["--auth", "basic"], {}, 2, "--user"),
        (["--auth", "bearer"], {}, 2, "--token-file"),
        (["--auth", "google"], {}, 4, "no usable Google credentials"),
        (
            ["--auth", "google"],
            {"GOOGLE_APPLICATION_CREDENTIALS": "missing.json"},
            4,
            "no usable Google credentials",
        ),
        (["--ca-bundle", "missing"], {}, 2, "there is no file missing"),
    ],
)
def test_credentials_that_are_lacking_are_one_line_and_no_request(
    dcmweb: Dcmweb,
    tmp_path: Path,
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    (tmp_path / "lines").write_text(f"{SECRET}\nX-Header: {SECRET}\n")
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(*arguments, origin.url, "search", env=environment)
    assert (result.code, result.out) == (code, "")
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert silent(result)
    assert origin.requests == []


@pytest.mark.parametrize(
    "base_url",
    [
        f"ftp://joe:{SECRET}@127.0.0.1/",
        f"joe:{SECRET}@127.0.0.1/dicomweb",
        f"http://joe:{SECRET}@127.0.0.1:port/",
        f"http://joe:{SECRET}/x@127.0.0.1/",  # a / that should be %2F
        f"http://joe:{SECRET}@127.0.0.1/?a=b",
        f"http://joe:{SECRET}@[::1/",
        f"http://joe:{SECRET}@/",
        f"http://joe: {SECRET}@127.0.0.1/",
        f"http://joe:{SECRET}@nosuchhost.invalid/dicomweb",
    ],
)
def test_a_base_url_that_does_not_work_does_not_show_its_password(
    dcmweb: Dcmweb, base_url: str
) -> None:
    result = dcmweb("--retries", "0", base_url, "search")
    assert result.code in (2, 6)
    assert len(result.err.splitlines()) == 1
    assert silent(result)


@pytest.mark.parametrize(
    ("answer", "arguments"),
    [
        (Answer(401), ["search"]),
        (Answer(400), ["retrieve", "studies/1"]),
        (Answer(500), ["delete", "studies/1"]),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), ["search"]),
        (Answer(cut=-1), ["retrieve"]),
    ],
)
def test_errors_do_not_show_the_password(
    dcmweb: Dcmweb, answer: Answer, arguments: list[str]
) -> None:
    with serving(lambda _: answer) as origin:
        result = dcmweb("--retries", "0", with_userinfo(origin, f"joe:{SECRET}"), *arguments)
    assert result.code in (4, 5, 6, 8)
    assert "Error: " in result.err
    assert silent(result)
    assert sent_to(origin) == {basic("joe", SECRET)}


# Google.


def test_google_credentials_are_fetched_when_asked_for_by_name_and_renewed(
    dcmweb: Dcmweb, service_account: WriteKey
) -> None:
    given = ["second", "first"]

    def issue(_: Request) -> Answer:
        return json_answer({"access_token": given.pop(), "expires_in": 3600, "token_type": "B"})

    with serving(issue) as tokens, serving(wants("Bearer second")) as origin:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(tokens))}
        result = dcmweb("--auth", "google", origin.url, "search", env=environment)
    assert (result.code, result.err) == (0, "")
    assert [r.headers["authorization"] for r in origin.requests] == [
        "Bearer first",
        "Bearer second",
    ]


def test_google_credentials_do_not_go_to_other_hosts_unasked(
    dcmweb: Dcmweb, service_account: WriteKey
) -> None:
    with serving(lambda _: Answer(500)) as tokens, serving(lambda _: Answer(204)) as origin:
        for path in (str(service_account(tokens)), "missing.json"):
            environment = {"GOOGLE_APPLICATION_CREDENTIALS": path}
            result = dcmweb(origin.url, "search", env=environment)
            assert (result.code, result.err) == (0, "")
    assert tokens.requests == []
    assert sent_to(origin) == {None}


@pytest.mark.parametrize("answer", [Answer(400, b'{"error": "invalid_grant"}'), Answer(cut=-1)])
def test_google_credentials_that_cannot_be_had_are_one_line(
    dcmweb: Dcmweb, service_account: WriteKey, answer: Answer
) -> None:
    with serving(lambda _: answer) as tokens, serving(lambda _: Answer(204)) as origin:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(service_account(tokens))}
        arguments = ("--retries", "0", "--auth", "google", origin.url, "search")
        result = dcmweb(*arguments, env=environment)
    assert result.code == (6 if answer.cut else 4)
    assert len(result.err.splitlines()) == 1
    assert origin.requests == []


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    dcmweb: Dcmweb, authority: trustme.CA
) -> None:
    with serving(lambda _: Answer(204), tls_of(authority)) as origin:
        result = dcmweb("--user", f"joe:{SECRET}", origin.url, "search")
    assert (result.code, result.out) == (6, "")
    assert len(result.err.splitlines()) == 1
    assert "is not trusted: " in result.err
    assert "--ca-bundle" in result.err
    assert origin.requests == []


@pytest.mark.parametrize("way", ["option", "environment"])
def test_an_authority_can_be_given(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA, way: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = ["--ca-bundle", "ca.pem"] if way == "option" else []
    environment = {"REQUESTS_CA_BUNDLE": "ca.pem"} if way == "environment" else {}
    with serving(lambda _: Answer(204), tls_of(authority)) as origin:
        result = dcmweb(*options, origin.url, "search", env=environment)
    assert (result.code, result.out, result.err) == (0, "[]\n", "")
    assert len(origin.requests) == 1


def test_a_certificate_of_another_host_is_not_trusted(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(lambda _: Answer(204), tls_of(authority, "example.org")) as origin:
        result = dcmweb("--ca-bundle", "ca.pem", origin.url, "search")
    assert result.code == 6
    assert "is not trusted: " in result.err


def test_a_bundle_without_certificates_is_named(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    with serving(lambda _: Answer(204), tls_of(authority)) as origin:
        result = dcmweb("--retries", "0", "--ca-bundle", "ca.pem", origin.url, "search")
    assert result.code != 0
    assert len(result.err.splitlines()) == 1
    assert "ca.pem" in result.err


def test_a_server_that_does_not_shake_hands_is_given_the_time_to_connect(dcmweb: Dcmweb) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        limits = ("--retries", "0", "--connect-timeout", "1", "--timeout", "77")
        result = dcmweb(*limits, url, "search")
    assert result.code == 6
    assert len(result.err.splitlines()) == 1
    assert "77 s" not in result.err  # it was 1 s
