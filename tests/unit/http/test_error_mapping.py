"""From answers and exceptions to errors that a person understands."""

from __future__ import annotations

import email.utils
import http.client
import json
import socket
import ssl
import time
from typing import Any

import pytest
import requests
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool
from urllib3 import exceptions as u3
from urllib3.connection import HTTPConnection

from dcmweb.errors import (
    AuthError,
    DcmwebError,
    NetworkError,
    NothingMatched,
    ProtocolError,
    Refused,
    Stalled,
    Truncated,
    Unreachable,
    UsageError,
)
from dcmweb.http.error_mapping import (
    LONGEST_RETRY_AFTER,
    from_exception,
    from_status,
)
from dcmweb.http.framing import FramingError
from dcmweb.http.media_types import parse
from dcmweb.http.server_words import looks_like_html, server_words, warnings

URL = "https://server.example:8443/dicomweb/studies"


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "fatal"),
    [
        (301, Refused, False, False),
        (302, Refused, False, False),
        (400, Refused, False, False),
        (401, AuthError, False, True),
        (403, AuthError, False, False),
        (404, NothingMatched, False, False),
        (405, Refused, False, False),
        (406, Refused, False, False),
        (408, Refused, True, False),
        (409, Refused, False, False),
        (410, NothingMatched, False, False),
        (413, Refused, False, False),
        (415, Refused, False, False),
        (425, Refused, True, False),
        (429, Refused, True, False),
        (500, Refused, True, False),
        (501, Refused, False, False),
        (502, Refused, True, False),
        (503, Refused, True, False),
        (504, Refused, True, False),
        (505, Refused, False, False),
        (799, Refused, False, False),
    ],
)
def test_statuses(status: int, kind: type[DcmwebError], retryable: bool, fatal: bool) -> None:
    error = from_status(status, {}, b"")
    assert type(error) is kind
    assert (error.retryable, error.fatal) == (retryable, fatal)
    assert error.message.startswith(f"answered {status} ")
    if isinstance(error, Refused):
        assert error.status == status


def test_a_redirect_says_where_to() -> None:
    error = from_status(302, CaseInsensitiveDict({"Location": "https://other/login"}), b"<html>")
    assert "https://other/login" in error.message
    assert "BASE_URL" in error.hint
    assert "nowhere" in from_status(307, {}, b"").message
    location = {"location": "https://me:secret@other/login?next=/studies?PatientID=17#PatientID=17"}
    assert from_status(302, location, b"").message.endswith("to https://other/login")


def test_the_words_of_the_server_are_told() -> None:
    assert from_status(400, {}, b"no such tag").message == "answered 400 Bad Request: no such tag"
    assert from_status(404, {}, b"").message == "answered 404 Not Found"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ('Basic realm="x"', "the server asks for Basic; give --user, and the password"),
        ("Bearer", "the server asks for Bearer; give --token-file, --token-command, or"),
        ("Digest x", "the server asks for Digest; give --auth digest and --user"),
        (
            'Bearer authorization_uri="https://login.microsoftonline.com/x"',
            "the server asks for Bearer; give --auth azure, which needs the package",
        ),
        ("", "give --user, --token-file, --token-url or --auth google"),
        ("\x1b[2J x", "give --user"),
    ],
)
def test_a_server_without_credentials_says_which_it_wants(asked: str, hint: str) -> None:
    headers = CaseInsensitiveDict({"WWW-Authenticate": asked} if asked else {})
    assert from_status(401, headers, b"").hint.startswith(hint)


@pytest.mark.parametrize(
    ("asked", "sent", "words"),
    [
        ("Basic realm=x", "Basic abc", "check --user and the password"),
        ("", "Basic abc", "check --user and the password"),
        ("Bearer", "Bearer abc", "the token is wrong or has expired"),
        ("Bearer", "Basic abc", "the server asks for Bearer; basic credentials were sent"),
        ("", "Digest abc", "check --user and the password"),
        ("", "Other abc", "give --user"),
        ("Digest realm=x", "", "the server asks for Digest; give --auth digest"),
        ("Digest realm=x", "Basic abc", "basic credentials were sent: give --auth digest"),
        ("Negotiate", "", "get a ticket"),
        ("Key", "--header", "the server asks for Key; it does not accept what --header gives"),
    ],
)
def test_a_server_that_refuses_credentials_says_which(asked: str, sent: str, words: str) -> None:
    headers = CaseInsensitiveDict({"WWW-Authenticate": asked} if asked else {})
    assert words in from_status(401, headers, b"", sent=sent).hint


@pytest.mark.parametrize(
    ("asked", "sent", "words"),
    [
        ("Bearer", "Bearer abc", "what the scheme says"),
        ("", "Bearer abc", "what the scheme says"),
        ("", "AWS4-HMAC-SHA256 x", "what the scheme says"),
        (
            "Basic",
            "Bearer abc",
            "the server asks for Basic; bearer credentials were sent: give --u",
        ),
        ("Bearer", "", "the server asks for Bearer; give --token-file"),
    ],
)
def test_a_scheme_says_what_to_do_when_its_credentials_are_refused(
    asked: str, sent: str, words: str
) -> None:
    headers = CaseInsensitiveDict({"WWW-Authenticate": asked} if asked else {})
    found = from_status(401, headers, b"", sent=sent, advice="what the scheme says")
    assert found.hint.startswith(words)


def test_what_403_means_depends_on_credentials() -> None:
    assert "--user" in from_status(403, {}, b"").hint
    assert "--user" not in from_status(403, {}, b"", sent="Basic abc").hint


@pytest.mark.parametrize(
    ("status", "request_", "words"),
    [
        (400, {"method": "GET"}, "the path and the parameters"),
        (400, {"method": "POST"}, "check that BASE_URL"),
        (404, {"method": "GET"}, "check the path"),
        (404, {"method": "POST"}, "check that BASE_URL"),
        (406, {"method": "GET", "accept": "image/png"}, "--type"),
        (406, {"method": "GET", "accept": "application/dicom+json"}, "DICOM JSON"),
        (415, {"method": "POST"}, "this kind of content"),
    ],
)
def test_what_a_status_means_depends_on_the_request(
    status: int, request_: dict[str, Any], words: str
) -> None:
    assert from_status(status, {}, b"", **request_).hint.find(words) >= 0


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        (email.utils.formatdate(NOW + 30, usegmt=True), 30.0),
        (email.utils.formatdate(NOW + 30, localtime=False), 30.0),
        (email.utils.formatdate(NOW - 30, usegmt=True), 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661", None),
        ("Mon, 99 Foo 2024 00:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    error = from_status(503, CaseInsensitiveDict({"Retry-After": value}), b"")
    assert isinstance(error, Refused)
    assert error.retry_after == seconds


GOOGLE = {"error": {"code": 400, "message": "invalid limit", "status": "INVALID_ARGUMENT"}}
ORTHANC = {"Details": "no study", "HttpError": "Bad Request", "Message": "Bad file format"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"just text\nand more", "just text"),
        (b"  \r\n text", "text"),
        (b"a\xffb", "a\ufffdb"),
        (json.dumps(GOOGLE).encode(), "invalid limit"),
        (json.dumps([GOOGLE]).encode(), "invalid limit"),
        (json.dumps(ORTHANC).encode(), "Bad file format: no study"),
        (b'{"errorMessage": "from dcm4chee"}', "from dcm4chee"),
        (b'{"error": "invalid", "error_description": "it expired"}', "it expired: invalid"),
        (b'{"message": "same", "Message": "same"}', "same"),
        (b'{"message": {"a": 1}, "error": null}', ""),
        (b'["in a list"]', "in a list"),
        (b"[]", ""),
        (b"[1]", ""),
        (b'{"message": "broken off', ""),
        (b"[" * 100_000, ""),
        (b"<html><head><title> Sign\nin </title></head></html>", r"an HTML page, 'Sign\nin'"),
        (b"<!DOCTYPE html><p>x", "an HTML page"),
        (
            b"<X><Value number='1'>it &lt;already&gt; exists</Value><Value>272</Value></X>",
            "it <already> exists",
        ),
        (b"Smith &amp; Sons", "Smith & Sons"),
        (b"<Error><Code>Denied</Code><Message>Access Denied</Message></Error>", "Access Denied"),
        (b'<?xml version="1.0"?><error><text/>no <b>such</b> thing</error>', "no such thing"),
        (b"<p:problem xmlns:p='x'><p:detail>out of range</p:detail></p:problem>", "out of range"),
        (b"<a><Value>JANE^DOE</Value><Value>1.2.3</Value></a>", ""),
        (b"<x>" + b"y" * 1000 + b"</x>", ""),
        (b"<x><error>" + b"y" * 64_000, ""),
        (b"<x>" + b"y " * 500 + b"</x>", ""),
        (b"<x>" + b" " * 70_000 + b"<message>too late</message></x>", ""),
        (b"PK\3\4 not text\0", ""),
        (b'{"message": "in\\n two lines"}', "in two lines"),
        (b'{"type": "about:blank", "title": "Bad", "detail": "too long"}', "Bad: too long"),
        (b"so it is " * 999, "so it is " * 55 + "so"),
    ],
    ids=range(32),
)
def test_what_a_server_says_in_words(body: bytes, words: str) -> None:
    assert server_words({}, body) == words


@pytest.mark.parametrize("before", [0, 247, 249])
def test_what_a_server_says_is_hidden_before_it_is_cut(before: int) -> None:
    said = server_words(
        {}, b"x " * before + b"S3CRET-1", lambda text: text.replace("S3CRET-1", ".")
    )
    assert said == "x " * before + "."


@pytest.mark.parametrize(
    ("warning", "words"),
    [
        ('299 server "some were coerced"', "some were coerced"),
        ("299 server: some were coerced", "some were coerced"),
        ("odd", "odd"),
    ],
)
def test_a_warning_of_the_server_is_told(warning: str, words: str) -> None:
    headers = CaseInsensitiveDict({"Warning": warning})
    assert server_words(headers, b"") == words
    assert server_words(headers, b"text") == f"text; {words}"
    assert server_words(headers, words.encode()) == words


@pytest.mark.parametrize(
    ("warning", "texts"),
    [
        ("", []),
        ('299 server "one"', ["one"]),
        ('299 a "one", 299 b "two, and a comma"', ["one", "two, and a comma"]),
        ('299 a "one", 299 b "one"', ["one"]),
        (r'299 - "a \"quoted\" word" "Thu, 26 Nov 2026 10:00:00 GMT"', ['a "quoted" word']),
        ("299 {+SERVICE}: not supported", ["not supported"]),
        ('299 a ""', []),
    ],
)
def test_warnings_are_read_one_by_one(warning: str, texts: list[str]) -> None:
    assert warnings(CaseInsensitiveDict({"Warning": warning})) == texts


@pytest.mark.parametrize(
    ("body", "is_page"),
    [
        (b"<!DOCTYPE html>", True),
        (b"\xef\xbb\xbf\r\n <HTML lang='en'>", True),
        (b"<head>", True),
        (b"<body class='x'>", True),
        (b"<?xml version='1.0'?><NativeDicomModel/>", False),
        (b"<NativeDicomModel/>", False),
        (b"[]", False),
        (b"", False),
        (b"text about <html>", False),
    ],
)
def test_web_pages_are_told_from_the_rest(body: bytes, is_page: bool) -> None:
    assert looks_like_html(body) is is_page


POOL = HTTPConnectionPool("server.example")
CONNECTION = HTTPConnection("server.example")
REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")
UNKNOWN = socket.gaierror(-2, "Name or service not known")


def caused(error: BaseException, cause: BaseException) -> Any:
    error.__cause__ = cause
    return error


def in_requests(reason: Exception, kind: type[Exception] = requests.ConnectionError) -> Exception:
    """Wrap an exception as requests and urllib3 do."""
    return kind(u3.MaxRetryError(POOL, "/studies", reason))


def certificate() -> Exception:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    return in_requests(u3.SSLError(error), requests.exceptions.SSLError)


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "words"),
    [
        (
            certificate(),
            Unreachable,
            False,
            "certificate of HOST is not trusted: ",
        ),
        (ssl.SSLEOFError(8, "EOF found"), NetworkError, True, "TLS connection to HOST broke: EOF"),
        (
            in_requests(u3.SSLError(ssl.SSLError(1, "wrong version number"))),
            Unreachable,
            True,
            "TLS connection to HOST failed: wrong version number",
        ),
        (
            in_requests(u3.NameResolutionError("server.example", CONNECTION, UNKNOWN)),
            Unreachable,
            True,
            "unknown host HOST",
        ),
        (
            in_requests(caused(u3.NewConnectionError(CONNECTION, "Failed"), REFUSED)),
            Unreachable,
            True,
            "no connection to HOST: Connection refused",
        ),
        (requests.ConnectTimeout(), Unreachable, True, "HOST does not answer"),
        (
            in_requests(u3.ConnectTimeoutError(CONNECTION, "timed out"), requests.ConnectTimeout),
            Unreachable,
            True,
            "HOST does not answer",
        ),
        (requests.ReadTimeout(), Stalled, True, "between here and HOST for 2.5 s"),
        (u3.ReadTimeoutError(POOL, "/", "Read timed out."), Stalled, True, "nothing moved"),
        (TimeoutError("timed out"), Stalled, True, "nothing moved"),
        (
            u3.ProtocolError("Connection broken", u3.IncompleteRead(3, 5)),
            Truncated,
            True,
            "the answer of HOST broke off: IncompleteRead(3 bytes read, 5 more expected)",
        ),
        (http.client.IncompleteRead(b"abc", 5), Truncated, True, "broke off"),
        (u3.DecodeError("not gzip"), ProtocolError, False, "cannot be decoded: not gzip"),
        (requests.exceptions.ContentDecodingError(), ProtocolError, False, "cannot be decoded"),
        (requests.TooManyRedirects(), ProtocolError, False, "redirects in a circle"),
        (requests.exceptions.InvalidSchema("x"), ProtocolError, False, "HOST redirects to what is"),
        (requests.exceptions.MissingSchema("x"), ProtocolError, False, "HOST redirects to what is"),
        (requests.exceptions.InvalidURL("x"), UsageError, False, f"{URL} is not a valid URL: x"),
        (u3.LocationParseError("x"), UsageError, False, "not a valid URL"),
        (
            requests.ConnectionError(u3.ProtocolError("Connection aborted.", RESET)),
            NetworkError,
            True,
            "the connection to HOST broke: Connection reset by peer",
        ),
        (
            u3.ProtocolError("Aborted.", http.client.RemoteDisconnected("Remote end closed it")),
            NetworkError,
            True,
            "the connection to HOST broke: Remote end closed it",
        ),
        (BrokenPipeError(32, "Broken pipe"), NetworkError, True, "broke: Broken pipe"),
        (OSError("odd {host} %s"), NetworkError, True, "broke: odd {host} %s"),
        (OSError(), NetworkError, True, "broke: OSError"),
    ],
    ids=range(24),
)
def test_exceptions(error: Exception, kind: type[DcmwebError], retryable: bool, words: str) -> None:
    found = from_exception(error, URL, 2.5)
    assert type(found) is kind
    assert found.retryable is retryable
    assert words.replace("HOST", "server.example:8443") in found.message
    assert "0x" not in found.message
    assert "\n" not in str(found)


def test_exceptions_that_name_each_other_are_no_trap() -> None:
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert "second" in from_exception(first, URL, 1).message


def test_the_host_of_a_redirect_is_named_beside_the_one_that_redirects() -> None:
    request = requests.Request("GET", "https://inner.example/x?PatientID=17").prepare()
    found = from_exception(requests.ConnectTimeout(request=request), URL, 1)
    assert found.message == "inner.example (redirected from server.example) does not answer"


def test_what_a_server_says_is_not_shown_at_any_length() -> None:
    long = "x" * 10_000
    moved = from_status(302, CaseInsensitiveDict({"Location": f"/{long}"}), b"")
    assert moved.message == "answered 302 Found, to an address that is too long to show"
    refused = from_status(401, CaseInsensitiveDict({"WWW-Authenticate": long}), b"")
    assert "x" * 100 not in refused.message + refused.hint
    assert len(parse(f"text/{long}").name) < 300


@pytest.mark.parametrize("url", ["http://Server.Example:/dicomweb", "http://server.example/"])
def test_another_spelling_of_the_host_is_not_a_redirect(url: str) -> None:
    request = requests.Request("GET", "http://server.example/dicomweb/studies").prepare()
    found = from_exception(requests.ConnectTimeout(request=request), url, 1)
    assert found.message == "server.example does not answer"


def test_the_password_of_a_proxy_is_not_that_of_the_server() -> None:
    found = from_status(407, CaseInsensitiveDict({"Proxy-Authenticate": "Basic"}), b"")
    assert type(found) is Unreachable
    assert (found.retryable, found.fatal) == (False, True)
    assert "HTTP_PROXY=" in found.hint
    assert "--user" not in found.hint


@pytest.mark.parametrize("value", ["31536000", "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_is_asked_to_wait_for_a_year(value: str) -> None:
    found = from_status(503, CaseInsensitiveDict({"Retry-After": value}), b"")
    assert isinstance(found, Refused)
    assert found.retry_after == LONGEST_RETRY_AFTER


def test_a_broken_framing_is_a_broken_answer() -> None:
    error = u3.ProtocolError("Connection aborted.", FramingError("it broke off"))
    found = from_exception(requests.ConnectionError(error), URL, 1)
    assert type(found) is Truncated
    assert found.message == "the answer of server.example:8443 is broken: it broke off"


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.InvalidURL("http://me:S3CRET@host/?PatientName=Doe"),
        OSError("no http://me:S3CRET@host/?PatientName=Doe"),
        requests.exceptions.ConnectTimeout("no http://me:S3CRET@host/?PatientName=Doe"),
    ],
)
def test_nothing_of_an_address_but_host_and_path_is_told(error: Exception) -> None:
    url = "http://me:S3CRET@pacs.example/studies?PatientName=Doe"
    found = from_exception(error, url, 1.0)
    assert "S3CRET" not in str(found)
    assert "Doe" not in str(found)
