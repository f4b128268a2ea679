"""Connections, credentials, certificates and proxies that the runs of a client share."""

from __future__ import annotations

import importlib.util
import os
import ssl
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import select_proxy
from requests_toolbelt.utils.user_agent import UserAgentBuilder

from dcmweb import __version__
from dcmweb.errors import UsageError
from dcmweb.http import auth, content_coding
from dcmweb.http.adapter import Adapter
from dcmweb.http.redaction import without_query
from dcmweb.settings import Settings
from dcmweb.temporary import temporary_folder

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LARGEST_BUNDLE = 64 * 1024 * 1024
_REDIRECT_BODY = 64 * 1024  # at most this is read, so that the connection can be used again

# What goes along with a redirect to another host; cookies of that host are added afterwards.
_HARMLESS_HEADERS = ("accept", "accept-encoding", "user-agent", "range", "connection", "cookie")


class _Http(requests.Session):
    """A requests session that sends no credentials to other hosts, and does not read ~/.netrc."""

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
        self.adapter = Adapter(settings.workers + 1, settings.idle_timeout)
        self.http = _Http()
        self.http.mount("http://", self.adapter)
        self.http.mount("https://", self.adapter)
        self.http.headers["User-Agent"] = (
            UserAgentBuilder("dcmweb", __version__).include_implementation().build()
        )
        # Only these codings can be decoded; libraries must not add others.
        self.http.headers["Accept-Encoding"] = content_coding.ACCEPTED
        self._files = ExitStack()
        self._bundles: dict[str, str] = {}  # path of the checked bundle, by the given path
        # None lets the environment name a bundle, as it does for curl.
        self._verify: bool | str | None = False if settings.insecure else None
        if settings.ca_bundle and not settings.insecure:
            self._verify = self._bundle(settings.ca_bundle, settings.ca_bundle)
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def environment(self, url: str) -> dict[str, Any]:
        """Return the proxies and certificates for a URL, as the environment has them."""
        found = dict(self.http.merge_environment_settings(url, {}, True, self._verify, None))
        _check_proxy(url, found["proxies"])
        verify = found["verify"]
        if isinstance(verify, str) and verify != self._verify and url.startswith("https:"):
            variable = next((n for n in _BUNDLE_VARIABLES if os.environ.get(n) == verify), "")
            found["verify"] = self._bundle(verify, f"{variable}={verify}" if variable else verify)
        return found

    def proxy(self, url: str) -> str:
        """Return the proxy for a URL, without user and password; "" if there is none."""
        return without_query(select_proxy(url, self.environment(url)["proxies"]) or "")

    def close(self) -> None:
        """Close the kept connections."""
        self.http.close()
        self._files.close()

    def _bundle(self, path: str, name: str) -> str:
        """Return the path of a file of certificates; what can be read only once is copied.

        Raises UsageError if there are none in it.
        """
        if path not in self._bundles:
            try:
                self._bundles[path] = self._checked_bundle(path)
            except OSError as error:  # SSLError is a subclass
                reason = error.strerror or error
                raise UsageError(f"{name} holds no certificates: {reason}") from None
        return self._bundles[path]

    def _checked_bundle(self, path: str) -> str:
        if os.path.isdir(path):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(capath=path)
            return path
        checked = path
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, /dev/fd/63
            folder = self._files.enter_context(temporary_folder())
            checked = os.path.join(folder, "ca.pem")
            with open(path, "rb") as pipe, open(checked, "wb") as copy:
                copy.write(pipe.read(_LARGEST_BUNDLE))
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(checked)
        return checked


def _check_proxy(url: str, proxies: Any) -> None:
    """Raise UsageError for a proxy that cannot be used, before it looks like a broken server."""
    proxy = select_proxy(url, proxies) or ""
    scheme = urlsplit(proxy).scheme.lower()
    if scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
        either = [name for lower in names for name in (lower, lower.upper())]
        variable = next((n for n in either if os.environ.get(n)), "the environment")
        raise UsageError(
            f"{variable} names a SOCKS proxy, which needs the Python package PySocks",
            "install it beside dcmweb (pipx inject dcmweb PySocks), or leave the server out with "
            f"NO_PROXY={urlsplit(url).hostname}",
        )


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    default: dict[str, Any] = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or default.get(parts.scheme)
