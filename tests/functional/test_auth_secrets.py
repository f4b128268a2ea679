"""Secrets of schemes with tokens are shown nowhere, whatever servers answer, `--debug` included."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dcmweb import Client
from dcmweb.errors import DcmwebError
from dcmweb.settings import AuthScheme, Credentials, Settings
from tests.conftest import Dcmweb
from tests.functional.origin import Answer, Handler, Origin, Request, serving
from tests.functional.token_servers import form_of, issued, refused

SECRET, TOKEN = "S3CR3T-of-the-client", "T0K3N-of-the-server"
SECRETS = (SECRET, TOKEN, "PRIVATE KEY")

Way = tuple[list[str], dict[str, str]]  # options and variables


def bearer_file(folder: Path, _: Origin) -> Way:
    (folder / "token").write_text(TOKEN)
    return ["--token-file", "token"], {}


def bearer_variable(_: Path, __: Origin) -> Way:
    return [], {"DCMWEB_TOKEN": TOKEN}


def bearer_command(folder: Path, _: Origin) -> Way:
    (folder / "token").write_text(json.dumps({"accessToken": TOKEN}))
    return ["--token-command", "cat token"], {}


def oauth2(_: Path, tokens: Origin) -> Way:
    url = f"http://127.0.0.1:{tokens.port}/token"
    return ["--token-url", url, "--client-id", "me"], {"DCMWEB_CLIENT_SECRET": SECRET}


def google(folder: Path, tokens: Origin) -> Way:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    content = {
        "type": "service_account",
        "client_email": "tests@example.invalid",
        "private_key": key.decode(),
        "token_uri": f"http://127.0.0.1:{tokens.port}/token",
    }
    (folder / "key.json").write_text(json.dumps(content))
    return ["--auth", "google", "--service-account", "key.json"], {}


def azure(_: Path, tokens: Origin) -> Way:
    place = f"http://127.0.0.1:{tokens.port}/token"
    environment = {"IDENTITY_ENDPOINT": place, "IDENTITY_HEADER": SECRET, "PATH": "/bin:/usr/bin"}
    return ["--auth", "azure"], environment


SCHEMES = [bearer_file, bearer_variable, bearer_command, oauth2, google, azure]


def good(_: Request) -> Answer:
    return issued(TOKEN, expires_in="3600", expires_on=str(int(time.time()) + 3600), resource="x")


def repeating(request: Request) -> Answer:
    """A token server that says in its error what it was sent, and what that stands for."""
    form = form_of(request)
    basic = request.headers.get("authorization", "").removeprefix("Basic ")
    plain = unquote_plus(base64.b64decode(basic + "===").decode("latin-1"))
    words = f"wrong: {plain} {list(form.values())} {request.headers} {request.body.decode()}"
    return refused("invalid_client", words)


def broken(request: Request) -> Answer:
    return Answer(200, f"<html>{request.headers} {request.body!r}".encode())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("issue", [good, repeating, broken])
@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_no_output_shows_a_secret(
    dcmweb: Dcmweb,
    tmp_path: Path,
    scheme: Callable[[Path, Origin], Way],
    issue: Handler,
    status: int,
) -> None:
    def answer(_: Request) -> Answer:
        content = {"Content-Type": "application/dicom+json"}
        return Answer(status, b"[]" if status == 200 else b'{"error": "no"}', content)

    with serving(issue) as tokens, serving(answer) as origin:
        options, environment = scheme(tmp_path, tokens)
        line = ("--debug", "--retries", "0", *options, origin.url, "search")
        result = dcmweb(*line, env=environment)
    sent = [request.headers["authorization"] for request in origin.requests]
    assert all(TOKEN in one for one in sent)
    assert len(sent) > 0 or result.code in (4, 5, 8)
    forms = [form_of(request) for request in tokens.requests]
    signed = [form["assertion"] for form in forms if "assertion" in form]
    for secret in (*SECRETS, *signed):
        assert secret not in result.out + result.err
        assert secret[:60] not in result.out + result.err
    assert "GET http" in result.err or not sent


GIVEN = Credentials(
    scheme=AuthScheme.OAUTH2,
    token=TOKEN,
    client_secret=SECRET,
    client_id="me",
    token_url="http://127.0.0.1:9/token",
)


def shown_by(thing: object) -> str:
    return f"{thing!r} {thing}"


def test_nothing_of_the_library_shows_a_secret() -> None:
    settings = Settings(base_url="http://127.0.0.1:9/", credentials=GIVEN)
    with serving(repeating) as tokens:
        given = Credentials(
            scheme=AuthScheme.OAUTH2,
            client_id="me",
            client_secret=SECRET,
            token_url=f"http://127.0.0.1:{tokens.port}/token",
        )
        client = Client.of(Settings(base_url="http://127.0.0.1:9/", credentials=given))
        with pytest.raises(DcmwebError) as caught:
            list(client.search("studies"))
        client.close()
    things: list[Any] = [settings, client, client.settings, GIVEN, caught.value]
    for thing in things:
        assert SECRET not in shown_by(thing)
        assert TOKEN not in shown_by(thing)
    for pickled in (pickle.dumps(settings), pickle.dumps(GIVEN), pickle.dumps(caught.value)):
        assert SECRET.encode() not in pickled
        assert TOKEN.encode() not in pickled
    assert SECRET not in repr(copy.copy(GIVEN))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
