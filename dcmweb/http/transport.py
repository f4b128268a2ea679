"""What the runs of a client share: pooled connections, credentials, certificates, proxies."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests_toolbelt.utils.user_agent import UserAgentBuilder

from dcmweb import __version__
from dcmweb.errors import UsageError
from dcmweb.http import auth
from dcmweb.http.adapter import Adapter
from dcmweb.settings import Settings


class _Http(requests.Session):
    """A requests session whose redirects carry credentials neither along nor from ~/.netrc."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop the credentials of a request that is redirected to another host."""
        if origin(str(response.request.url)) != origin(str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)


class Transport:
    """Connections to the server at BASE_URL, kept open between requests and between runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.auth = auth.choose(settings.base_url, settings.credentials)
        self.adapter = Adapter(settings.workers + 1, settings.idle_timeout)
        self.http = _Http()
        self.http.mount("http://", self.adapter)
        self.http.mount("https://", self.adapter)
        self.http.headers["User-Agent"] = (
            UserAgentBuilder("dcmweb", __version__).include_implementation().build()
        )
        # None lets the environment name a bundle, as it does for curl.
        self._verify = False if settings.insecure else settings.ca_bundle or None
        if settings.ca_bundle:
            _check_bundle(settings.ca_bundle)
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def environment(self, url: str) -> dict[str, Any]:
        """Return the proxies and certificates for a URL, as the environment has them."""
        return dict(self.http.merge_environment_settings(url, {}, True, self._verify, None))

    def close(self) -> None:
        """Close the kept connections."""
        self.http.close()


def _check_bundle(path: str) -> None:
    """Raise UsageError if a file of certificates is none."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # which is what SSLError is, too
        raise UsageError(f"{path} holds no certificates: {error.strerror or error}") from None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    default: dict[str, Any] = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or default.get(parts.scheme)
