"""Credentials of Google and Azure, with servers in place of theirs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from dcmweb.extras import how_to_install
from tests.conftest import Dcmweb
from tests.functional.origin import Answer, Origin, Request, serving
from tests.functional.token_servers import Issuer, WriteKey, form_of, issued, refused

DELETED = Answer(204)


def paths(count: int) -> str:
    return "".join(f"studies/1.2.{number}\n" for number in range(1, count + 1))


# Google.


@pytest.mark.parametrize("way", ["option", "variable", "google's variable"])
def test_a_service_account_asked_for_by_name(
    dcmweb: Dcmweb, service_account: WriteKey, way: str
) -> None:
    issuer = Issuer(expires_in=3600)
    with serving(issuer) as tokens, serving(issuer.guarding(lambda _: DELETED)) as origin:
        file = str(service_account(tokens))
        arguments = ["--service-account", file] if way == "option" else []
        name = "DCMWEB_SERVICE_ACCOUNT" if way == "variable" else "GOOGLE_APPLICATION_CREDENTIALS"
        environment = {} if way == "option" else {name: file}
        line = ("--auth", "google", "--quota-project", "mine", *arguments, origin.url, "search")
        result = dcmweb(*line, env=environment)
    assert (result.code, result.err) == (0, "")
    assert origin.requests[0].headers["x-goog-user-project"] == "mine"
    assert "assertion" in form_of(tokens.requests[0])


def test_many_threads_refresh_googles_token_once(dcmweb: Dcmweb, service_account: WriteKey) -> None:
    issuer = Issuer(uses=25, expires_in=3600)
    with serving(issuer) as tokens, serving(issuer.guarding(lambda _: DELETED)) as origin:
        file = service_account(tokens)
        given = ("--auth", "google", "--service-account", file, "-j", "32")
        result = dcmweb(*given, origin.url, "delete", "-", "--yes", text=paths(100))
    assert (result.code, issuer.issued) == (0, 2)


def test_a_metadata_server(dcmweb: Dcmweb) -> None:
    flavor = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}

    def serve(request: Request) -> Answer:
        if "/token" in request.target:
            token = {"access_token": "machine", "expires_in": 3000, "token_type": "Bearer"}
            return Answer(200, json.dumps(token).encode(), flavor)
        return Answer(200, b'{"email": "x@y", "scopes": []}', flavor)

    with serving(serve) as metadata, serving(lambda _: DELETED) as origin:
        host = f"127.0.0.1:{metadata.port}"
        environment = {
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "NO_GCE_CHECK": "false",
            "PYTHONHASHSEED": "1",  # in a process of its own: google-auth reads them at its start
        }
        result = dcmweb("--auth", "google", origin.url, "search", env=environment)
    assert (result.code, result.err) == (0, "")
    assert origin.requests[0].headers["authorization"] == "Bearer machine"


def test_no_metadata_server_is_looked_for_on_behalf_of_other_hosts(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(404)) as metadata, serving(lambda _: DELETED) as origin:
        host = f"127.0.0.1:{metadata.port}"
        environment = {
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "NO_GCE_CHECK": "false",
            "PYTHONHASHSEED": "1",
        }
        assert dcmweb(origin.url, "search", env=environment).code == 0
    assert metadata.requests == []


def test_google_without_credentials(dcmweb: Dcmweb) -> None:
    url = "https://healthcare.googleapis.com/v1/projects/p"
    result = dcmweb(url, "search", env={"HTTPS_PROXY": "http://127.0.0.1:9"})
    assert result.code == 4
    assert len(result.err.splitlines()) == 1
    assert "no usable Google credentials: none were found; run `gcloud auth" in result.last
    assert "gcloud auth application-default login" in result.last


@pytest.mark.parametrize(
    ("arguments", "url", "words"),
    [
        ([], "http://healthcare.googleapis.com/v1", "leads to Google without encryption; write ht"),
        (["--service-account", "key"], "http://127.0.0.1:9/", "give --auth google to send"),
        (["--service-account", "key"], "https://127.0.0.1:9/", "give --auth google to send"),
        (["--service-account", "none"], "https://127.0.0.1:9/", "there is no file none"),
    ],
)
def test_google_credentials_go_elsewhere_by_name_only(
    dcmweb: Dcmweb, tmp_path: Path, arguments: list[str], url: str, words: str
) -> None:
    (tmp_path / "key").write_text("{}")
    result = dcmweb(*arguments, url, "search")
    assert (result.code, result.out) == (2, "")
    assert words in result.last


def test_google_credentials_without_encryption_are_warned_of(
    dcmweb: Dcmweb, service_account: WriteKey
) -> None:
    issuer = Issuer(expires_in=3600)
    with serving(issuer) as tokens, serving(issuer.guarding(lambda _: DELETED)) as proxy:
        file = service_account(tokens)
        environment = {
            "HTTP_PROXY": f"http://127.0.0.1:{proxy.port}",
            "NO_PROXY": "127.0.0.1",
        }
        line = ("--auth", "google", "--service-account", file, "http://pacs.example/", "delete")
        result = dcmweb(*line, "-", "--yes", env=environment, text=paths(2))
    assert result.code == 0
    assert result.err.count("Google credentials go to pacs.example without encryption") == 1


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            refused("invalid_grant", "Bad key", 400),
            4,
            "Google refuses the credentials: invalid_gra",
        ),
        (Answer(200, b"<html>"), 8, "Google's token server answered with no token"),
        (Answer(cut=-1), 6, "Google's token server cannot be reached"),
    ],
)
def test_google_credentials_that_are_refused(
    dcmweb: Dcmweb, service_account: WriteKey, answer: Answer, code: int, words: str
) -> None:
    with serving(lambda _: answer) as tokens, serving(lambda _: DELETED) as origin:
        file = service_account(tokens)
        given = ("--retries", "0", "--auth", "google", "--service-account", file)
        result = dcmweb(*given, origin.url, "search")
    assert result.code == code
    assert len(result.err.splitlines()) == 1
    assert words in result.last
    assert origin.requests == []


def test_a_server_that_does_not_take_googles_token(
    dcmweb: Dcmweb, service_account: WriteKey
) -> None:
    issuer = Issuer(expires_in=3600)
    with serving(issuer) as tokens, serving(lambda _: Answer(401)) as origin:
        file = service_account(tokens)
        result = dcmweb("--auth", "google", "--service-account", file, origin.url, "search")
    assert result.code == 4
    assert "Google's token is refused: does BASE_URL lead to Google?" in result.last


def test_what_is_forbidden_does_not_refresh_googles_token(
    dcmweb: Dcmweb, service_account: WriteKey
) -> None:
    issuer = Issuer(expires_in=3600)
    with serving(issuer) as tokens, serving(lambda _: Answer(403)) as origin:
        file = service_account(tokens)
        given = ("--auth", "google", "--service-account", file, "-j", "8")
        result = dcmweb(*given, origin.url, "delete", "-", "--yes", text=paths(100))
    assert (result.code, issuer.issued) == (1, 1)


# Azure.


def managed_identity(tokens: Origin) -> dict[str, str]:
    """The environment of a machine with a managed identity, as App Service has them."""
    return {
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{tokens.port}/msi/token",
        "IDENTITY_HEADER": "S3CR3T",
        "PATH": "",  # no az
    }


def test_a_managed_identity_of_azure(dcmweb: Dcmweb) -> None:
    def issue(request: Request) -> Answer:
        assert request.headers["x-identity-header"] == "S3CR3T"
        return issued("abc", expires_on=str(int(time.time()) + 3600), resource="x")

    with serving(issue) as tokens, serving(lambda _: DELETED) as origin:
        line = ("--auth", "azure", "-j", "8", origin.url, "delete", "-", "--yes")
        result = dcmweb(*line, env=managed_identity(tokens), text=paths(40))
    assert result.code == 0, result.err
    assert len(tokens.requests) == 1
    assert "resource=https://dicom.healthcareapis.azure.com" in unquote(tokens.requests[0].target)
    assert {one.headers["authorization"] for one in origin.requests} == {"Bearer abc"}


def test_azure_credentials_that_are_refused(dcmweb: Dcmweb) -> None:
    answer = Answer(400, b'{"error": "invalid_request"}', {"Content-Type": "application/json"})
    with serving(lambda _: answer) as tokens, serving(lambda _: DELETED) as origin:
        environment = managed_identity(tokens)
        result = dcmweb("--auth", "azure", origin.url, "search", env=environment)
    assert result.code == 4
    assert len(result.err.splitlines()) == 1
    assert origin.requests == []


def test_a_server_of_azures_names_the_extra(dcmweb: Dcmweb) -> None:
    asked = 'Bearer authorization_uri="https://login.microsoftonline.com/x"'
    with serving(lambda _: Answer(401, headers={"WWW-Authenticate": asked})) as origin:
        result = dcmweb(origin.url, "search")
    assert result.code == 4
    assert f"which needs the package azure-identity: {how_to_install('azure')}" in result.last
