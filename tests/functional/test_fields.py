"""Header fields, parameters and cookies: to whom they go, and that they are never shown."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, unquote

import pytest

from tests.conftest import Dcmweb, Result, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Origin, Request, serving

SECRET = "hunter2-S3CR3T/+^"
ESCAPED = "hunter2-S3CR3T%2F%2B%5E"


def silent(result: Result) -> bool:
    """Whether nothing that is secret was shown, however it is written."""
    text = unquote(result.out + result.err)
    return "hunter2" not in text and "S3CR3T" not in text


def keys(origin: Origin, name: str = "x-api-key") -> list[str | None]:
    return [request.headers.get(name) for request in origin.requests]


def parameters(origin: Origin) -> list[list[str]]:
    return [parse_qs(request.query).get("key", []) for request in origin.requests]


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (f"X-Api-Key: {SECRET}", {}, SECRET),
        (f"X-Api-Key:{SECRET}  ", {}, SECRET),
        ("X-Api-Key: @key.txt", {}, "from-file"),
        ("X-Api-Key: $KEY", {"KEY": SECRET}, SECRET),
        ("X-Api-Key: ${KEY}", {"KEY": SECRET}, SECRET),
        ("x-api-KEY: Schlüssel", {}, "SchlÃ¼ssel"),
        ("X-Api-Key: a: b, c", {}, "a: b, c"),
    ],
)
@pytest.mark.parametrize("way", ["option", "variable", "profile"])
def test_a_header_field_goes_along_with_each_request(
    dcmweb: Dcmweb,
    tmp_path: Path,
    given: str,
    environment: dict[str, str],
    expected: str,
    way: str,
) -> None:
    (tmp_path / "key.txt").write_text("from-file\n")
    write_files(tmp_path / "in", make_series(1))
    option = ["--header", given] if way == "option" else []
    if way == "variable":
        environment = {**environment, "DCMWEB_HEADER": given}
    with serving(Archive()) as origin:
        base = origin.url
        if way == "profile":
            config = tmp_path / "config.toml"
            config.write_text(f"[there]\nurl = '{origin.url}'\nheader = [{json.dumps(given)}]\n")
            config.chmod(0o600)
            environment = {**environment, "DCMWEB_CONFIG": str(config)}
            base = "@there"
        for command in (["search"], ["store", "in"], ["retrieve", "-o", "out"]):
            assert dcmweb(*option, base, *command, env=environment).code == 0
    assert len(origin.requests) > 3
    assert set(keys(origin)) == {expected}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("X-Api-Key", "lacks a name or a value"),
        ("X Api: 1", "a name that header fields cannot have"),
        ("X-Käse: 1", "a name that header fields cannot have"),
        ("Host: evil.example", "cannot give Host"),
        ("content-length: 5", "cannot give content-length"),
        ("Transfer-Encoding: chunked", "cannot give Transfer-Encoding"),
        ("Connection: close", "cannot give Connection"),
        ("Proxy-Authorization: x", "cannot give Proxy-Authorization"),
        ("Accept: text/html", "cannot give Accept"),
        (f"X-Api-Key: {SECRET}\r\nX-Other: 1", "control characters"),
        ("X-Api-Key: @lines.txt", "control characters"),
        ("X-Api-Key: @missing.txt", "cannot read missing.txt"),
        ("X-Api-Key: @empty.txt", "is empty"),
        ("X-Api-Key: $NOSUCH", "NOSUCH is not set"),
    ],
)
def test_header_fields_that_cannot_be_are_one_line_and_no_request(
    dcmweb: Dcmweb, tmp_path: Path, given: str, words: str
) -> None:
    (tmp_path / "lines.txt").write_text(f"{SECRET}\nX-Other: {SECRET}\n")
    (tmp_path / "empty.txt").write_text("\n")
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb("--header", given, origin.url, "search")
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert silent(result)
    assert origin.requests == []


def test_the_same_field_twice_is_an_error(dcmweb: Dcmweb) -> None:
    given = ("--header", "X-A: 1", "--header", "x-a: 2")
    result = dcmweb(*given, "http://127.0.0.1:1/", "search")
    assert result.code == 2
    assert "gives x-a twice" in result.err


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--user", f"joe:{SECRET}"], {}, "beside --user"),
        (["--auth", "google"], {}, "beside --auth google"),
        (["--auth", "aws"], {}, "beside --auth aws"),
        (["--auth", "other"], {}, "beside --auth other"),
        (["--token-command", "echo x"], {}, "beside a token"),
    ],
)
def test_an_authorization_field_contradicts_other_credentials(
    dcmweb: Dcmweb, arguments: list[str], environment: dict[str, str], words: str
) -> None:
    given = ("--header", f"Authorization: Key {SECRET}", *arguments)
    with serving(lambda _: Answer(204)) as origin:
        result = dcmweb(*given, origin.url, "search", env=environment)
    assert result.code == 2
    assert words in result.err
    assert silent(result)
    assert origin.requests == []


@pytest.mark.parametrize("auth", [[], ["--auth", "none"]])
def test_an_authorization_field_is_sent_as_it_is(dcmweb: Dcmweb, auth: list[str]) -> None:
    given = (*auth, "--header", f"authorization: Key {SECRET}")
    with serving(lambda _: Answer(401)) as origin:
        result = dcmweb("--debug", *given, origin.url, "search", env={"DCMWEB_TOKEN": "other"})
    assert result.code == 4
    assert keys(origin, "authorization") == [f"Key {SECRET}"]
    assert silent(result)


def test_a_key_that_changed_in_its_file_is_read_again(dcmweb: Dcmweb, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")

    def handle(request: Request) -> Answer:
        if request.headers["x-api-key"] == "new":
            return Answer(204)
        key.write_text("new")
        return Answer(403)

    with serving(handle) as origin:
        assert dcmweb("--header", "X-Api-Key: @key", origin.url, "search").code == 0
    assert keys(origin) == ["old", "new"]


def test_a_key_that_is_refused_is_told_from_one_that_is_missing(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(401)) as origin:
        refused = dcmweb("--header", f"X-Api-Key: {SECRET}", origin.url, "search")
        missing = dcmweb(origin.url, "search")
    assert (refused.code, missing.code) == (4, 4)
    assert "does not accept what --header gives" in refused.err
    assert "give --user" in missing.err


# Parameters.


def test_a_parameter_goes_along_with_each_request(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    (tmp_path / "key").write_text(SECRET)
    with serving(Archive()) as origin:
        for given in (f"key={SECRET}", "key=@key", "key=$KEY"):
            for command in (["search", "limit=1"], ["store", "in"], ["retrieve", "-o", "out"]):
                env = {"KEY": SECRET}
                assert dcmweb("--query", given, origin.url, *command, env=env).code == 0
    assert len(origin.requests) > 10
    assert parameters(origin) == [[SECRET]] * len(origin.requests)


@pytest.mark.parametrize("given", ["limit=5", "OFFSET=1"])
def test_parameters_of_searches_are_not_those_of_each_request(dcmweb: Dcmweb, given: str) -> None:
    result = dcmweb("--query", given, "http://127.0.0.1:1/", "search")
    assert result.code == 2
    assert "is a parameter of a search" in result.err


def test_what_a_server_repeats_is_replaced(dcmweb: Dcmweb) -> None:
    def handle(request: Request) -> Answer:
        if request.path == "/dicomweb/studies":
            return Answer(302, headers={"Location": f"/other/studies?key={ESCAPED}&key=x&a=b"})
        return Answer(204)

    with serving(handle) as origin:
        assert dcmweb("--query", f"key={SECRET}", origin.url, "search").code == 0
    assert parameters(origin) == [[SECRET], [SECRET]]
    assert "a=b" in origin.requests[1].query


# Redirects.


def test_neither_follows_a_redirect_to_another_server_nor_back_from_it(dcmweb: Dcmweb) -> None:
    given = ("--header", f"X-Api-Key: {SECRET}", "--query", f"key={SECRET}", "--user", "a:b")
    with serving(lambda _: Answer(204)) as other, serving(lambda _: Answer(204)) as origin:
        back = {"Location": f"http://127.0.0.1:{origin.port}/back"}
        other.handler = lambda _: Answer(302, headers=back)
        there = {"Location": f"http://127.0.0.1:{other.port}/there"}
        answers = {"/back": Answer(302, headers={"Location": "/end"}), "/end": Answer(204)}
        origin.handler = lambda r: answers.get(r.path, Answer(302, headers=there))
        assert dcmweb(*given, origin.url, "search").code == 0
    assert [r.path for r in origin.requests] == ["/dicomweb/studies", "/back", "/end"]
    for request in (*other.requests, *origin.requests[1:]):
        assert "x-api-key" not in request.headers
        assert "authorization" not in request.headers
        assert "S3CR3T" not in request.target
    assert origin.requests[0].headers["x-api-key"] == SECRET


def test_both_follow_a_redirect_within_the_server(dcmweb: Dcmweb) -> None:
    given = ("--header", f"X-Api-Key: {SECRET}", "--query", f"key={SECRET}")
    with serving(lambda _: Answer(204)) as origin:
        there = {"Location": "/there"}
        origin.handler = lambda r: Answer(204) if r.path == "/there" else Answer(302, headers=there)
        assert dcmweb(*given, origin.url, "search").code == 0
    assert keys(origin) == [SECRET, SECRET]
    assert parameters(origin) == [[SECRET], [SECRET]]


# What is never shown.


def echo(request: Request) -> dict[str, str]:
    """All that a server can repeat in header fields."""
    url = f"http://{request.headers['host']}{request.target}"
    return {
        "Warning": f'299 - "the key {SECRET} of {url} is old"',
        "Link": f'<{url}>; rel="next"',
        "X-Echo": f"{SECRET}, {request.headers['x-api-key']}",
        "Location": url,
    }


def stored(request: Request) -> Answer:
    place = "http://h/dicomweb/studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"
    item = {
        "00081155": {"vr": "UI", "Value": ["1.2.3.4.1"]},
        "00081190": {"vr": "UR", "Value": [f"{place}?key={ESCAPED}"]},
        "00081196": {"vr": "US", "Value": [0xB000]},
        "00000902": {"vr": "LO", "Value": [f"coerced by {SECRET}"]},
    }
    return json_answer({"00081199": {"vr": "SQ", "Value": [item]}}, 200, **echo(request))


def failed(request: Request) -> Answer:
    item = {"00081155": {"vr": "UI", "Value": ["1.2.3.4.1"]}}
    words = {"00081197": {"vr": "US", "Value": [0xC000]}}
    comment = {"00000902": {"vr": "LO", "Value": [f"no {SECRET}, {ESCAPED}"]}}
    content = {"00081198": {"vr": "SQ", "Value": [{**item, **words, **comment}]}}
    return json_answer(content, status=409, **echo(request))


ANSWERS = {
    "words": lambda r: Answer(400, f"no {SECRET} {ESCAPED} {r.target}".encode(), echo(r)),
    "json": lambda r: json_answer({"message": f"{SECRET} in {r.target}"}, status=403, **echo(r)),
    "unauthorized": lambda r: Answer(401, f"who is {SECRET}?".encode(), echo(r)),
    "login": lambda r: Answer(200, b"<html>", {**echo(r), "Content-Type": "text/html"}),
    "loop": lambda r: Answer(302, headers=echo(r)),
    "strange": lambda r: Answer(302, headers={"Location": f"ftp://h/?key={ESCAPED}"}),
    "bad": lambda r: Answer(302, headers={"Location": f"http://[{SECRET}/?key={ESCAPED}"}),
    "location": lambda r: Answer(
        200, b"[]", {"Content-Location": f"/dicomweb/studies/9?key={ESCAPED}"}
    ),
    "broken": lambda r: Answer(200, b"[]", echo(r), length=77, cut=1),
    "silent": lambda r: Answer(cut=-1),
    "fine": lambda r: Answer(204, headers=echo(r)),
    "stored": lambda r: stored(r) if r.method == "POST" else Answer(204, headers=echo(r)),
    "failed": lambda r: failed(r) if r.method == "POST" else Answer(204, headers=echo(r)),
}


@pytest.mark.parametrize("answer", sorted(ANSWERS))
def test_no_output_has_the_secrets_whatever_a_server_repeats(
    dcmweb: Dcmweb, tmp_path: Path, answer: str
) -> None:
    write_files(tmp_path / "in", make_series(1))
    (tmp_path / "key").write_text(SECRET)
    given = ("--header", "X-Api-Key: @key", "--query", "key=@key")
    records = ("--manifest", "m.jsonl")
    with serving(ANSWERS[answer]) as origin:
        for command in (
            ["search"],
            ["store", "in", "--json", *records],
            ["retrieve", "studies/1.2", "-o", "out", *records],
            ["delete", "studies/1.2"],
            ["ping"],
            ["ping", "--json"],
        ):
            flags = ("--debug", "--retries", "0")
            assert silent(dcmweb(*flags, *given, origin.url, *command))
    assert set(keys(origin)) == {SECRET}
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "key"]
    assert not [path for path in written if b"S3CR3T" in path.read_bytes()]


def test_no_connection_is_told_without_the_parameter(dcmweb: Dcmweb) -> None:
    given = ("--debug", "--retries", "0", "--query", f"key={SECRET}")
    result = dcmweb(*given, "http://127.0.0.1:1/dicomweb", "search")
    assert result.code == 6
    assert silent(result)


# Cookies.


def test_cookies_are_kept_for_the_host_that_set_them(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(4, size=100))
    archive = Archive()

    def handle(request: Request) -> Answer:
        answer = archive(request)
        cookie = {"Set-Cookie": "JSESSIONID=abc; Path=/; HttpOnly"}
        return Answer(answer.status, answer.body, {**answer.headers, **cookie})

    with serving(handle) as origin:
        assert dcmweb("-j", "4", origin.url, "store", "in", "--verify").code == 0
        first, *later = origin.requests
        assert "cookie" not in first.headers
        assert later[-1].headers["cookie"] == "JSESSIONID=abc"
        result = dcmweb("--debug", "--header", "Cookie: own=1", origin.url, "search", "--all")
    assert result.code == 0
    assert "abc" not in result.err
    assert "own" not in result.err
    assert origin.requests[-1].headers["cookie"].startswith(("own=1", "JSESSIONID=abc; own=1"))


@pytest.mark.parametrize("domain", ["", "; Domain=localhost"])
def test_cookies_do_not_go_to_other_hosts(dcmweb: Dcmweb, domain: str) -> None:
    cookie = {"Set-Cookie": f"JSESSIONID=abc; Path=/{domain}"}
    with serving(lambda _: Answer(204)) as other:
        there = {"Location": f"http://localhost:{other.port}/there"}
        with serving(lambda _: Answer(302, headers={**there, **cookie})) as origin:
            assert dcmweb("--header", "Cookie: own=1", origin.url, "search").code == 0
    assert keys(origin, "cookie") == ["own=1"]
    assert keys(other, "cookie") == [None]
