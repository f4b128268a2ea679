"""Reads the root URL of a DICOMweb service as people write it."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from dcmweb.errors import UsageError

PROFILE_MARK = "@"  # before the name of a profile, in place of BASE_URL


def parse_base_url(text: str, name: str = "BASE_URL") -> tuple[str, str, str]:
    """Split a root URL into the URL without a trailing slash, and the user and password in it.

    `name` is what the URL is called in errors. Raises UsageError for what cannot be the root of a
    DICOMweb service.
    """
    parts = _split(text, name)
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            f"{name} does not begin with http:// or https://",
            "write it like http://localhost:8042/dicom-web",
        )
    if not parts.hostname:
        raise UsageError(f"{name} names no host")
    if parts.query or parts.fragment:
        raise UsageError(f"{name} must have no ? or #", "give search parameters after `search`")
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    user, password = (
        unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password)
    )
    return url, user, password


def _split(text: str, name: str) -> SplitResult:
    if not text.isprintable() or " " in text:
        raise UsageError(f"{name} has a space or a control character in it")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - the check of the port happens on access
    except ValueError:  # not quoted: there may be a password in it
        raise UsageError(
            f"{name} is not a URL", "in a user name or password, write / as %2F and @ as %40"
        ) from None
    return parts
