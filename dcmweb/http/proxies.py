"""Chooses the proxy for each request."""

from __future__ import annotations

import base64
import os
import sys
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from requests.utils import get_environ_proxies, select_proxy

from dcmweb.settings import Settings
from dcmweb.settings.proxy_url import parse_proxy, without_login

# Servers of clouds that give a machine its identity: no proxy leads there.
_ON_THE_LINK = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
# Elsewhere, the system may have settings of its own, which can change at any time.
_IS_FOUND_IN_VARIABLES = sys.platform not in ("win32", "darwin")
_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")
_VARIABLES = (*_NAMES, *map(str.upper, _NAMES))
_MOST_FOUND = 64


class Proxy:
    """A proxy, and what named it: an option or a variable."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url  # there may be a password in it
        self.name = name

    @property
    def shown(self) -> str:
        """How messages call it: without its password."""
        return f"the proxy {without_login(self.url)}"

    @property
    def names(self) -> str:
        """What to check if it does not do its work."""
        return self.name if self.name == "--proxy" else f"{self.name} and NO_PROXY"


class Proxies:
    """The proxies of a client: that of --proxy for all hosts, or those of the environment."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.proxy
        self.secrets: tuple[str, ...] = ()  # of the proxies that were used, which may repeat them
        self._found: dict[tuple[str, str, tuple[str | None, ...]], Proxy | None] = {}

    def of(self, url: str) -> Proxy | None:
        """Return the proxy for a URL. Raises UsageError for one that cannot be used."""
        proxy = self._chosen(url)
        if proxy and (login := basic_login(proxy.url)) and login not in self.secrets:
            password = unquote(urlsplit(proxy.url).password or "", errors="surrogateescape")
            self.secrets = (*self.secrets, login, password)
        return proxy

    def _chosen(self, url: str) -> Proxy | None:
        """Return the proxy for a URL; that of a host is found again only if variables change."""
        if not _IS_FOUND_IN_VARIABLES:
            return self._find(url)
        parts = urlsplit(url)
        key = parts.scheme, parts.netloc, tuple(map(os.environ.get, _VARIABLES))
        if key not in self._found:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[key] = self._find(url)
        return self._found[key]

    def _find(self, url: str) -> Proxy | None:
        if urlsplit(url).hostname in _ON_THE_LINK:
            return None
        if self._given:
            return Proxy(self._given, "--proxy")
        found: dict[str, Any] = dict(get_environ_proxies(url))
        text = select_proxy(url, found)
        if not text:
            return None
        name = _variable_of(url, text)
        return Proxy(parse_proxy(text, name), name)


def basic_login(proxy: str) -> str:
    """Return the user and password in the URL of a proxy as Base64 of UTF-8 (RFC 7617)."""
    user, at, _ = urlsplit(proxy).netloc.rpartition("@")
    if not at:
        return ""
    name, _, password = user.partition(":")
    return base64.b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()


def _variable_of(url: str, text: str) -> str:
    """Return the variable that names a proxy; on macOS and Windows, the system may as well."""
    for name in (f"{urlsplit(url).scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if os.environ.get(variable) == text:
                return variable
    return "the proxy of the system"
