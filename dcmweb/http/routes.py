"""Sends each request of requests on its way: its proxy, and its TLS."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from dcmweb.http.proxies import Proxies, basic_login
from dcmweb.http.tls import Tls


class RoutedAdapter(HTTPAdapter):
    """A requests adapter that chooses proxy and certificates by the URL of each request.

    requests chooses them once for all hosts that a request is redirected to.
    """

    def __init__(self, tls: Tls, proxies: Proxies, **kwargs: Any) -> None:
        self._tls = tls
        self._proxies = proxies
        super().__init__(**kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request by its proxy, if it has one."""
        url = str(request.url)
        proxy = self._proxies.of(url)
        kwargs["proxies"] = {urlsplit(url).scheme: proxy.url} if proxy else {}
        return super().send(request, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> Any:
        """Choose the context of TLS by the host; only connections of one context are shared."""
        del args, kwargs
        parts = urlsplit(str(request.url))
        scheme = parts.scheme.lower()
        tls = {"ssl_context": self._tls.context(str(request.url))} if scheme == "https" else {}
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host  # urllib3 reads the zone of an address so
        return {"scheme": scheme, "host": host, "port": parts.port}, tls

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the context of TLS has the certificates, and checks them."""

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pool manager for a proxy, which is shown no client certificate."""
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._tls.for_proxies
        return super().proxy_manager_for(proxy, **kwargs)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the field with the user and password of a proxy."""
        login = basic_login(proxy)
        return {"Proxy-Authorization": f"Basic {login}"} if login else {}
