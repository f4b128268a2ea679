"""Google: which credentials are found, how they are refreshed, and what is said without any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from dcmweb.errors import AuthError, DcmwebError, NetworkError
from dcmweb.http.auth import google as module
from dcmweb.http.auth.google import GOOGLE_SCOPE, GoogleAuth
from dcmweb.http.auth.hosts import is_google
from dcmweb.settings import AuthScheme, Credentials, Settings
from tests.unit.http.auth.helpers import (
    GOOGLE_URL,
    OTHER_URL,
    Servers,
    answer,
    at_once,
    header,
    prepared,
)

ISSUED = answer({"access_token": "abc", "expires_in": 3600, "token_type": "Bearer"})
LOGIN = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "S3CRET",
    "refresh_token": "REFRESH",
}


@pytest.fixture(scope="module")
def key() -> dict[str, Any]:
    """The key of a service account."""
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "client_email": "tests@example.invalid",
        "private_key": pem.decode(),
        "token_uri": "https://oauth2.example/token",
    }


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no credentials of gcloud."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(module, "_PRODUCT", tmp_path / "none")


def made(content: object, servers: Servers, folder: Path, **more: Any) -> GoogleAuth:
    """Make the authentication with a file of credentials."""
    file = folder / "key.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    given = Credentials(scheme=AuthScheme.GOOGLE, service_account=str(file), **more)
    return connected(given, servers)


def connected(given: Credentials, servers: Servers, url: str = GOOGLE_URL) -> GoogleAuth:
    authentication = GoogleAuth(Settings(base_url=url, credentials=given))
    authentication.connect(servers)
    return authentication


@pytest.mark.parametrize(
    ("url", "google"),
    [
        (GOOGLE_URL, True),
        ("https://googleapis.com/", True),
        ("https://HEALTHCARE.googleapis.com:443/v1", True),
        ("http://healthcare.googleapis.com/v1", False),
        ("https://healthcare.googleapis.com.evil.example/v1", False),
        ("https://evilgoogleapis.com/v1", False),
        ("https://evil.example/googleapis.com", False),
        ("https://healthcare.googleapis.com@evil.example/", False),
        ("https://evil.example/?x=.googleapis.com", False),
        (OTHER_URL, False),
        ("", False),
    ],
)
def test_google_is_known_by_its_hosts_over_https(url: str, google: bool) -> None:
    assert is_google(url) is google


def form_of(request: requests.Request) -> str:
    return request.data.decode() if isinstance(request.data, bytes) else str(request.data)


def test_a_service_account_is_used_when_first_needed(key: dict[str, Any], tmp_path: Path) -> None:
    servers = Servers(ISSUED)
    google = made(key, servers, tmp_path, quota_project="quota")
    assert not servers.requests
    request = prepared(google)
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["x-goog-user-project"] == "quota"
    prepared(google)
    assert [one.url for one in servers.requests] == ["https://oauth2.example/token"]
    assert max(servers.timeouts[0]) <= 30


def test_a_login_of_gcloud_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "gcloud"
    folder.mkdir()
    (folder / "application_default_credentials.json").write_text(json.dumps(LOGIN))
    servers = Servers(ISSUED)
    assert header(connected(Credentials(), servers)) == "Bearer abc"
    assert "refresh_token=REFRESH" in form_of(servers.requests[0])


@pytest.mark.parametrize("way", ["option", "variable"])
def test_workload_identity_federation(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "subject").write_text("from-elsewhere")
    account = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p"
        "/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    servers = Servers(ISSUED)
    google = made(account, servers, tmp_path)
    if way == "variable":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        google = connected(Credentials(), servers)
    assert header(google) == "Bearer abc"
    urls = [str(one.url) for one in servers.requests]
    assert urls.count("https://sts.googleapis.com/v1/token") == 1
    assert "subject_token=from-elsewhere" in form_of(servers.requests[0])


def test_impersonation(tmp_path: Path) -> None:
    account = {
        "type": "impersonated_service_account",
        "source_credentials": LOGIN,
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-"
        "/serviceAccounts/other@example.invalid:generateAccessToken",
    }
    other = answer({"accessToken": "other", "expireTime": "2099-01-01T00:00:00Z"})
    servers = Servers(ISSUED, other)
    assert header(made(account, servers, tmp_path)) == "Bearer other"
    assert len(servers.requests) == 2


def test_scopes_can_be_given(tmp_path: Path) -> None:
    for scopes, expected in (((), GOOGLE_SCOPE), (("a", "b"), "a b")):
        servers = Servers(ISSUED)
        prepared(made(LOGIN, servers, tmp_path, scopes=scopes))
        assert f"scope={quote_plus(expected)}" in form_of(servers.requests[0])


def test_many_threads_make_one_refresh(key: dict[str, Any], tmp_path: Path) -> None:
    servers = Servers(ISSUED)
    google = made(key, servers, tmp_path)
    assert at_once(lambda: header(google), 32) == ["Bearer abc"] * 32
    assert len(servers.requests) == 1
    refused = prepared(google)
    servers.answers = [answer({"access_token": "other", "expires_in": 3600})]
    assert at_once(lambda: google.renew(refused), 32) == [True] * 32
    assert len(servers.requests) == 2
    assert header(google) == "Bearer other"
    assert not any(google.renew(prepared(google), 403) for _ in range(100))
    assert len(servers.requests) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (answer({"error": "invalid_grant"}, 400), AuthError, "Google refuses the credentials: inv"),
        (answer(b"<html>", 400), AuthError, "Google refuses the credentials"),
        (answer({}, 200), AuthError, "Google refuses the credentials"),
        (requests.ConnectionError("no route"), NetworkError, "cannot be reached: no route"),
    ],
)
def test_what_the_token_server_answers_is_translated(
    reply: Any, kind: type[DcmwebError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # google-auth tries again
    with pytest.raises(kind, match=words) as caught:
        prepared(made(LOGIN, Servers(reply), tmp_path))
    assert "\n" not in str(caught.value)
    assert "S3CRET" not in str(caught.value)
    assert "REFRESH" not in str(caught.value)
    assert caught.value.fatal


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON",
        "[1]",
        "{}",
        '{"type": "other"}',
        {"type": "service_account"},
        {"type": "service_account", "private_key": 5, "client_email": "x", "token_uri": "y"},
        {"type": "service_account", "private_key": "S3CRET", "client_email": "x", "token_uri": "y"},
        {"type": "authorized_user"},
        {"type": "external_account"},
        {"type": "external_account", "credential_source": []},
        {"type": "impersonated_service_account"},
        {"installed": {"client_secret": "S3CRET"}},
    ],
)
def test_a_file_with_something_else_is_an_auth_error(
    content: str | Mapping[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(AuthError, match=r"[Cc]redentials") as caught:
        prepared(made(content, Servers(ISSUED), tmp_path))
    assert "S3CRET" not in str(caught.value)
    assert "key.json" in str(caught.value)


def test_a_file_that_is_missing_is_an_auth_error(tmp_path: Path) -> None:
    given = Credentials(service_account=str(tmp_path / "none"))
    with pytest.raises(AuthError, match="No such file"):
        prepared(connected(given, Servers(ISSUED)))


# The metadata server.


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.compute_engine import _metadata

    # Older versions of google-auth ask the environment each time.
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False, raising=False)
    monkeypatch.delenv("NO_GCE_CHECK", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("there is nothing to wait for"))


@pytest.mark.usefixtures("metadata")
def test_a_machine_that_is_not_googles_is_known_after_one_attempt() -> None:
    servers = Servers(requests.ConnectTimeout("timed out"))
    with pytest.raises(AuthError) as caught:
        prepared(connected(Credentials(), servers))
    assert len(servers.requests) == 1
    assert max(servers.timeouts[0]) <= 2
    assert "no usable Google credentials: there are none on this machine" in caught.value.message
    for way in ("gcloud auth application-default login", "--service-account"):
        assert way in caught.value.hint


@pytest.mark.usefixtures("metadata")
def test_a_machine_of_googles_has_the_tokens_of_its_metadata_server() -> None:
    flavor = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
    account = answer({"email": "default", "scopes": [GOOGLE_SCOPE], "aliases": []}, 200, flavor)
    token = answer({"access_token": "machine", "expires_in": 3000}, 200, flavor)

    def serve(request: requests.Request, _: Any) -> requests.Response:
        asked = str(request.url)
        return Servers(token if "/token" in asked else account)(request, (1, 1))

    assert header(connected(Credentials(), serve)) == "Bearer machine"  # type: ignore[arg-type]


def test_a_metadata_server_that_is_named_is_not_searched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "http://169.254.169.254/computeMetadata"
    assert module._is_search(url)
    assert not module._is_search(GOOGLE_URL)
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")
    assert not module._is_search(url)


def test_a_virtual_machine_of_googles_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "product").write_text("Google Compute Engine\n")
    monkeypatch.setattr(module, "_PRODUCT", tmp_path / "product")
    assert not module._is_search("http://metadata.google.internal/")


# Translation, and warnings.


@pytest.mark.parametrize(
    ("raised", "message", "kind", "words"),
    [
        (DefaultCredentialsError, "none found\nsee docs", AuthError, "usable .*: none found"),
        (RefreshError, "invalid_grant", AuthError, "refuses the credentials: invalid_grant"),
        (RefreshError, "", AuthError, "refuses the credentials: no reason given"),
        (TransportError, "connection refused", NetworkError, "server cannot be reached"),
        (ValueError, "S3CRET", AuthError, "ValueError"),
    ],
)
def test_errors_of_google_auth_are_translated(
    raised: type[Exception], message: str, kind: type[DcmwebError], words: str
) -> None:
    def fail() -> None:
        raise raised(message)

    with pytest.raises(kind, match=words) as caught:
        module.translating(fail, "hint", str)
    assert "\n" not in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_what_a_server_of_google_says_is_cut() -> None:
    def fail() -> None:
        raise RefreshError("so it is " * 1000)  # type: ignore[no-untyped-call]

    with pytest.raises(AuthError) as caught:
        module.translating(fail, "hint", str)
    assert len(str(caught.value)) < 400


def test_what_a_server_of_google_repeats_is_hidden() -> None:
    def fail() -> None:
        raise RefreshError("bad token S3CRET")  # type: ignore[no-untyped-call]

    with pytest.raises(AuthError, match=r"bad token \.\.\.") as caught:
        module.translating(fail, "hint", lambda text: text.replace("S3CRET", "..."))
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://pacs.example/", True),
        ("https://pacs.example/", False),
        ("http://127.0.0.1:8042/", False),
        ("http://localhost/", False),
    ],
)
def test_credentials_without_encryption_are_warned_of(url: str, warns: bool) -> None:
    google = connected(Credentials(), Servers(ISSUED), url)
    assert ["http://" in note for note in google.take_notes()] == [True] * warns
    assert google.take_notes() == []
