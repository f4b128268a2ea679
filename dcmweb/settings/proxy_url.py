"""Reads the URL of a proxy as people write it."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from dcmweb.errors import UsageError

SCHEMES = ("http", "https", "socks5", "socks5h", "socks4", "socks4a")
_FORM = "write it like http://HOST:PORT or socks5h://USER:PASSWORD@HOST:PORT"


def parse_proxy(text: str, name: str) -> str:
    """Return the URL of a proxy with its scheme, which is http unless it has another one.

    A path is left out. `name` is what it is called in errors; the URL is not shown, as it may hold
    a password. Raises UsageError for what is not the URL of a proxy.
    """
    if not text.isprintable() or " " in text:
        raise UsageError(f"{name} has a space or a control character in it", _FORM)
    parts = _split(text if "://" in text else f"http://{text}", name)
    if parts.scheme not in SCHEMES:
        raise UsageError(
            f"{name} begins with {parts.scheme}://", f"it can be {', '.join(SCHEMES)}; {_FORM}"
        )
    if not parts.hostname:
        raise UsageError(f"{name} does not name a host", _FORM)
    if "@" in parts.path or parts.query or parts.fragment:
        raise UsageError(
            f"{name} has more than a host and a port",
            "in a user name or password, write / as %2F, ? as %3F and # as %23",
        )
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def without_login(url: str) -> str:
    """Return the URL of a proxy without the user name and password in it, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def has_login(url: str) -> bool:
    """Return True if there is a user name in the URL of a proxy."""
    return bool(urlsplit(url).username)


def _split(text: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - the check of the port happens on access
    except ValueError:  # not quoted: there may be a password in it
        raise UsageError(
            f"{name} cannot be read as a URL",
            f"{_FORM}; in a user name or password, write / as %2F, # as %23 and @ as %40",
        ) from None
    return parts
