"""Cookies: each for the host that set it, and for threads at the same time."""

from __future__ import annotations

import email
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header

from dcmweb.http.cookies import MOST_COOKIES, Cookies


def take(jar: Cookies, url: str, cookie: str) -> None:
    """Let a jar take a cookie from the answer to a request."""
    head = email.message_from_string(f"Set-Cookie: {cookie}\n\n")
    raw: Any = SimpleNamespace(_original_response=SimpleNamespace(msg=head))
    extract: Any = extract_cookies_to_jar
    extract(jar, requests.Request("GET", url).prepare(), raw)


def sent(jar: RequestsCookieJar, url: str) -> str | None:
    header: Any = get_cookie_header
    found: str | None = header(jar, requests.Request("GET", url).prepare())
    return found


@pytest.mark.parametrize("domain", ["", "; Domain=hospital.example", "; Domain=.hospital.example"])
@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("http://pacs.hospital.example/", True),
        ("http://PACS.hospital.example:8080/x", True),
        ("http://other.hospital.example/", False),
        ("http://sub.pacs.hospital.example/", False),
        ("http://hospital.example/", False),
        ("http://pacs.hospital.example.evil.example/", False),
    ],
)
def test_a_cookie_goes_to_its_host_alone(domain: str, url: str, goes: bool) -> None:
    jar = Cookies()
    take(jar, "http://pacs.hospital.example/dicomweb/", f"a=b; Path=/{domain}")
    assert sent(jar, url) == ("a=b" if goes else None)
    assert sent(jar.copy(), url) == ("a=b" if goes else None)


@pytest.mark.parametrize("domain", ["other.example", "evil.hospital.example", "example"])
def test_a_cookie_for_another_host_is_not_taken(domain: str) -> None:
    jar = Cookies()
    take(jar, "http://pacs.hospital.example/", f"a=b; Path=/; Domain={domain}")
    assert list(jar) == []


@pytest.mark.parametrize("host", ["localhost:8042", "127.0.0.1", "[::1]:8042", "pacs"])
def test_hosts_without_a_domain_have_cookies_too(host: str) -> None:
    jar = Cookies()
    take(jar, f"http://{host}/x", "a=b; Path=/")
    assert sent(jar, f"http://{host}/y") == "a=b"
    assert sent(jar, "http://other/y") is None


def test_a_server_cannot_make_requests_large() -> None:
    jar = Cookies()
    take(jar, "http://pacs.example/", "large=" + "x" * 5000)
    assert list(jar) == []
    for number in range(1000):
        take(jar, "http://pacs.example/", f"c{number}=1; Path=/")
    assert len(jar) == MOST_COOKIES
    take(jar, "http://pacs.example/", "c0=2; Path=/")
    assert "c0=2; " in (sent(jar, "http://pacs.example/") or "")


def test_a_user_in_an_address_is_not_a_part_of_the_host() -> None:
    jar = Cookies()
    take(jar, "http://me:secret@pacs.example/x", "a=b; Path=/")
    assert sent(jar, "http://pacs.example/y") == "a=b"


def test_a_cookie_for_tls_is_not_sent_without_it() -> None:
    jar = Cookies()
    take(jar, "https://pacs/", "a=b; Path=/; Secure")
    assert sent(jar, "https://pacs/") == "a=b"
    assert sent(jar, "http://pacs/") is None


def test_cookies_can_come_and_go_while_others_are_sent() -> None:
    jar = Cookies()
    for number in range(3):
        take(jar, f"http://h{number}.example/", "a=b; Path=/")
    seen = iter(jar)  # as a thread that copies them has it
    next(seen)
    take(jar, "http://another.example/", "a=b; Path=/")
    jar.clear("h2.example")
    assert None not in list(seen)
    assert len(list(jar)) == 3
