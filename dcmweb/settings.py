"""Everything a run is told, in one frozen object: made by the command line, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from dcmweb.errors import UsageError

MIB = 1024 * 1024


class AuthScheme(str, Enum):
    """How requests are authenticated; `AUTO` picks by what is given and by the host."""

    AUTO = "auto"
    NONE = "none"
    GOOGLE = "google"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the user gave to authenticate with; secrets never show in a repr."""

    scheme: AuthScheme = AuthScheme.AUTO
    user: str = ""
    password: str = field(default="", repr=False)
    token_file: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run's settings. Times are in seconds, sizes in bytes."""

    base_url: str
    credentials: Credentials = field(default_factory=Credentials)
    workers: int = 1  # the most, if their number adapts itself
    adapts: bool = False
    retries: int = 5
    retry_time: float = 300.0  # no new attempt once this long after the first
    connect_timeout: float = 10.0
    idle_timeout: float = 120.0  # without a byte in either direction
    ca_bundle: str = ""
    insecure: bool = False
    batch_bytes: int = 8 * MIB
    batch_count: int = 256
    page_size: int = 5000
    operation_time: float = 3600.0  # how long a long-running operation is waited for


def parse_base_url(text: str) -> tuple[str, str, str]:
    """Split a BASE_URL into the URL without a trailing slash, and the user and password in it.

    Raises UsageError for what cannot be the base of a DICOMweb service.
    """
    parts = _split(text)
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            "BASE_URL does not begin with http:// or https://",
            "write it like http://localhost:8042/dicom-web",
        )
    if not parts.hostname:
        raise UsageError("BASE_URL names no host")
    if parts.query or parts.fragment:
        raise UsageError("BASE_URL must have no ? or #", "give search parameters after `search`")
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    return url, unquote(parts.username or ""), unquote(parts.password or "")


def _split(text: str) -> SplitResult:
    if not text.isprintable() or " " in text:
        raise UsageError("BASE_URL has a space or a control character in it")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - the check of the port happens on access
    except ValueError:  # not quoted: there may be a password in it
        raise UsageError(
            "BASE_URL is not a URL", "in a user name or password, write / as %2F and @ as %40"
        ) from None
    return parts
