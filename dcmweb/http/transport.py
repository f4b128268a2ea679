"""Connections, credentials, certificates and proxies that the runs of a client share."""

from __future__ import annotations

import platform
import time
from typing import Any

import requests
import urllib3

from dcmweb import __version__
from dcmweb.http import auth, content_coding, exchange_log
from dcmweb.http.adapter import Adapter
from dcmweb.http.cookies import Cookies
from dcmweb.http.proxies import Proxies
from dcmweb.http.rate_limit import RateLimit
from dcmweb.http.redaction import Redaction
from dcmweb.http.tls import Situation, Tls, origin
from dcmweb.settings import Settings
from dcmweb.settings.proxy_url import without_login
from dcmweb.settings.servers import Recognition

_REDIRECT_BODY = 64 * 1024  # at most this is read, so that the connection can be used again

# RFC 9110 section 10.1.5.
_USER_AGENT = f"dcmweb/{__version__} {platform.python_implementation()}/{platform.python_version()}"
_HAS_LEFT = "has_left_the_server"  # an attribute of requests
# What goes along with a redirect to another host; cookies are those of that host.
_HARMLESS_HEADERS = ("accept", "accept-encoding", "user-agent", "range", "connection", "cookie")


class _Http(requests.Session):
    """A requests session that sends no credentials to other hosts, and does not read ~/.netrc.

    Proxies and certificates are the matter of its adapter.
    """

    def __init__(
        self, settings: Settings, authentication: auth.Authentication, redaction: Redaction
    ) -> None:
        super().__init__()
        self.trust_env = False
        self._redaction = redaction
        self.cookies = Cookies()
        self._authentication = authentication
        self._origins = {origin(root) for root in settings.roots}

    def is_own(self, url: str) -> bool:
        """Whether a URL is on the server at BASE_URL, or at the root of one of its services."""
        return origin(url) in self._origins

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request with the cookies of its host; requests would forget their policy."""
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers={**self.headers, **request.headers},
            data=request.data,
            json=request.json,
            params=request.params,
            auth=request.auth,
            cookies=self.cookies.copy(),
        )
        return prepared

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, or one that a redirect leads to; remember what must not be shown."""
        self._redaction.note_sent(request.headers.get("Authorization"))
        return super().send(request, **options)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Authenticate a redirect within the server; drop all credentials on one to another host.

        What has once left the server is not authenticated again, should it come back.
        """
        url, before = str(prepared_request.url), response.request
        if _HAS_LEFT not in vars(before) and origin(str(before.url)) == origin(url):
            if self.is_own(url):
                prepared_request.prepare_auth(self._authentication)
            return
        vars(prepared_request)[_HAS_LEFT] = True
        prepared_request.hooks = {"response": []}  # its challenges are none of ours
        for name in list(prepared_request.headers):
            if name.lower() not in _HARMLESS_HEADERS:
                del prepared_request.headers[name]

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer redirects to; read only a little of its body."""
        target = super().get_redirect_target(resp)
        if target is not None:
            try:
                resp.raw.read(_REDIRECT_BODY, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError):
                resp.raw.close()
            resp._content = b""
        return target


class Transport:
    """Connections to the server at BASE_URL, kept open between requests and between runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warnings: set[str] = set()  # of the server, that a run has passed on
        self.auth = auth.choose(settings)
        self.limit = RateLimit(settings.requests_per_second, settings.rate_limit)
        self.kind = Recognition(settings.server, settings.base_url)
        self.tls = Tls(settings)
        self.proxies = Proxies(settings)
        self.adapter = Adapter(self.tls, self.proxies, settings.workers + 1, settings.idle_timeout)
        self.redaction = Redaction(lambda: (*self.auth.secrets, *self.proxies.secrets))
        if self.auth.signs_urls:
            self.adapter.raw_carets = self.auth.sends_raw_carets = False
        self.http = _Http(settings, self.auth, self.redaction)
        self.http.mount("http://", self.adapter)
        self.http.mount("https://", self.adapter)
        self.http.headers["User-Agent"] = _USER_AGENT
        # Only these codings can be decoded; libraries must not add others.
        self.http.headers["Accept-Encoding"] = content_coding.ACCEPTED
        # A certificate that does not fit the clock is an error of its own, in words.
        urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self.auth.connect(self.send_beside)

    def send_beside(
        self, request: requests.Request, timeouts: tuple[float, float]
    ) -> requests.Response:
        """Send a request to another server than that at BASE_URL, such as one that issues tokens.

        Redirects are not followed. The body of the answer is to be read.
        """
        if request.auth is None:
            request.auth = auth.Authentication()  # keeps requests from reading ~/.netrc
        prepared = self.http.prepare_request(request)
        began = time.monotonic()
        answer = self.http.send(prepared, timeout=timeouts, allow_redirects=False, stream=True)
        seconds = time.monotonic() - began
        exchange_log.log_answer(str(prepared.method), answer.url, 0, answer.status_code, seconds)
        return answer

    def situation(self, url: str) -> Situation:
        """Return what is trusted and presented at a URL."""
        certificate = self.tls.certificate if self.tls.is_own(url) else ""
        return Situation(self.tls.trusted, certificate)

    def proxy(self, url: str) -> str:
        """Return the proxy for a URL, without user and password; "" if there is none."""
        proxy = self.proxies.of(url)
        return without_login(proxy.url) if proxy else ""

    def close(self) -> None:
        """Close the kept connections."""
        self.http.close()
