"""Everything a client is told, in one frozen object that is checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from dcmweb.errors import UsageError

MIB = 1024 * 1024
MOST_WORKERS = 64
ADAPTIVE_WORKERS = 20  # at most, where the number adapts itself; what Google advises


class AuthScheme(str, Enum):
    """How requests are authenticated; `AUTO` picks by what is given and by the host."""

    AUTO = "auto"
    NONE = "none"
    GOOGLE = "google"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the user gave to authenticate with.

    Secrets never show in a repr, and are left out of pickles and copies: another process takes
    them from where they are kept, DCMWEB_PASSWORD, DCMWEB_TOKEN or `token_file`.
    """

    scheme: AuthScheme = AuthScheme.AUTO
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_file: str = ""

    def __post_init__(self) -> None:
        """Check that all is text; what it is instead is not shown."""
        for name in ("user", "password", "token", "token_file"):
            _check_text(name, getattr(self, name))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the secrets, but not that there were some: without them it is an error."""
        scheme = self.scheme
        if scheme is AuthScheme.AUTO and self.token and not self.user:
            scheme = AuthScheme.BEARER
        return {**self.__dict__, "scheme": scheme, "password": "", "token": ""}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a client is told. Times are in seconds, sizes in bytes.

    `base_url` is the root of the DICOMweb service; a slash at its end is dropped, and a user name
    and password in it become the credentials, unless there are others. Raises UsageError for what
    cannot be.
    """

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

    def __post_init__(self) -> None:
        """Check what is given, and bring the base URL into its one form."""
        _check_text("BASE_URL", self.base_url)
        _check_text("ca_bundle", self.ca_bundle)
        url, user, password = parse_base_url(self.base_url)
        object.__setattr__(self, "base_url", url)
        if user and not self.credentials.user:
            given = replace(self.credentials, user=user, password=password)
            object.__setattr__(self, "credentials", given)
        _check_range("workers", self.workers, 1, MOST_WORKERS)
        _check_range("retries", self.retries, 0)
        for name in ("batch_bytes", "batch_count", "page_size"):
            _check_range(name, getattr(self, name), 1)
        for name in ("retry_time", "connect_timeout", "idle_timeout", "operation_time"):
            _check_seconds(name, getattr(self, name))


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} is of type {type(value).__name__}", "give it as text")


def _check_range(name: str, value: object, lowest: int, highest: int | None = None) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and isinstance(value, int) and lowest <= value <= (highest or value)):
        most = f"from {lowest} to {highest}" if highest else f"of at least {lowest}"
        raise UsageError(f"{name} is {value!r}", f"give a whole number {most}")


def _check_seconds(name: str, value: object) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and isinstance(value, (int, float)) and 0 < value < math.inf):
        raise UsageError(f"{name} is {value!r}", "give a number of seconds above 0")


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
    user, password = (
        unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password)
    )
    return url, user, password


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
