"""Cookies that a server sets, such as the session of XNAT, or that of a load balancer."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

from requests.cookies import RequestsCookieJar

# All of them go along with each request. Browsers keep no more (RFC 6265 section 6.1).
MOST_COOKIES = 180
LONGEST_COOKIE = 4096  # characters


class _Policy(DefaultCookiePolicy):
    """Binds each cookie to the host that set it, even if it says that it is for a whole domain."""

    def __init__(self) -> None:
        super().__init__(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)

    def set_ok(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        """Take a cookie for the host that it came from alone (RFC 6265 section 5.3)."""
        if not super().set_ok(cookie, request):
            return False
        host = re.sub(
            ":[0-9]*$", "", urlsplit(request.get_full_url()).netloc.rpartition("@")[2]
        ).lower()
        cookie.domain = host if "." in host else f"{host}.local"  # as http.cookiejar names it
        cookie.domain_specified = cookie.domain_initial_dot = False
        return True


class Cookies(RequestsCookieJar):
    """The cookies of a client; threads can send and receive at the same time."""

    def __init__(self) -> None:
        super().__init__(_Policy())

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        """Keep a cookie, unless it is large, or a new one beside many."""
        if len(cookie.name) + len(cookie.value or "") > LONGEST_COOKIE:
            return
        known = {(one.domain, one.path, one.name) for one in self}
        is_known = (cookie.domain, cookie.path, cookie.name) in known
        if is_known or len(known) < MOST_COOKIES:
            super().set_cookie(cookie, *args, **kwargs)

    def __iter__(self) -> Iterator[Any]:
        """List the cookies; Python 3.10 yields None for those that were removed meanwhile."""
        found: list[Any] = list(super().__iter__())
        return iter([cookie for cookie in found if cookie is not None])
