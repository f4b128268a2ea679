"""Basic authentication."""

from __future__ import annotations

import base64

import pytest

from dcmweb.settings import Credentials
from tests.unit.http.auth.helpers import OTHER_URL, choose, header, prepared

PASSWORD_VARIABLE = "DCMWEB_PASSWORD"


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        (Credentials(user="me", password="x"), None, "me:x"),
        (Credentials(user="me", password="x"), "y", "me:x"),
        (Credentials(user="me"), "y", "me:y"),
        (Credentials(user="me"), "", "me:"),
        (Credentials(user="é", password="a:b ü€"), None, "é:a:b ü€"),
    ],
)
def test_basic(
    given: Credentials, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv(PASSWORD_VARIABLE, variable)
    basic = choose(OTHER_URL, given)
    scheme, _, encoded = (header(basic) or "").partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", expected)
    assert not basic.renew(prepared(basic))


def test_user_names_and_passwords_are_sent_with_the_bytes_they_have() -> None:
    latin = b"M\xfcller".decode("utf-8", "surrogateescape")
    sent = header(choose(OTHER_URL, Credentials(user=latin, password=latin))) or ""
    assert base64.b64decode(sent.partition(" ")[2]) == b"M\xfcller:M\xfcller"
