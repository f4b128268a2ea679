"""Which authentication is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dcmweb.errors import UsageError
from dcmweb.http.auth import Authentication
from dcmweb.http.auth.azure import AzureAuth
from dcmweb.http.auth.basic import BasicAuth
from dcmweb.http.auth.bearer import BearerAuth
from dcmweb.http.auth.google import GoogleAuth
from dcmweb.http.auth.hosts import is_azure
from dcmweb.http.auth.oauth2 import OAuth2Auth
from dcmweb.settings import AuthScheme, Credentials
from tests.unit.http.auth.helpers import (
    AZURE_URL,
    GOOGLE_URL,
    OTHER_URL,
    choose,
    header,
    prepared,
)

TOKEN_VARIABLE = "DCMWEB_TOKEN"
CLIENT = Credentials(token_url="https://idp.example/token", client_id="me", client_secret="s")


@pytest.mark.parametrize(
    ("url", "given", "token", "kind"),
    [
        (OTHER_URL, Credentials(), "", Authentication),
        (GOOGLE_URL, Credentials(), "", GoogleAuth),
        (AZURE_URL, Credentials(), "", AzureAuth),
        (AZURE_URL.replace("https", "http"), Credentials(), "", Authentication),
        (AZURE_URL, Credentials(), "token", BearerAuth),
        (OTHER_URL, Credentials(scheme=AuthScheme.AZURE), "", AzureAuth),
        (OTHER_URL, CLIENT, "", OAuth2Auth),
        (AZURE_URL, CLIENT, "", OAuth2Auth),
        (OTHER_URL, CLIENT, "token", OAuth2Auth),
        (GOOGLE_URL, Credentials(service_account="file"), "", GoogleAuth),
        (
            OTHER_URL,
            Credentials(scheme=AuthScheme.GOOGLE, service_account="file"),
            "",
            GoogleAuth,
        ),
        (GOOGLE_URL, Credentials(scheme=AuthScheme.NONE), "", Authentication),
        (OTHER_URL, Credentials(scheme=AuthScheme.GOOGLE), "", GoogleAuth),
        (GOOGLE_URL, Credentials(), "token", BearerAuth),
        (OTHER_URL, Credentials(), "token", BearerAuth),
        (OTHER_URL, Credentials(scheme=AuthScheme.NONE), "token", Authentication),
        (OTHER_URL, Credentials(user="me", password="x"), "token", BasicAuth),
        (GOOGLE_URL, Credentials(user="me", password="x"), "", BasicAuth),
        (OTHER_URL, Credentials(scheme=AuthScheme.BEARER), "token", BearerAuth),
    ],
)
def test_what_is_chosen(
    url: str,
    given: Credentials,
    token: str,
    kind: type[Authentication],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind is AzureAuth:
        pytest.importorskip("azure.identity")
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert type(choose(url, given)) is kind


@pytest.mark.parametrize(
    ("url", "given", "words"),
    [
        (OTHER_URL, Credentials(user="me"), "no password for user me"),
        (OTHER_URL, Credentials(scheme=AuthScheme.BASIC), "user name"),
        (OTHER_URL, Credentials(scheme=AuthScheme.BASIC, password="x"), "user name"),
        (OTHER_URL, Credentials(scheme=AuthScheme.BEARER), "needs a token"),
        (OTHER_URL, Credentials(scheme=AuthScheme.OAUTH2), "--token-url"),
        (OTHER_URL, replace(CLIENT, token_url=""), "give --token-url as well"),
        (OTHER_URL, Credentials(password="x"), "give --user as well"),
        (OTHER_URL, Credentials(user="me", password="x", token="t"), "give --auth bearer as well"),
        (OTHER_URL, replace(CLIENT, token="t"), "give --auth oauth2 as well"),
        (OTHER_URL, replace(CLIENT, client_id=""), "--client-id"),
        (OTHER_URL, replace(CLIENT, client_secret=""), "DCMWEB_CLIENT_SECRET"),
        (OTHER_URL, replace(CLIENT, options=(("scope", "x"),)), "--auth-option scope"),
        ("http://healthcare.googleapis.com/v1", Credentials(), "write https://"),
        (OTHER_URL, Credentials(service_account="file"), "does not lead there; .*--auth google"),
        ("http://127.0.0.1/", Credentials(service_account="file"), "--auth google"),
    ],
)
def test_what_is_lacking_for_a_scheme_is_a_usage_error(
    url: str, given: Credentials, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        choose(url, given)


@pytest.mark.parametrize(
    "url",
    [
        "https://evildicom.azurehealthcareapis.com.evil.example/",
        "https://evil.example/?x=.dicom.azurehealthcareapis.com",
        "https://ws.dicom.azurehealthcareapis.com@evil.example/",
    ],
)
def test_azure_is_known_by_its_hosts(url: str) -> None:
    assert not is_azure(url)


def test_without_its_package_azure_is_not_chosen_and_named_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcmweb.http.auth.azure.is_installed", lambda: False)
    assert type(choose(AZURE_URL, Credentials())) is Authentication
    with pytest.raises(UsageError, match=r"\[azure\]"):
        choose(OTHER_URL, Credentials(scheme=AuthScheme.AZURE))


def test_no_authentication_adds_nothing() -> None:
    assert header(Authentication()) is None
    assert not Authentication().renew(prepared(Authentication()))
