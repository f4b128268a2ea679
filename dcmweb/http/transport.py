"""Connections, credentials, certificates and proxies that the runs of a client share."""

from __future__ import annotations

import requests
import urllib3
from requests_toolbelt.utils.user_agent import UserAgentBuilder

from dcmweb import __version__
from dcmweb.http import auth, content_coding
from dcmweb.http.adapter import Adapter
from dcmweb.http.proxies import Proxies
from dcmweb.http.tls import Tls, origin
from dcmweb.http.tls_errors import Situation
from dcmweb.settings import Settings
from dcmweb.settings.proxy_url import without_login

_REDIRECT_BODY = 64 * 1024  # at most this is read, so that the connection can be used again

# What goes along with a redirect to another host; cookies of that host are added afterwards.
_HARMLESS_HEADERS = ("accept", "accept-encoding", "user-agent", "range", "connection", "cookie")


class _Http(requests.Session):
    """A requests session that sends no credentials to other hosts, and does not read ~/.netrc.

    Proxies and certificates are the matter of its adapter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop all that may be a credential of a request that is redirected to another host."""
        if origin(str(response.request.url)) != origin(str(prepared_request.url)):
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
        self.tls = Tls(settings)
        self.proxies = Proxies(settings)
        self.adapter = Adapter(self.tls, self.proxies, settings.workers + 1, settings.idle_timeout)
        self.http = _Http()
        self.http.mount("http://", self.adapter)
        self.http.mount("https://", self.adapter)
        self.http.headers["User-Agent"] = (
            UserAgentBuilder("dcmweb", __version__).include_implementation().build()
        )
        # Only these codings can be decoded; libraries must not add others.
        self.http.headers["Accept-Encoding"] = content_coding.ACCEPTED
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

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
