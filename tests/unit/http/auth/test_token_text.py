"""Tokens and their expiry in texts of many kinds."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime, timezone
from typing import Any

import pytest

from dcmweb.errors import AuthError
from dcmweb.http.auth.token_text import read_token
from tests.unit.http.auth.helpers import jwt

NOON = datetime(2030, 1, 2, 12, 0, 0, tzinfo=timezone.utc).timestamp()


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", request.param)
    if hasattr(time, "tzset"):
        time.tzset()
        yield request.param
        monkeypatch.undo()
        time.tzset()
    else:
        yield ""


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("found", "expires"),
    [
        ({"access_token": "abc", "expires_in": 300}, 1300.0),
        ({"access_token": "abc", "expires_in": "300"}, 1300.0),
        ({"access_token": "abc", "expires_in": 2.5}, 1002.5),
        ({"accessToken": "abc", "expires_on": NOON, "expiresOn": "2001-01-01 00:00:00.0"}, NOON),
        ({"accessToken": "abc", "expires_on": str(int(NOON))}, NOON),
        ({"token": "abc", "expires_at": NOON * 1000}, NOON),
        ({"token": "abc", "expiration": "2030-01-02T12:00:00Z"}, NOON),
        ({"token": "abc", "expiration": "2030-01-02T12:00:00.123456789Z"}, NOON),
        ({"token": "abc", "expiration": "2030-01-02T14:00:00+02:00"}, NOON),
        ({"token": "abc", "expiration": "2030-01-02T07:00:00-0500"}, NOON),
        ({"token": "abc", "expiry": "2030-01-02T12:00:00"}, NOON),
        (
            {
                "kind": "x",
                "status": {"token": "abc", "expirationTimestamp": "2030-01-02T12:00:00Z"},
            },
            NOON,
        ),
        ({"access_token": "abc"}, None),
        ({"access_token": "abc", "expires_in": None}, None),
        ({"access_token": "abc", "expires_in": True}, None),
        ({"access_token": "abc", "expires_in": "soon"}, None),
        ({"access_token": "abc", "expires_in": [1]}, None),
        ({"access_token": "abc", "expires_in": float("inf")}, None),
        ({"access_token": "abc", "expires_in": float("nan")}, None),
        ({"access_token": "abc", "expires_in": 10**400}, None),
        ({"access_token": "abc", "expiration": "2030-13-45T12:00:00Z"}, None),
        ({"access_token": "abc", "expiration": "tomorrow", "expires_in": 5}, 1005.0),
        ({"access_token": "abc", "expiration": "0001-01-01T00:00:00+14:00"}, None),
    ],
)
def test_json_of_token_servers_and_tools(found: dict[str, Any], expires: float | None) -> None:
    token = read_token(json.dumps(found), "the file", issued=1000.0)
    assert (token.value, token.expires) == ("abc", expires)


def test_azures_command_line_prints_local_time(zone: str) -> None:
    hours = {"UTC": 0, "Asia/Tokyo": 9}.get(zone)
    if hours is None:
        pytest.skip("there is no way to change the time zone here")
    text = json.dumps({"accessToken": "abc", "expiresOn": "2030-01-02 12:00:00.000000"})
    assert read_token(text, "az").expires == NOON - hours * 3600


@pytest.mark.parametrize(
    ("token", "expires"),
    [
        (jwt(1234), 1234.0),
        (jwt(1234.5), 1234.5),
        (jwt("1234"), 1234.0),
        (jwt(None), None),
        (jwt([1]), None),
        (jwt(1234, name="é" * 11), 1234.0),
        ("a.b.c", None),
        ("a.b", None),
        (jwt(1234).rpartition(".")[0], None),
        (jwt(1234) + ".x", None),
        (f"x.{base64.urlsafe_b64encode(b'[1]').decode()}.y", None),
        (f"x.{base64.urlsafe_b64encode(b'[' * 100_000).decode()}.y", None),
        (f"x.{base64.urlsafe_b64encode(bytes([255, 254])).decode()}.y", None),
    ],
)
def test_the_expiry_of_a_json_web_token(token: str, expires: float | None) -> None:
    found = read_token(token, "the file")
    assert (found.value, found.expires) == (token, expires)


def test_json_comes_before_the_token_in_it() -> None:
    text = json.dumps({"access_token": jwt(5), "expires_in": 7})
    assert read_token(text, "x", issued=1.0).expires == 8.0
    assert read_token(json.dumps({"access_token": jwt(5)}), "x").expires == 5.0
    assert read_token(f"Authorization: Bearer {jwt(5)}", "x").expires == 5.0


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"status": "ok"}', '{"access_token": ""}', '"', "{" * 100_000]
)
def test_texts_without_a_token(text: str) -> None:
    with pytest.raises(AuthError, match="the file"):
        read_token(text, "the file")
