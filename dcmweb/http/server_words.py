"""Finds what a server says in words, in the body or the header fields of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_WORDS = 500
_CUT_WORD = r"(?a)[\w.~+/=%-]+$"  # may be half a token (RFC 6750 section 2.1)
LONGEST_BODY = 64 * 1024  # of a body, in which words are looked for
_WARNING = r'[0-9]{3} [^\s"]+ "((?:[^"\\]|\\.)*)"'
# In linear time, even where a text of a server does not end.
_XML_MESSAGE = (
    r"(?i)<(?:\w+:)?(?:message|detail|title|reason|description|error|text|faultstring)\b[^<>]*>"
    r"\s*([^<\s][^<]*)</"
)
_JSON_MESSAGES = (
    "message",
    "Message",
    "Details",
    "errorMessage",
    "error_description",
    "error",
    "title",
    "detail",
)


def server_words(headers: Mapping[str, str], body: bytes, hide: Callable[[str], str] = str) -> str:
    """Find what the server says in words: in JSON, XML, HTML or plain text, or a Warning header.

    `hide` takes secrets out, before the words are cut: no pattern finds half a secret. They are
    cut between two words, for those whose secrets are taken out later.
    """
    warning = "; ".join(warnings(headers))
    text = body[:LONGEST_BODY].decode("utf-8", "replace").strip()
    words = ""
    if text[:1] in ("{", "["):
        words = _json_words(text)
    elif text[:1] == "<" and not looks_like_html(body):
        words = _xml_words(text)
    elif text[:1] == "<":
        title = re.search(r"<title[^<>]*>([^<]*)</title>", text, re.IGNORECASE)
        words = f"an HTML page, {title[1].strip()!r}" if title else "an HTML page"
    elif b"\0" not in body:  # as in what is not text
        words = text.splitlines()[0] if text else ""
    if "&" in words:
        import html  # slow to import, and rarely needed

        words = html.unescape(words)
    both = dict.fromkeys(filter(None, (words, warning)))
    return shortened(" ".join(hide("; ".join(both)).split()))


def shortened(words: str) -> str:
    """Cut what a server says between two words, if it is long."""
    if len(words) <= LONGEST_WORDS:
        return words
    return re.sub(_CUT_WORD, "", words[:LONGEST_WORDS]).rstrip()


def warnings(headers: Mapping[str, str]) -> list[str]:
    """Read the texts of Warning header fields, without code and agent (RFC 7234 section 5.5).

    Servers leave out the quotes, and fields that came several times are joined by commas.
    """
    value = headers.get("warning", "").strip()
    quoted = [_unquoted(text) for text in re.findall(_WARNING, value)]
    texts = quoted or [re.sub(r"^[0-9]{3} \S+ ", "", value).strip('"')]
    return list(dict.fromkeys(text for text in map(str.strip, texts) if text))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def looks_like_html(body: bytes) -> bool:
    """Return True if a body is a web page: a login form, the error page of a proxy."""
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _xml_words(text: str) -> str:
    """Find words in XML, not in the values of a data set that are UIDs and names.

    A store response has them in its values; others have an element of their own, as Amazon's
    `<Message>` or RFC 9457's `<detail>`.
    """
    if "<Value" in text:
        values = re.findall(r"<Value[^<>]*>([^<]*)</Value>", text)
        return " ".join(value for value in values if re.search("[A-Za-z] ", value))
    named = re.findall(_XML_MESSAGE, text)
    if not named:
        outside = re.sub(r"<[!?][^<>]*>", "", text)
        named = [outside] if len(outside) <= LONGEST_WORDS else []
    plain = (" ".join(re.sub(r"<[^<>]*>", " ", one).split()) for one in named)
    return ": ".join(dict.fromkeys(filter(None, plain)))


def _json_words(text: str) -> str:
    """Look where Google, Orthanc, dcm4chee, Azure and RFC 9457 put their messages."""
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, dict):
        return said if isinstance(said, str) else ""
    if isinstance(said.get("error"), dict):
        said = said["error"]
    found = [said[name] for name in _JSON_MESSAGES if isinstance(said.get(name), str)]
    return ": ".join(dict.fromkeys(filter(None, found)))
