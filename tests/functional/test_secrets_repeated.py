"""What was sent in an Authorization field is not shown, in whatever form a server repeats it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_series, write_files
from tests.functional import aws
from tests.functional.digest import Digest
from tests.functional.origin import Answer, Request, serving

USER, PASSWORD, TOKEN = "alice", "S3CR3T-of-alice", "T0K3N." + "abcdefghij" * 60
AS_JSON = {"Content-Type": "application/json"}
WAYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "basic": (["--user", USER], {"DCMWEB_PASSWORD": PASSWORD}),
    "netrc": (["--auth", "netrc"], {"NETRC": "netrc"}),
    "digest": (["--auth", "digest", "--user", USER], {"DCMWEB_PASSWORD": PASSWORD}),
    "bearer": ([], {"DCMWEB_TOKEN": TOKEN}),
    "header": (["--header", "Authorization: $FIELD"], {"FIELD": f"Token {PASSWORD}"}),
    "aws": (["--auth", "aws"], aws.ENVIRONMENT),
}


def secret_parts(field: str) -> Iterator[str]:
    """Yield what is secret in an Authorization field, by pieces that a cut may leave."""
    words = re.findall(r'(?:response="|Signature=)([^"]+)', field) or field.split()[-1:]
    for word in words:
        yield from (word[start : start + 12] for start in range(0, len(word) - 11, 12))


def repeat(request: Request, padding: int) -> str:
    return "x " * padding + "you sent " + json.dumps(request.headers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("padding", [0, 100])
@pytest.mark.parametrize("command", [["search"], ["ping"], ["store", "in"], ["retrieve", "-oout"]])
def test_what_was_sent_is_not_shown(
    dcmweb: Dcmweb, tmp_path: Path, way: str, padding: int, command: list[str]
) -> None:
    options, environment = WAYS[way]
    (tmp_path / "netrc").write_text(f"default login {USER} password {PASSWORD}")
    write_files(tmp_path / "in", make_series(1))

    def answer(request: Request) -> Answer:
        words = repeat(request, padding)
        return Answer(400, json.dumps({"message": words}).encode(), AS_JSON)

    handler = Digest(answer, USER, PASSWORD) if way == "digest" else answer
    with serving(handler) as origin:
        given = ["--debug", "--retries", "0", *options]
        result = dcmweb(*given, origin.url, *command, env=environment)
        fields = {request.headers.get("authorization", "") for request in origin.requests}
    assert "you sent" in result.err
    assert PASSWORD not in result.out + result.err
    parts = [part for field in fields if field for part in secret_parts(field)]
    assert parts
    assert not [part for part in parts if part in result.out + result.err]


@pytest.mark.parametrize("way", WAYS)
def test_what_was_sent_is_not_shown_of_success_either(
    dcmweb: Dcmweb, tmp_path: Path, way: str
) -> None:
    """A Warning, and JSON that is something else than what was asked for."""
    options, environment = WAYS[way]
    (tmp_path / "netrc").write_text(f"default login {USER} password {PASSWORD}")

    def answer(request: Request) -> Answer:
        warning = (
            f'299 - "you sent {request.headers.get("authorization", "").replace(chr(34), "")}"'
        )
        said = json.dumps({"error": repeat(request, 150)}).encode()
        return Answer(200, said, {**AS_JSON, "Warning": warning})

    handler = Digest(answer, USER, PASSWORD) if way == "digest" else answer
    with serving(handler) as origin:
        for command in (["search"], ["retrieve", "studies/1.2/metadata"], ["ping", "--json"]):
            line = ["--debug", "--retries", "0", *options, origin.url, *command]
            result = dcmweb(*line, env=environment)
            assert "you sent" in result.err
            fields = [request.headers.get("authorization", "") for request in origin.requests]
            parts = [part for field in fields if field for part in secret_parts(field)]
            assert not [part for part in parts if part in result.out + result.err]
            assert PASSWORD not in result.out + result.err


@pytest.mark.parametrize("way", ["option", "variable", "profile"])
def test_what_a_proxy_was_sent_is_not_shown(dcmweb: Dcmweb, tmp_path: Path, way: str) -> None:
    def answer(request: Request) -> Answer:
        words = f"you sent {json.dumps(request.headers)}, which is {PASSWORD}"
        return Answer(502, words.encode(), {"X-Echo": words})

    with serving(answer) as proxy:
        url = f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
        (tmp_path / "config").write_text(f'[p]\nurl = "http://pacs.invalid/x"\nproxy = "{url}"\n')
        (tmp_path / "config").chmod(0o600)
        options = ["--proxy", url] if way == "option" else []
        environment = {"HTTP_PROXY": url} if way == "variable" else {"DCMWEB_CONFIG": "config"}
        base_url = "@p" if way == "profile" else "http://pacs.invalid/x"
        for command in (["search"], ["ping", "--json"]):
            line = ["--debug", "--retries", "0", *options, base_url, *command]
            result = dcmweb(*line, env=environment)
            assert "you sent" in result.err
            field = proxy.requests[-1].headers["proxy-authorization"]
            assert field.removeprefix("Basic ") not in result.out + result.err
            assert PASSWORD not in result.out + result.err
