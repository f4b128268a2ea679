"""Header fields and parameters that the user wants on each request, such as an API key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from requests import PreparedRequest

from dcmweb.errors import UsageError
from dcmweb.http.auth.base import Authentication, Send
from dcmweb.http.auth.secrets import read_reference
from dcmweb.settings import AuthScheme, Credentials

Pairs = tuple[tuple[str, str], ...]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What says where a message ends, or what dcmweb negotiates for each request by itself.
_OWN_FIELDS = (
    *("accept", "accept-encoding", "connection", "content-encoding", "content-length"),
    *("content-type", "expect", "host", "keep-alive", "range", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
)
_OWN_PARAMETERS = ("limit", "offset", "includefield", "fuzzymatching")
_AUTHORIZATION = "authorization"
_SHORTEST_PART = 4  # characters of a part of a value, as in `Token abcdef`, that is hidden as well


def is_authorized_by_header(given: Credentials) -> bool:
    """Return True if an Authorization field is given as such.

    Raises UsageError if other credentials are given as well.
    """
    if not any(name.lower() == _AUTHORIZATION for name, _ in given.headers):
        return False
    if given.scheme not in (AuthScheme.AUTO, AuthScheme.NONE):
        other = f"--auth {AuthScheme(given.scheme).value if _is_known(given) else given.scheme}"
    elif given.user:
        other = "--user"
    elif given.token or given.token_file or given.token_command:
        other = "a token"
    else:
        return True
    raise UsageError(f"--header gives an Authorization field beside {other}", "give one of them")


def _is_known(given: Credentials) -> bool:
    return isinstance(given.scheme, AuthScheme)


class FieldsAuth(Authentication):
    """Adds header fields and parameters to each request, before another authentication.

    Files that they come from are read again when the server refuses a request. Raises UsageError
    for what cannot be sent.
    """

    def __init__(self, inner: Authentication, headers: Pairs = (), query: Pairs = ()) -> None:
        self._inner = inner
        self._given_headers, self._given_query = headers, query
        for name, _ in headers:
            _check_field(name)
        _check_once("--header", [name.lower() for name, _ in headers])
        for name, _ in query:
            if name.lower() in _OWN_PARAMETERS:
                raise UsageError(f"--query cannot give {name}", "it is a parameter of a search")
        _check_once("--query", [name for name, _ in query])
        self._values = self._read(read_reference)
        self.signs_urls = inner.signs_urls
        ways = (("--header", headers), ("--query", query))
        self.carries = " and ".join(way for way, pairs in ways if pairs)

    @property
    def sends_raw_carets(self) -> bool:
        """Whether `^` is sent unescaped."""
        return self._inner.sends_raw_carets

    @sends_raw_carets.setter
    def sends_raw_carets(self, value: bool) -> None:
        self._inner.sends_raw_carets = value

    @property
    def identity(self) -> str:
        """The names of the header fields and parameters, and what the other one says."""
        given = [name for pairs in (self._given_headers, self._given_query) for name, _ in pairs]
        names = " and ".join(given)
        if type(self._inner) is Authentication:
            return f"whom {names} {'names' if len(given) == 1 else 'name'}"
        return f"{self._inner.identity}, with {names}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values, and the parts of those that have several."""
        found = [value for pairs in self._values for _, value in pairs]
        parts = [part for value in found for part in value.split() if len(part) >= _SHORTEST_PART]
        return (*found, *parts, *self._inner.secrets)

    @property
    def is_ready(self) -> bool:
        """Whether the other authentication can send a body."""
        return self._inner.is_ready

    @property
    def advice(self) -> str:
        """What the other authentication advises."""
        return self._inner.advice

    def connect(self, send: Send) -> None:
        """Let the other authentication reach other servers."""
        self._inner.connect(send)

    def take_notes(self) -> Sequence[str]:
        """Return what a user should know of the other authentication."""
        return self._inner.take_notes()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header fields and parameters; then authenticate, as that may sign them."""
        headers, query = self._values
        for name, value in headers:
            field: Any = value
            if not value.isascii():
                field = value.encode("utf-8", "surrogateescape")
            elif name.lower() == "cookie" and request.headers.get("Cookie"):
                field = f"{request.headers['Cookie']}; {value}"
            request.headers[name] = field
        if query:
            request.url = with_parameters(str(request.url), query)
        return self._inner(request)

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Read files again, and let the other authentication renew its credentials."""
        before = self._values
        self._values = self._read(_read_again(before))
        return self._values != before or self._inner.renew(refused, status)

    def _read(self, read: Callable[[str, str], str]) -> tuple[Pairs, Pairs]:
        def all_of(option: str, pairs: Pairs) -> Pairs:
            read_values = ((name, read(value, f"{option} {name}")) for name, value in pairs)
            return tuple((name, _checked(value, f"{option} {name}")) for name, value in read_values)

        return all_of("--header", self._given_headers), all_of("--query", self._given_query)


def with_parameters(url: str, parameters: Pairs) -> str:
    """Add parameters to a URL, in place of those of the same names, which a server repeated."""
    parts = urlsplit(url)
    names = {name for name, _ in parameters}
    kept = [
        pair
        for pair in parts.query.split("&")
        if pair and unquote_plus(pair.partition("=")[0]) not in names
    ]
    own = [f"{_escaped(name)}={_escaped(value)}" for name, value in parameters]
    return urlunsplit(parts._replace(query="&".join([*kept, *own])))


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


def _check_field(name: str) -> None:
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise UsageError("--header has a name that header fields cannot have", "give 'NAME: VALUE'")
    if lower in _OWN_FIELDS or lower.startswith("proxy-"):
        raise UsageError(f"--header cannot give {name}", "dcmweb sends its own")


def _check_once(option: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{option} gives {name} twice", "give it once")


def _checked(value: str, name: str) -> str:
    if not value:
        raise UsageError(f"{name} is empty")
    if _CONTROL.search(value):
        raise UsageError(
            f"the value of {name} has control characters in it", "it must be one line of text"
        )
    return value


def _read_again(before: tuple[Pairs, Pairs]) -> Callable[[str, str], str]:
    """Return what reads values anew: from files only, as a pipe has been read to its end."""
    known = {
        f"{option} {name}": value
        for option, pairs in zip(("--header", "--query"), before, strict=True)
        for name, value in pairs
    }

    def read(value: str, name: str) -> str:
        is_file = value.startswith("@") and os.path.isfile(value[1:])
        return read_reference(value, name) if is_file else known[name]

    return read
