"""Azure's own credentials, by azure-identity with servers that are scripted."""

from __future__ import annotations

import time
from urllib.parse import unquote

import pytest
import requests

from dcmweb.errors import AuthError, DcmwebError, NetworkError, UsageError
from dcmweb.http.auth.azure import AzureAuth, DefaultCredential, _refusal
from dcmweb.settings import Credentials
from tests.unit.http.auth.helpers import Scripted, Servers, answer, at_once, header, prepared

pytest.importorskip("azure.identity")
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
)

HOUR = 3600


@pytest.fixture
def app_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a managed identity, as App Service has them."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "S3CRET")


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")  # no az, azd or pwsh
    monkeypatch.setattr("time.sleep", lambda _: None)


def issued(value: str = "abc") -> Scripted:
    json_ = {"Content-Type": "application/json"}
    content = {"access_token": value, "expires_on": str(int(time.time()) + HOUR), "resource": "x"}
    return answer({**content, "token_type": "Bearer"}, 200, json_)


def made(servers: Servers, given: Credentials | None = None) -> AzureAuth:
    authentication = AzureAuth(given or Credentials())
    authentication.connect(servers)
    return authentication


@pytest.mark.usefixtures("app_service")
def test_the_token_of_a_managed_identity() -> None:
    servers = Servers(issued())
    azure = made(servers, Credentials(client_id="mine"))
    assert at_once(lambda: header(azure), 32) == ["Bearer abc"] * 32
    (request,) = servers.requests
    asked = str(request.prepare().url)
    assert asked.startswith("http://127.0.0.1:9/msi/token?")
    assert "resource=https://dicom.healthcareapis.azure.com" in unquote(asked)
    assert "client_id=mine" in asked
    assert azure.token.current().expires == pytest.approx(time.time() + HOUR, abs=60)


@pytest.mark.usefixtures("app_service")
def test_another_scope_can_be_given() -> None:
    servers = Servers(issued())
    prepared(made(servers, Credentials(scopes=("https://other.example/.default",))))
    asked = unquote(str(servers.requests[0].prepare().url))
    assert "resource=https://other.example" in asked


def test_without_credentials_it_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    servers = Servers(requests.ConnectionError("no route"))
    with pytest.raises(AuthError, match="there are no Azure credentials; run `az login`"):
        prepared(made(servers))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "DefaultAzureCredential failed\nAttempted:\n\tEnvironmentCredential: Authentication "
            "failed: AADSTS7000215: Invalid client secret provided. Trace ID: 1\nmore",
            "Entra ID refuses the Azure credentials: AADSTS7000215: Invalid client secret",
        ),
        ("Authentication failed: something\nmore", "credentials are refused: something"),
        ("DefaultAzureCredential failed\nAttempted:\n\tx: unavailable", "there are no Azure"),
    ],
)
def test_what_azure_identity_says_is_told_in_one_line(message: str, words: str) -> None:
    error = _refusal(message)
    assert words in error.message
    assert "\n" not in str(error)


@pytest.mark.usefixtures("app_service")
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (requests.ConnectionError("no route"), DcmwebError),
        (answer(b"<html>", 500, {"Content-Type": "text/html"}), DcmwebError),
        (answer({"error": "x", "error_description": "no"}, 400), DcmwebError),
    ],
)
def test_an_identity_that_cannot_be_had_is_one_line(
    reply: Scripted | Exception, kind: type[DcmwebError]
) -> None:
    with pytest.raises(kind) as caught:
        prepared(made(Servers(reply)))
    assert isinstance(caught.value, (AuthError, NetworkError, UsageError))
    assert "\n" not in str(caught.value)
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize("kind", [ClientAuthenticationError, ServiceRequestError])
def test_what_a_server_of_azure_repeats_is_hidden(
    kind: type[AzureError], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def get_token(self, *_: str) -> None:
            raise kind("AADSTS1: you sent S3CRET-1")

    caplog.set_level("INFO")
    source = DefaultCredential(Credentials(), Servers(answer({})))
    source._session.request("POST", "https://login.example", data={"assertion": "S3CRET-1"})
    monkeypatch.setattr(source, "_found", Failing)
    with pytest.raises(DcmwebError, match=r"you sent \.\.\.") as caught:
        source.fetch()
    assert "S3CRET" not in str(caught.value) + caplog.text
