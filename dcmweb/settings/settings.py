"""Everything a client is told, in one frozen object that is checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dcmweb.errors import UsageError
from dcmweb.settings.base_url import parse_base_url
from dcmweb.settings.checks import check_number, check_range, check_seconds, check_text
from dcmweb.settings.credentials import Credentials, with_user
from dcmweb.settings.proxy_url import parse_proxy, without_login
from dcmweb.settings.servers import BY_NAME, NAMES, StowForm, guess

MIB = 1024 * 1024
MOST_WORKERS = 64
ROOTS = ("qido_root", "wado_root", "stow_root")
LOWEST_RATE = 1000  # bytes per second; less would look like a connection that hangs
MOST_ROWS = 5000  # in a page
ADAPTIVE_WORKERS = 20  # at most, where the number adapts itself; what Google advises


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
    limits_all: bool = False  # the number of workers is that of all worker processes together
    retries: int = 5
    retry_time: float = 300.0  # no new attempt once this long after the first
    connect_timeout: float = 10.0
    idle_timeout: float = 120.0  # without a byte in either direction, or with few
    ca_bundle: str = ""  # file or folder
    insecure: bool = False
    proxy: str = field(default="", repr=False)  # URL, in which there may be a password
    qido_root: str = ""  # URLs of services that are not below BASE_URL
    wado_root: str = ""
    stow_root: str = ""
    server: str = ""  # the kind of server, as the table in servers.py names it; "" to guess
    batch_bytes: int = 8 * MIB
    batch_count: int = 256
    page_size: int = 0  # 0 stands for what the kind of server takes, and 5000 at most
    stow_form: StowForm | str = ""  # of the first store request; "" for that of the kind of server
    requests_per_second: float | None = None  # of all runs of a client; None for no limit
    rate_limit: int | None = None  # bytes per second in both directions together
    operation_time: float = 3600.0  # how long a long-running operation is waited for

    def __post_init__(self) -> None:
        """Check what is given, and bring the base URL into its one form."""
        check_text("BASE_URL", self.base_url)
        for name in ("ca_bundle", "proxy"):
            check_text(name, getattr(self, name))
        if self.proxy:
            object.__setattr__(self, "proxy", parse_proxy(self.proxy, "proxy"))
        url, user, password = parse_base_url(self.base_url)
        object.__setattr__(self, "base_url", url)
        object.__setattr__(self, "credentials", with_user(self.credentials, user, password))
        for name in ROOTS:
            object.__setattr__(self, name, self._root(name))
        self._check_server()
        check_range("workers", self.workers, 1, MOST_WORKERS)
        check_range("retries", self.retries, 0)
        for name in ("batch_bytes", "batch_count", "page_size"):
            check_range(name, getattr(self, name), 1)
        for name in ("retry_time", "connect_timeout", "idle_timeout", "operation_time"):
            check_seconds(name, getattr(self, name))
        if self.requests_per_second is not None:
            check_number("requests_per_second", self.requests_per_second)
        if self.rate_limit is not None:
            check_range("rate_limit", self.rate_limit, LOWEST_RATE)

    def _check_server(self) -> None:
        """Check what is said of the server, and fill in what is known of its kind."""
        if self.server and self.server not in BY_NAME:
            raise UsageError(f"server is {self.server!r}", f"it can be {', '.join(NAMES)}")
        forms = [form.value for form in StowForm]
        if self.stow_form and self.stow_form not in forms:
            raise UsageError(f"stow_form is {self.stow_form!r}", f"it can be {', '.join(forms)}")
        known = BY_NAME[self.server] if self.server else guess(self.base_url)
        if self.page_size == 0:
            object.__setattr__(self, "page_size", min(known.page or MOST_ROWS, MOST_ROWS))
        object.__setattr__(self, "stow_form", StowForm(self.stow_form or known.stow))

    @property
    def roots(self) -> tuple[str, ...]:
        """The root of the service, and those of its parts that have their own."""
        own = [getattr(self, name) for name in ROOTS]
        return tuple(dict.fromkeys(filter(None, [self.base_url, *own])))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the password of a proxy: another process needs HTTPS_PROXY."""
        return {**self.__dict__, "proxy": without_login(self.proxy)}

    def _root(self, name: str) -> str:
        """Return the URL of a service: of its own, or below BASE_URL."""
        given = getattr(self, name)
        check_text(name, given)
        if not given:
            return ""
        return parse_base_url(given, name)[0]
