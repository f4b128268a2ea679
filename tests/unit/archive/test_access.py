"""Who may use the archive: passwords and tokens, web pages, and names that others give it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.test import create_environ
from werkzeug.wrappers import Request, Response

from dcmweb.archive.access import Access, MisdirectedRequest
from dcmweb.archive.server import is_loopback

GUARDED = Access(user="joe", password="secret", token="t0ken")
PAGE = "https://viewer.example"


def request(method: str = "GET", host: str = "localhost:8080", **headers: str) -> Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = create_environ("/dicomweb/studies", method=method, headers=given)
    environ["HTTP_HOST"] = host
    return Request(environ)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def refusal(access: Access, asked: Request) -> type[HTTPException] | None:
    try:
        access.check(asked)
    except HTTPException as error:
        return type(error)
    return None


@pytest.mark.parametrize("given", [basic("joe:secret"), "Bearer t0ken", "bearer t0ken"])
def test_valid_credentials_are_let_in(given: str) -> None:
    assert refusal(GUARDED, request(Authorization=given)) is None


@pytest.mark.parametrize(
    "given",
    [
        basic("joe:wrong"),
        basic("joe:SECRET"),
        basic("joe:"),
        basic("joe"),
        basic(":secret"),
        basic("jo:secret"),
        basic("joe:sécret"),
        basic("t0ken:"),
        "Basic !!!",
        "Basic",
        "Bearer",
        "Bearer wrong",
        "Bearer ",
        "Bearer secret",
        'Bearer username="joe"',
        'Digest username="joe", response="secret"',
        "Basic t0ken",
        "t0ken",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"])
def test_nothing_else_is(given: str, method: str) -> None:
    assert refusal(GUARDED, request(method, Authorization=given)) is Unauthorized
    assert refusal(GUARDED, request(method)) is Unauthorized


@pytest.mark.parametrize(
    ("access", "given"),
    [
        (Access(user="joe", password="secret"), "Bearer "),
        (Access(user="joe", password="secret"), "Bearer x"),
        (Access(token="t0ken"), basic(":")),
        (Access(token="t0ken"), basic(":t0ken")),
    ],
)
def test_what_is_not_set_is_not_a_password(access: Access, given: str) -> None:
    assert refusal(access, request(Authorization=given)) is Unauthorized


def test_a_page_may_ask_without_credentials_what_it_may_do() -> None:
    assert refusal(GUARDED, request("OPTIONS", Origin=PAGE)) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MKCOL"])
@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({}, True),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Origin": "http://LOCALHOST:8080"}, True),
        ({"Origin": "http://localhost:80"}, False),
        ({"Origin": "http://localhost"}, False),
        ({"Origin": PAGE}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://["}, False),
    ],
)
def test_pages_of_other_origins_change_nothing(
    method: str, headers: dict[str, str], may: bool
) -> None:
    assert refusal(Access(), request(method, **headers)) is (None if may else Forbidden)
    assert refusal(Access(), request(**headers)) is None
    for named in (PAGE, "*"):
        access = Access(origins=(named,))
        wants = may or headers.get("Origin") == PAGE or (named == "*" and "Origin" in headers)
        assert refusal(access, request(method, **headers)) is (None if wants else Forbidden)


def test_an_origin_without_a_host_is_not_that_of_a_request_without_one() -> None:
    for origin in ("null", "", "file://"):
        assert refusal(Access(), request("DELETE", host="", Origin=origin)) is Forbidden


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost", True),
        ("localhost.:80", True),
        ("LOCALHOST:8080", True),
        ("127.9.9.9", True),
        ("[::1]:80", True),
        ("a.localhost", True),
        ("", True),
        ("viewer.example:8080", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evillocalhost", False),
        ("10.1.2.3", False),
        ("0.0.0.0", False),
        ("localhost@evil.example", False),
        ("[", False),
        (":80", False),
        (".", False),
    ],
)
def test_an_archive_of_this_machine_has_few_names(host: str, is_known: bool) -> None:
    access = Access(is_local=True, origins=(PAGE, "null", "http://["))
    for method in ("GET", "POST", "OPTIONS"):
        found = refusal(access, request(method, host))
        assert found is (None if is_known else MisdirectedRequest)
        assert refusal(Access(is_local=True, origins=("*",)), request(method, host)) is None
        assert refusal(Access(), request(method, host)) is None


def headers_for(access: Access, origin: str, **headers: str) -> dict[str, Any]:
    response = Response()
    access.add_cors_headers(request(Origin=origin, **headers), response)
    return dict(response.headers)


@pytest.mark.parametrize("origin", ["", "https://evil.example", "null", "http://[", "https://a"])
def test_other_pages_read_nothing(origin: str) -> None:
    assert not [n for n in headers_for(Access(origins=(PAGE,)), origin) if n.startswith("Access")]


def test_pages_of_this_machine_read_and_named_ones_change_too() -> None:
    for origin, changes in (("http://localhost:3000", False), (PAGE, True)):
        found = headers_for(Access(origins=(PAGE,)), origin, Access_Control_Request_Headers="x-a")
        assert found["Access-Control-Allow-Origin"] == origin
        assert ("DELETE" in found["Access-Control-Allow-Methods"]) is changes
        assert found["Access-Control-Allow-Headers"] == "x-a"
        assert found["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in found


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["127.0.0.1"], True),
        (["::1", "127.0.0.1"], True),
        (["fe80::1%eth0"], False),
        (["127.0.0.1", "192.168.1.1"], False),
        (["0.0.0.0"], False),
        (None, False),
    ],
)
def test_what_only_this_machine_can_reach(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str] | None, expected: bool
) -> None:
    def found(_host: str, _port: None) -> list[Any]:
        if addresses is None:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr("socket.getaddrinfo", found)
    assert is_loopback("name") is expected
