"""BASE_URL as people write it, and what settings do not show."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from dcmweb.errors import UsageError
from dcmweb.settings import Credentials, Settings, parse_base_url


@pytest.mark.parametrize(
    ("text", "url", "user", "password"),
    [
        ("http://localhost:8042/dicom-web", "http://localhost:8042/dicom-web", "", ""),
        ("http://localhost:8042/dicom-web/", "http://localhost:8042/dicom-web", "", ""),
        ("https://h//", "https://h", "", ""),
        ("HTTPS://Host.example", "https://Host.example", "", ""),
        ("http://[::1]:8042/x", "http://[::1]:8042/x", "", ""),
        ("http://me@h/x", "http://h/x", "me", ""),
        ("http://me:se%40cret%3A@h:1/x", "http://h:1/x", "me", "se@cret:"),
        ("http://m%C3%A9:p@h", "http://h", "mé", "p"),
        ("http://h/a%20b", "http://h/a%20b", "", ""),
    ],
)
def test_base_urls(text: str, url: str, user: str, password: str) -> None:
    assert parse_base_url(text) == (url, user, password)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost:8042/dicom-web", "http://"),
        ("/dicom-web", "http://"),
        ("", "http://"),
        ("ftp://h/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://:8042/", "no host"),
        ("http://user@/", "no host"),
        ("http://h/x?limit=1", r"\?"),
        ("http://h/x#y", r"\?"),
        ("http://h:port/", "not a URL"),
        ("http://h:99999/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://h /x", "space"),
        ("http://h/x\n", "control character"),
        ("http://h/\x1b", "control character"),
    ],
)
def test_what_cannot_be_the_base_of_a_service(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_base_url(text)


def test_a_password_in_a_base_url_is_not_told() -> None:
    for text in ("http://me:secret@h:port/", "http://me:secret@/", "ftp://me:secret@h/"):
        with pytest.raises(UsageError) as caught:
            parse_base_url(text)
        assert "secret" not in str(caught.value)


def test_settings_do_not_show_the_password_and_do_not_change() -> None:
    settings = Settings(base_url="http://h", credentials=Credentials(user="me", password="secret"))
    assert "secret" not in repr(settings)
    assert "me" in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.workers = 2  # type: ignore[misc]
