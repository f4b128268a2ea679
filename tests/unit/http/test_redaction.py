"""Values of search parameters are hidden wherever they turn up."""

from __future__ import annotations

import pickle

import pytest

from dcmweb.errors import Refused
from dcmweb.http.redaction import Redaction, hide_values, without_query, without_values

URL = (
    "https://host/studies?PatientName=Doe%5EJ%C3%BCrgen*&PatientID=17&limit=5&StudyInstanceUID=1.2"
)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no Doe^Jürgen* here", "no ... here"),
        ("no DOE^JÜRGEN here", "no ... here"),
        ("doe, jürgen", "..., ..."),
        ("PatientName=Doe%5EJ%C3%BCrgen*", "PatientName=..."),
        ("Doe%5eJ%c3%bcrgen", "..."),
        ("Doe^J\\u00fcrgen", "..."),
        ("Doe^JÃ¼rgen", "..."),
        ("id 17 of 170", "id ... of 170"),
        ("limit 5 of 1.2", "limit 5 of 1.2"),
        ("", ""),
    ],
)
def test_values_of_a_query_are_hidden(text: str, hidden: str) -> None:
    assert hide_values(text, URL) == hidden


def test_a_plus_in_a_query_is_a_space_for_some_servers() -> None:
    url = "https://host/studies?PatientName=Anna+Maria"
    for written in ("Anna Maria", "Anna+Maria", "Anna%20Maria", "anna%2bmaria"):
        assert hide_values(f"no {written} here", url) == "no ... here"


def test_text_stays_where_there_is_no_query() -> None:
    assert hide_values("Doe", "https://host/studies") == "Doe"
    assert hide_values("5", "https://host/studies?limit=5&offset=") == "5"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/a?b=c#d", "https://host/a"),
        ("https://me:secret@host:8/a?b", "https://host:8/a"),
        ("/a?b=c", "/a"),
        ("a#b", "a"),
        ("http://[::1/x?PatientID=1", "http://[::1/x"),
        ("", ""),
    ],
)
def test_urls_in_messages_have_no_query(url: str, expected: str) -> None:
    assert without_query(url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (URL, "https://host/studies?PatientName=...&PatientID=...&limit=5&StudyInstanceUID=1.2"),
        ("/x?PatientID=1&access_token=secret", "/x?PatientID=...&access_token=..."),
        ('<http://me:pw@h/?PatientID=1>; rel="next"', '<http://h/?PatientID=...>; rel="next"'),
        ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("no URL", "no URL"),
    ],
)
def test_values_are_hidden_in_urls(text: str, expected: str) -> None:
    assert without_values(text) == expected


def test_an_error_keeps_nothing_of_the_values() -> None:
    error = Redaction().redact(Refused("no Doe^Jürgen", "is 17 right?", status=400), URL)
    assert str(error) == "no ...; is ... right?"
    assert "Doe" not in repr(error)
    assert "Doe" not in str(pickle.loads(pickle.dumps(error)).args)


SECRET = 'a"ä/b c^d,'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        "a&quot;ä/b c^d,",
        '{"password": "a\\"\\u00e4/b c^d,"}',
        "a%22%C3%A4/b%20c%5Ed%2C",
        "a%22%C3%A4%2Fb+c%5Ed%2C",
        "a%22%C3%A4%2Fb%20c%5Ed%2C",
        "a%22%c3%a4%2fb%20c^d,",
        'a"Ã¤/b c^d,',
    ],
)
def test_a_secret_is_hidden_in_whatever_way_it_is_written(written: str) -> None:
    hidden = Redaction(lambda: (SECRET,)).hide(f"you sent {written}!")
    assert hidden in ("you sent ...!", 'you sent {"password": "..."}!')


def test_what_is_too_short_for_a_secret_stays() -> None:
    assert Redaction(lambda: ("the", "")).hide("the server") == "the server"


def test_a_secret_that_begins_as_another_is_hidden_whole() -> None:
    assert Redaction(lambda: ("abcd", "abcdefgh", "cdefgh")).hide("is abcdefgh") == "is ..."


@pytest.mark.parametrize(
    ("field", "proof"),
    [
        ("Basic dXNlcjpzZWNyZXQ=", "dXNlcjpzZWNyZXQ="),
        ("Bearer abcd", "abcd"),
        (b"Token \xe4bcdef", "äbcdef"),
        ('Digest username="me", response="0123456789abcdef", qop=auth', "0123456789abcdef"),
        ("AWS4-HMAC-SHA256 Credential=x, Signature=0123456789abcdef", "0123456789abcdef"),
    ],
)
def test_the_proof_in_what_was_sent_is_hidden(field: str | bytes, proof: str) -> None:
    redaction = Redaction()
    assert redaction.hide(f"you sent {proof}") == f"you sent {proof}"
    redaction.note_sent(None)
    redaction.note_sent(field)
    assert redaction.hide(f"you sent {proof}") == "you sent ..."
    error = Refused("refused", status=400)
    error.request = f"GET /{proof}"
    assert redaction.redact(error).request == "GET /..."


def test_what_was_sent_before_many_others_is_forgotten_and_not_sooner() -> None:
    redaction = Redaction()
    for _ in range(1000):
        redaction.note_sent("Bearer first")
        redaction.note_sent("Bearer second")
    assert redaction.hide("first, second") == "..., ..."
    for number in range(1000):
        redaction.note_sent(f"Bearer token-{number:04}")
    assert redaction.hide("first token-0500 token-0999") == "first token-0500 ..."
