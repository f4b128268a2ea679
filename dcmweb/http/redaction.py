"""Keeps patient data and secrets out of messages, wherever they turn up.

A query such as `PatientName=Doe^Jane` is in the URL of a request, and servers repeat it: in the
words of an error, in a Warning header, in the address of a redirect. So they do with passwords and
API keys.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit, urlunsplit

from dcmweb.errors import DcmwebError

HIDDEN = "..."

# Parameters whose values say nothing about a patient; those of all others are hidden.
_HARMLESS = (
    r"(?i)limit|offset|includefield|fuzzymatching|accept|charset|quality|viewport|window|(Study|Series|SOP)InstanceUID"
    r"|0020000[DE]|00080018|Modality|ModalitiesInStudy|SOPClassUID"
)
# A parameter in text: in the address of a redirect, in a Link header, in an error of a server.
_PARAMETER = r"([?&;])([^=?&;\s\"'<>]{1,200})=([^&;\s\"'<>]+)"
# What divides a value into parts that a server may repeat one by one (PS3.5 section 6.2.1).
_DIVIDERS = r"[*?^=\\,]+"
_SHORT = 4  # characters; what is shorter is hidden where it is a whole word
# What is secret in an Authorization field, whatever its scheme: all that follows the scheme, or the
# parameter that proves it (RFC 9110 section 11.4, RFC 7616, Signature Version 4).
_PROOF = r"(?i)^[\w-]+ +([^\s,]{4,})$|\b(?:response|signature)=\"?([^\s,\"]{16,})"
_MOST_SENT = 64  # Authorization fields that are remembered: one for each worker

_E = TypeVar("_E", bound=DcmwebError)


def is_harmless(key: str) -> bool:
    """Return True if the value of a parameter says nothing about a patient."""
    return bool(re.fullmatch(_HARMLESS, key))


def without_query(url: str) -> str:
    """Return a URL without its query and fragment, and without a user name and password."""
    if "://" not in url:
        return re.split("[?#]", url, maxsplit=1)[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.split("[?#]", url, maxsplit=1)[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_values(text: str) -> str:
    """Hide the values of parameters in a text with URLs, but not those that name no patient."""
    text = re.sub(r"(://)[^/?#\s]*@", r"\1", text)
    return re.sub(
        _PARAMETER,
        lambda found: (
            found[0] if re.fullmatch(_HARMLESS, found[2]) else f"{found[1]}{found[2]}={HIDDEN}"
        ),
        text,
    )


def hide_values(text: str, url: str) -> str:
    """Hide the values of a URL's query in a text, however they are encoded there."""
    query = url.partition("?")[2]
    if not query or not text:
        return text
    pattern = _values_of(query)
    return pattern.sub(HIDDEN, text) if pattern else text


class Redaction:
    """Hides the secrets of a client, and the values of the query of a URL.

    `secrets` returns those of now: a token may be renewed. What was sent lately is hidden as well,
    in the form in which it was sent, such as the Base64 of a password.
    """

    def __init__(self, secrets: Callable[[], tuple[str, ...]] = tuple) -> None:
        self._secrets = secrets
        self._sent: deque[str] = deque(maxlen=_MOST_SENT)
        self._lock = threading.Lock()

    def note_sent(self, authorization: str | bytes | None) -> None:
        """Remember the Authorization field of a request, which a server may repeat."""
        if not authorization:
            return
        field = authorization
        text = field.decode("latin-1") if isinstance(field, bytes) else field
        if found := re.search(_PROOF, text):
            proof = found[1] or found[2]
            with self._lock:
                if proof not in self._sent:
                    self._sent.append(proof)

    def hide(self, text: str, url: str = "") -> str:
        """Return a text without the secrets and the values of a URL's query."""
        text = hide_values(text, url)
        if not text:
            return text
        with self._lock:
            sent = tuple(self._sent)
        pattern = _pattern_of((*self._secrets(), *sent))
        return pattern.sub(HIDDEN, text) if pattern else text

    def redact(self, error: _E, url: str = "") -> _E:
        """Take the same out of an error that came from an exchange."""
        error.message = self.hide(error.message, url)
        error.hint = self.hide(error.hint, url)
        error.request = self.hide(error.request)
        error.args = tuple(
            self.hide(arg, url) if isinstance(arg, str) else arg for arg in error.args
        )
        return error


@lru_cache(maxsize=16)
def _pattern_of(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    long = [secret for secret in secrets if len(secret) >= _SHORT]  # others are not secret
    return _any_of({way for secret in long for way in _ways_to_write(secret)})


@lru_cache(maxsize=64)  # the pages of a search, and the header fields of each
def _values_of(query: str) -> re.Pattern[str] | None:
    """Make a pattern that finds the values of a query and the parts of them."""
    written: set[str] = set()
    pairs = [pair.partition("=") for pair in query.split("&")]
    for key, _, raw in pairs:
        if raw and not is_harmless(unquote(key)):
            for value in {unquote(raw), unquote_plus(raw)}:
                parts = [part for part in re.split(_DIVIDERS, value) if len(part) > 1]
                for text in [value, value.strip("*?"), *parts]:
                    written.update(_ways_to_write(text))
            written.add(raw)
    return _any_of(written)


def _any_of(texts: set[str]) -> re.Pattern[str] | None:
    """Make a pattern that finds any of these texts."""
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    if not longest_first:
        return None
    return re.compile("|".join(map(_as_pattern, longest_first)), re.IGNORECASE)


def _ways_to_write(text: str) -> Iterator[str]:
    import html  # slow to import, and needed where something is hidden

    data = text.encode("utf-8", "surrogateescape")
    in_json = json.dumps(text)[1:-1]
    yield from (text, html.escape(text), in_json, quote(data), quote_plus(data), quote(data, ""))
    yield quote(data, safe="*,^-")
    yield data.decode("latin-1")  # UTF-8 in a header field, read as HTTP has it


def _as_pattern(text: str) -> str:
    pattern = re.escape(text)
    if len(text) >= _SHORT:
        return pattern
    return rf"(?<!\w){pattern}(?!\w)"
